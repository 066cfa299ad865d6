"""`stream(explain=…)` answers as `explain` does, with the same keywords."""

import numpy as np
import pytest

from skinxai import Classifier, ItemError, errors, samples

PATHS = samples.paths()[:2]
ASKED = {
    "target": {"target": "mel"},
    "one target an image": {"target": ["bkl", "df"]},
    "against": {"target": "mel", "against": "nv"},
    "probability": {"score": "probability"},
    "flips": {"tta": True, "target": "vasc"},
    "timeout": {"timeout": 600.0},
    "own option": {"target": "bcc", "budget": 2, "method": "smoothgrad"},
}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.from_pretrained()


@pytest.mark.parametrize("name", ASKED)
def test_keywords_mean_what_they_mean_to_explain(classifier: Classifier, name: str) -> None:
    asked = dict(ASKED[name])
    method = asked.pop("method", "gradcam")
    expected = classifier.explain(PATHS, method, **asked)
    pairs = list(classifier.stream(PATHS, explain=method, **asked))
    assert [first.source for first, _ in pairs] == [each.source for each in expected]
    for (_, found), each in zip(pairs, expected, strict=True):
        assert (found.target, found.score, found.against) == (each.target, each.score, each.against)
        assert np.array_equal(found.heatmap, each.heatmap)


def test_all_classes(classifier: Classifier) -> None:
    ((_, maps),) = classifier.stream(PATHS[:1], explain="gradcam", all_classes=True)
    assert tuple(maps) == classifier.labels
    expected = classifier.explain(PATHS[0], all_classes=True)
    assert all(np.array_equal(maps[code].heatmap, expected[code].heatmap) for code in maps)


def test_a_bad_image_keeps_its_place_and_its_target(classifier: Classifier) -> None:
    images = [PATHS[0], b"no image", PATHS[1]]
    first, second, third = classifier.stream(
        images, explain="gradcam", target=["df", "mel", "bcc"], on_error="return"
    )
    assert isinstance(second, ItemError) and second.index == 1
    assert (first[1].target, third[1].target) == ("df", "bcc")


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"target": "mel"}, "Unknown option 'target'"),
        ({"explain": "gradcam", "isolate": "process"}, "Unknown option 'isolate'"),
        ({"explain": "gradcam", "targets": "mel"}, "Unknown option 'targets'"),
        ({"explain": "gradcam", "target": "mel", "all_classes": True}, "must be None with"),
        ({"explain": "gradcam", "against": "mel", "target": "mel"}, "another label than target"),
    ],
)
def test_what_cannot_be_asked(classifier: Classifier, keywords: dict, sentence: str) -> None:
    with pytest.raises(errors.OptionError, match=sentence):
        list(classifier.stream(PATHS, **keywords))
