"""A network of the caller's own as a model: its arguments are checked, and it is tried once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skinxai.backbones.network import OwnFunction, SkinClassifier
from skinxai.checkpoints import LoadedModel
from skinxai.checkpoints.wrapping_arguments import (
    checked_callables,
    checked_preprocessing,
)
from skinxai.checkpoints.wrapping_closures import modules_beside
from skinxai.checkpoints.wrapping_grids import OwnGrid
from skinxai.checkpoints.wrapping_trial import try_out
from skinxai.configs import ModelConfig
from skinxai.labels import LabelSet
from skinxai.model_folders.files import UNSAVED

__all__ = ["try_out", "wrapped"]

_COMPUTED_IN = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class OwnFeatures(OwnFunction):
    """The caller's features, which get images in the type of the network's weights.

    The images are contiguous, as where the caller runs the network: ``view(len(x), -1)`` refuses
    what a convolution makes of images with the channels last in memory.
    """

    def __call__(self, network: nn.Module, value: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)`` of any floating type → features."""
        types = (weight.dtype for weight in network.parameters() if weight.dtype in _COMPUTED_IN)
        return super().__call__(network, value.to(next(types, value.dtype)).contiguous())


def wrapped(
    module: nn.Module,
    labels: LabelSet | Sequence[str],
    preprocessing: Any,
    features: Callable[[Tensor], Tensor],
    head: Callable[[Tensor], Tensor],
    grid: Callable[[Tensor], Tensor] | None,
    name: str,
) -> LoadedModel:
    """The arguments of `Classifier.from_module` as a model that has no folder."""
    checked_callables(module, features, head, grid)
    config = ModelConfig(
        name=name, backbone="", labels=LabelSet.of(labels),
        preprocessing=checked_preprocessing(preprocessing),
    )  # fmt: skip
    own = SkinClassifier(
        module, OwnFeatures(features), OwnFunction(head), grid=OwnGrid(grid),
        beside=modules_beside(module, features, head),
    )  # fmt: skip
    return LoadedModel(own, config, card="", revision=UNSAVED)
