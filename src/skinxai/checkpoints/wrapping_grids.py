"""Where the map is in the caller's features, and whether it can be one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skinxai import plugins
from skinxai.backbones.network import SkinClassifier
from skinxai.backbones.torch_calls import TorchCalls
from skinxai.errors import ExplainError

_CHANNELS_LAST = "pass grid=lambda features: features.permute(0, 3, 1, 2)"


class OwnGrid:
    """The caller's ``grid``, or the features as they are.

    Args:
        function: features → ``(N, C, h, w)``; ``None``: they are such a map already.

    Attributes:
        refusal: why there is no map, found by a trial pass; empty where there is one.
    """

    def __init__(self, function: Callable[[Tensor], Tensor] | None) -> None:
        self.function, self.refusal = function, ""

    def __call__(
        self, network: nn.Module, features: Tensor, image_size: tuple[int, int] | None
    ) -> Tensor:
        """Features → ``(N, C, h, w)``; an `ExplainError` where they have no such part."""
        if self.refusal:
            raise ExplainError(self.refusal)
        return features if self.function is None else self.function(features)


def refusal_of(
    model: SkinClassifier, grid: OwnGrid, features: Any, image_size: tuple[int, int]
) -> str:
    """Why features of one image of this size can have no map, in a sentence; empty where they may.

    A map has no more cells than the image has pixels, and without a ``grid`` of the caller's about
    the image's aspect ratio; and the head's first weights are as many as its channels. A ``grid``
    gets gradients as well as features, and what is written into its map must reach the head: so
    it may only place values, not compute or copy them.
    """
    if not isinstance(features, Tensor):
        return (
            f"features must return one tensor for maps, got {type(features).__name__}; give "
            f"features that return the map alone and a head that takes it, or use {_methods()}."
        )
    before = features.clone()
    try:
        found = grid(model.network, features, image_size)
    except Exception as error:  # a function of the caller's may raise anything
        return (
            f"grid must take what features returned, but it raised {type(error).__name__}: {error}."
        )
    if not isinstance(found, Tensor) or found.ndim != 4 or min(found.shape[2:]) < 2:
        if grid.function is None and features.ndim == 3:
            return (
                f"features of the shape {tuple(features.shape)} are not a map (N, C, h, w); pass "
                f"grid=, a function that makes one of them, or use {_methods()}."
            )
        return ""  # said where a map is asked for
    (height, width), (rows, columns) = image_size, found.shape[2:]
    fits = rows <= height and columns <= width
    if grid.function is None and fits:
        off = abs(columns * height - rows * width) / height  # in columns
        fits = off <= max(2, columns / 4) and not _channels_are_last(model, features)
    if fits and _is_view(found, features) and torch.equal(features, before):
        return ""
    if fits:
        return (
            f"grid must return a view of what features returned, but it copies or computes; leave "
            f"arithmetic, clone() and contiguous() to features or head, or use {_methods()}."
        )
    if grid.function is None:
        return (
            f"features of the shape {tuple(found.shape)} cannot be a map (N, C, h, w) of an image "
            f"of {height} × {width} pixels; where their channels come last, {_CHANNELS_LAST}, or "
            f"use {_methods()}."
        )
    return (
        f"grid must return a map (N, C, h, w) with no more cells than the {height} × {width} "
        f"pixels of an image, got {tuple(found.shape)}; give a grid= that does, or use "
        f"{_methods()}."
    )


def _is_view(found: Tensor, features: Tensor) -> bool:
    """Whether the two have their values in the same memory."""
    return found.untyped_storage().data_ptr() == features.untyped_storage().data_ptr()


def _methods() -> str:
    return f"a method that needs no such map: {plugins.methods_for_any_network()}"


def _channels_are_last(model: SkinClassifier, features: Tensor) -> bool:
    """Whether the head's first weights are as many as the last dimension, not as the second."""
    if features.shape[1] == features.shape[3]:
        return False
    with _FirstWeights() as first:
        try:
            model.logits(features)
        except Exception:  # a compiled head may not be looked into
            return False
    return first.channels is not None and first.channels == int(features.shape[3])


class _FirstWeights(TorchCalls):
    """Notes how many channels the first layer with weights takes, and whether it is the second."""

    def __init__(self) -> None:
        super().__init__()
        self.channels: int | None = None

    def _called(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        if self.channels is None and function in _TAKES:
            self.channels = _TAKES[function](
                dict(zip(("input", "weight"), args, strict=False)) | named
            )
        return function(*args, **named)


_TAKES: dict[Any, Callable[[dict[str, Any]], int | None]] = {
    functional.linear: lambda given: int(given["weight"].shape[1]),
    functional.conv2d: lambda given: int(given["weight"].shape[1] * given.get("groups", 1)),
    functional.batch_norm: lambda given: int(given["input"].shape[1]),
    functional.layer_norm: lambda given: int(given["input"].shape[-1]),
}
