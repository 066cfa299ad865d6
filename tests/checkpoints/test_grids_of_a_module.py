"""Maps of a network of one's own: channels that come last, tokens, and the grid of both."""

import re

import pytest
import torch
from test_from_module import INPUT, LABELS, PHOTO, probability, wrap
from torch import nn

from skinxai import Classifier, explainers
from skinxai.configs import PreprocessConfig
from skinxai.errors import ExplainError
from skinxai.testing.networks import ColourTransformer


class ChannelsLast(nn.Module):
    """Features ``(N, h, w, C)``, as Swin's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, channels, 8, 8), nn.LayerNorm(channels)
        self.fc = nn.Linear(channels, 2)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images).permute(0, 2, 3, 1)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(features).mean((1, 2)))

    def plain_head(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc(features.mean((1, 2)))


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
@pytest.mark.parametrize("head", ["head", "plain_head"])
@pytest.mark.parametrize("channels", [7, 9, 12, 16, 96, 256])
def test_features_with_channels_last_predict_and_are_refused_without_grid(
    channels: int, head: str, size: tuple[int, int]
) -> None:
    network = ChannelsLast(channels)
    parts = (network, LABELS, PreprocessConfig(size), network.features, getattr(network, head))
    classifier = Classifier.from_module(*parts)
    assert 0 < probability(classifier) < 1
    with pytest.raises(ExplainError, match=r"grid=lambda features: features\.permute\(0, 3, 1, 2"):
        classifier.explain(PHOTO)
    with pytest.raises(ExplainError):
        classifier.embed(PHOTO)
    right = Classifier.from_module(*parts, grid=lambda features: features.permute(0, 3, 1, 2))
    assert right.explain(PHOTO).heatmap.shape == PHOTO.shape[:2]
    assert right.embed(PHOTO).shape == (1, channels)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (lambda f: f.permute(0, 2, 1), "grid must take what features returned, but it raised Run"),
        (lambda f: f.repeat(1, 1, 16, 1), r"no more cells than the 64 × 64 pixels"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_where_a_map_is_asked_for(grid, words: str) -> None:
    classifier = wrap(grid=grid)
    assert 0 < probability(classifier) < 1
    with pytest.raises(ExplainError, match=words):
        classifier.explain(PHOTO)


@pytest.mark.parametrize("method", ["gradcam", "ablationcam"])
@pytest.mark.parametrize(
    "grid",
    [
        lambda f: f.clone(),
        lambda f: f.relu(),
        lambda f: f.neg_(),
        lambda f: nn.functional.normalize(f, dim=1),
        lambda f: nn.functional.interpolate(f, scale_factor=2.0),
        lambda f: f.to(memory_format=torch.channels_last).contiguous(),
    ],
    ids=["copy", "relu", "in place", "unit length", "enlarged", "contiguous"],
)
def test_a_grid_that_copies_or_computes_is_refused(grid, method: str) -> None:
    """Ablation-CAM would be 0 everywhere, and Grad-CAM of what the function makes of gradients."""
    classifier = wrap(grid=grid)
    assert 0 < probability(classifier) < 1
    with pytest.raises(ExplainError, match="grid must return a view of what features returned"):
        classifier.explain(PHOTO, method)


def test_a_grid_that_takes_some_of_the_channels_is_a_view() -> None:
    found = [wrap(grid=grid) for grid in (lambda f: f[:, :4], lambda f: f.detach())]
    for classifier in found:
        assert classifier.explain(PHOTO, "gradcam").heatmap.shape == PHOTO.shape[:2]


def test_tokens_without_a_grid_point_to_it() -> None:
    network = ColourTransformer()
    classifier = Classifier.from_module(
        network, ["a", "b", "c"], INPUT, network.features, network.head
    )
    with pytest.raises(ExplainError, match=r"are not a map \(N, C, h, w\); pass grid="):
        classifier.explain(PHOTO)


@pytest.mark.parametrize("name", [entry.name for entry in explainers.entries()])
def test_the_refusal_names_the_methods_that_need_no_map(name: str) -> None:
    network = ColourTransformer()
    classifier = Classifier.from_module(
        network, ["a", "b", "c"], INPUT, network.features, network.head
    )
    with pytest.raises(ExplainError) as refused:
        classifier.explain(PHOTO, "gradcam")
    named = re.search("needs no such map: (.*)[.]", str(refused.value))[1].split(", ")
    if name in named:
        assert classifier.explain(PHOTO, name).heatmap.shape == PHOTO.shape[:2]
    elif name != "guided_backprop":  # needs no map, but ReLUs, which not every network has
        with pytest.raises(ExplainError):
            classifier.explain(PHOTO, name)
