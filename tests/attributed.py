"""A network with random weights, two images, and the map of a method for them."""

import pytest
import torch
from torch import Tensor

from skinxai import backbones, explainers
from skinxai.backbones.network import SkinClassifier

TARGET = torch.tensor([0, 3])


@pytest.fixture(scope="module")
def resnet() -> SkinClassifier:
    """Random weights and random statistics, so that no map is like another."""
    torch.manual_seed(0)
    model = backbones.build("timm/test_resnet", 7)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(0.1 * torch.rand_like(buffer))
    return model


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(7))


def found(model: SkinClassifier, method: str, images: Tensor, **options: object) -> Tensor:
    explainer = explainers.get(method)
    own = explainer.options_type(**options)
    answer = explainer(model).attribute(images, TARGET[: len(images)], options=own)
    return answer.maps[method]


def alike(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> bool:
    ours, theirs = ours.detach(), theirs.detach()
    assert ours.shape == theirs.shape and theirs.abs().max() > 0
    return bool((ours - theirs).abs().max() / theirs.abs().max() < tolerance)
