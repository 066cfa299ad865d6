"""Owen values are known for additive models, and sum to the score for all others."""

import numpy as np
import pytest
import torch
from torch import nn

from skinxai import Classifier, PreprocessConfig
from skinxai.errors import OptionError
from skinxai.explainers.superpixels import superpixels
from skinxai.testing import check_explainer, colour_classifier

IMAGE = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)


def test_conforms() -> None:
    check_explainer("shap", budget=48, segments=12)


class Additive(nn.Module):
    """Logits: the sum over pixels of weight × value, and minus that."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 64, 96, generator=torch.manual_seed(3)))

    def features(self, images):
        return images

    def head(self, images):
        total = (self.weight * images).sum(dim=(1, 2, 3))
        return torch.stack([total, -total], dim=1)


def test_an_additive_model_gives_each_superpixel_what_it_adds() -> None:
    module = Additive()
    preprocessing = PreprocessConfig((64, 96), mean=(0, 0, 0), std=(1, 1, 1))
    classifier = Classifier.from_module(
        module, ["a", "b"], preprocessing, module.features, module.head
    )
    found = classifier.explain(IMAGE, "shap", target="a", segments=12, budget=2000, baseline="zero")
    image = torch.from_numpy(IMAGE).permute(2, 0, 1) / 255
    segments = superpixels(image.permute(1, 2, 0).numpy(), 12)
    added = (module.weight.detach() * image).sum(dim=0).numpy()
    expected = np.asarray([added[segments == k].sum() for k in range(segments.max() + 1)])
    np.testing.assert_allclose(found.heatmap, expected[segments], rtol=1e-3, atol=1e-3)
    assert found.scores["base_value"] == pytest.approx(0, abs=1e-5)


def test_values_sum_to_the_score_less_the_base() -> None:
    classifier = colour_classifier()
    image = np.full((48, 80, 3), 128, np.uint8)
    image[8:24, 40:64] = (230, 30, 30)
    found = classifier.explain(image, "shap", target="red", budget=200)
    assert abs(found.scores["additivity_gap"]) < 1e-4
    assert found.versions["skinxai-shap"] == "0.1.0"


@pytest.mark.parametrize(("option", "value"), [("budget", 3), ("segments", 1), ("budget", 9.5)])
def test_options_are_checked(option: str, value: object) -> None:
    with pytest.raises(OptionError, match=f"{option} must be an integer >= "):
        colour_classifier().explain(IMAGE, "shap", **{option: value})
