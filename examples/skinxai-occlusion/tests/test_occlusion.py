"""The map of a network that only looks at one place is known beforehand."""

import numpy as np
import pytest
from torch import nn

from skinxai import Classifier, PreprocessConfig
from skinxai.errors import OptionError


class Corner(nn.Module):
    """Logits: the mean of the lower right quarter, and minus that."""

    def features(self, images):
        return images

    def head(self, features):
        corner = features[:, :, 32:, 48:].mean(dim=(1, 2, 3))
        return (corner[:, None] * corner.new_tensor([1.0, -1.0])).contiguous()


@pytest.fixture
def classifier():
    module = Corner()
    preprocessing = PreprocessConfig((64, 96), mean=(0, 0, 0), std=(1, 1, 1))
    return Classifier.from_module(module, ["a", "b"], preprocessing, module.features, module.head)


def test_only_the_corner_matters(classifier):
    image = np.zeros((64, 96, 3), np.uint8)
    image[32:, 48:] = 255
    found = classifier.explain(image, "occlusion", target="a", patches=2)
    assert found.versions["skinxai-occlusion"] == "0.1.0"
    assert found.heatmap[-1, -1] == pytest.approx(0.75)  # white becomes the mean, a quarter
    assert found.heatmap[:16, :24] == pytest.approx(0)
    opposite = classifier.explain(image, "occlusion", target="b", patches=2)
    np.testing.assert_allclose(opposite.heatmap, -found.heatmap)


def test_options_are_checked(classifier):
    with pytest.raises(OptionError, match="patches must be an integer from 2 to 64, got 1"):
        classifier.explain(np.zeros((64, 96, 3), np.uint8), "occlusion", patches=1)
