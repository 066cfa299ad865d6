"""An explainer that changes the network gets its own; others share it."""

import numpy as np
import pytest
import torch
from torch import nn

from skinxai import Attribution, Classifier, Explainer, PreprocessConfig
from skinxai.errors import ExplainError, PluginError


class Vandal(Explainer):
    """Turns dropout on and zeroes every weight."""

    changes_network = True

    def attribute(self, images, target, *, options):
        self.model.train()
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.zero_()
        with torch.random.fork_rng([]):  # of dropout
            logits = self.model(images)
        return Attribution(maps={"map": logits[:, :1, None].expand(-1, 2, 2)})


def test_changes_stay_in_the_copy(registered, classifier: Classifier, photos: list) -> None:
    registered("vandal", Vandal)
    before = classifier.predict(photos[0]).to_dict()
    heatmap = classifier.explain(photos[0], method="vandal").heatmap
    assert np.ptp(heatmap) == 0  # the copy really was changed
    assert classifier.predict(photos[0]).to_dict() == before
    assert not any(module.training for module in classifier.network.modules())


def test_a_model_that_cannot_be_copied_is_refused(registered, photos: list) -> None:
    registered("vandal", Vandal)
    module = nn.Conv2d(3, 2, 32, 32)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier.from_module(
        module, ["a", "b"], PreprocessConfig((64, 64)), lambda x: module(x), head
    )
    with pytest.raises(ExplainError, match="methods or submodules"):
        classifier.explain(photos[0], method="vandal")


@pytest.mark.parametrize(
    ("maps", "error", "words"),
    [
        ({"m": torch.full((1, 2, 2), float("nan"))}, ExplainError, "must be finite"),
        (
            {"m": torch.zeros(2, 2)},
            PluginError,
            r"\(N, h, w\) for N = 1 image, got the shape \(2, 2\)",
        ),
        ({"m": torch.zeros(4, 2, 2)}, PluginError, r"got the shape \(4, 2, 2\)"),
    ],
)
def test_bad_maps_are_refused(registered, classifier, photos, maps, error, words) -> None:
    class Bad(Explainer):
        def attribute(self, images, target, *, options):
            return Attribution(maps=maps)

    registered("bad", Bad)
    with pytest.raises(error, match=words):
        classifier.explain(photos[0], method="bad")


def test_scores_without_maps(registered, classifier, photos, tmp_path) -> None:
    class OnlyScores(Explainer):
        def attribute(self, images, target, *, options):
            return Attribution(scores={"mutual_information": torch.full((len(images),), 0.25)})

    registered("only-scores", OnlyScores)
    explanation = classifier.explain(photos[0], method="only-scores")
    assert explanation.heatmap is None and explanation.scores == {"mutual_information": 0.25}
    assert explanation._repr_png_() is None
    with pytest.raises(ExplainError, match="only scores"):
        explanation.overlay()
    explanation.save(tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["explanation.json"]
