"""Calls of `Classifier` with wrong keywords or wrong data: one sentence, and what was meant."""

import pytest

from skinxai.errors import NoInputsError, OptionError, UnknownNameError


@pytest.mark.parametrize(
    ("call", "mistyped", "meant"),
    [
        ("predict", {"operating_pint": "screening"}, "operating_point"),
        ("stream", {"explan": "gradcam"}, "explain"),
        ("stream", {"explain": "gradcam", "traget": "mel"}, "target"),
        ("explain", {"traget": "mel"}, "target"),
        ("explain", {"method": "occlusion", "socre": "logit"}, "score"),
        ("compare", {"methods": ["gradcam"], "colums": 2}, "columns"),
        ("report", {"neighbors": 3}, "neighbours"),
        ("nearest", {"record": None}, "records"),
        ("index", {"dimension": 3}, "dimensions"),
        ("calibrate", {"sensitivty": 0.9}, "sensitivity"),
        ("with_reference", {"not_copy": ()}, "not_copies"),
        ("evaluate", {"resample": 10}, "resamples"),
    ],
)
def test_a_mistyped_keyword_of_the_call_itself_is_suggested(
    classifier, photos, call, mistyped, meant
) -> None:
    with pytest.raises(OptionError, match=f"Did you mean '{meant}'") as found:
        getattr(classifier, call)(photos[0], **mistyped)
    assert repr(meant) in str(found.value).partition("options here are")[2].partition("]")[0]


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"method": "gradcan"}, UnknownNameError, "Did you mean 'gradcam'"),
        ({"target": "melanom"}, UnknownNameError, "Did you mean 'mel'|must be one of"),
        ({"target": ["mel", "nv"]}, OptionError, "2 labels were given for 1 image"),
        ({"score": "loss"}, OptionError, "score must be one of"),
        ({"n_samples": 3}, OptionError, "Unknown option 'n_samples'"),
        ({"batch_size": 0}, OptionError, "batch_size must be an integer >= 1, got 0"),
        ({"on_error": "ignore"}, OptionError, "on_error must be"),
        ({"target": "mel", "all_classes": True}, OptionError, "target and against must be None"),
    ],
)
def test_wrong_use_is_one_clear_sentence(classifier, photos, keywords, error, words) -> None:
    with pytest.raises(error, match=words):
        classifier.explain(photos[0], **keywords)


def test_an_empty_folder_is_an_error(classifier, tmp_path) -> None:
    with pytest.raises(NoInputsError):
        classifier.predict(tmp_path)


@pytest.mark.parametrize("call", ["calibrate", "evaluate", "index"])
def test_the_name_of_a_folder_is_no_records(classifier, tmp_path, call: str) -> None:
    with pytest.raises(OptionError, match=rf"{call}\(\) needs Records, .*load_folder.*got str"):
        getattr(classifier, call)(str(tmp_path))
