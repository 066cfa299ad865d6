"""One pass over a drawn image when a network is wrapped: what it returns, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skinxai.backbones.evaluation_mode import evaluating
from skinxai.checkpoints import LoadedModel
from skinxai.checkpoints.wrapping_grids import OwnGrid, refusal_of
from skinxai.configs import PreprocessConfig
from skinxai.errors import ModelError, NonFiniteOutputError, OutOfMemoryError
from skinxai.images.transforms import normalise
from skinxai.memory import is_out_of_memory

_TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 1e-1}
_SUM_TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 1e-2}


def try_out(loaded: LoadedModel) -> str:
    """Ask a wrapped network about a drawn image, and note why its features have no map.

    Random states, train flags and statistics are afterwards as before.

    Args:
        loaded: on the device where it is to answer.

    Returns:
        A sentence about what may make its answers wrong, or none.

    Raises:
        ModelError: features or a head that raise, or a head that returns no logits.
        NonFiniteOutputError: NaN or infinite logits.
        OutOfMemoryError: no memory for one image.
    """
    model, config = loaded.network, loaded.config
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    images = _drawn(config.preprocessing).to(device)
    cards = [device] if device.type == "cuda" else []
    with (
        evaluating([model]), torch.inference_mode(False), torch.no_grad(),
        torch.autocast(device.type, enabled=False), torch.random.fork_rng(cards),
    ):  # fmt: skip
        torch.manual_seed(0)
        features = _asked("features", "images (N, 3, H, W)", model.features, images)
        own = features.clone() if isinstance(features, Tensor) else features  # for work in place
        took = f"what features returned, {_described(features)}"
        logits = _checked_logits(_asked("head", took, model.logits, own), len(config.labels))
        assert isinstance(model._grid, OwnGrid)
        size = config.preprocessing.image_size
        model._grid.refusal = refusal_of(model, model._grid, features, size)
        torch.manual_seed(0)
        return _probabilities(logits) or _differs(model, images, logits)


def _drawn(preprocessing: PreprocessConfig) -> Tensor:
    """An image of noise around grey, ``(1, 3, H, W)``, as the network gets it."""
    size = (*preprocessing.image_size, 3)
    pixels = np.random.default_rng(0).normal(128, 30, size).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(normalise(pixels, preprocessing))[None]


def _asked(name: str, takes: str, function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except Exception as error:  # a function of the caller's may raise anything
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"out of memory while the network was tried on one image: {error}; use a smaller "
                f"image_size, or free memory."
            ) from error
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ModelError(
            f"{name} must take {takes}, but it raised {type(error).__name__}: {reason}"
        ) from error


def _checked_logits(given: Any, classes: int) -> Tensor:
    """Logits ``(1, K)``, finite.

    Raises:
        ModelError: anything else.
        NonFiniteOutputError: NaN or infinite ones.
    """
    must = f"head must return logits, one tensor (N, {classes}) with a column for each label"
    if not isinstance(given, Tensor):
        place = next((place for place, item in _items(given) if _fits(item, classes)), None)
        how = "return the logits alone" if place is None else f"return head(features){place}"
        raise ModelError(f"{must}, got {_described(given)}; {how}.")
    if not _fits(given, classes):
        raise ModelError(f"{must}, got {tuple(given.shape)}; {_mend(given, classes)}.")
    if not given.is_floating_point():
        raise ModelError(f"{must}, got integers ({given.dtype}); return them without argmax.")
    if not bool(torch.isfinite(given).all()):
        raise NonFiniteOutputError(
            f"logits must be finite, but for an image of noise the network returned "
            f"{given[0].tolist()}; correct its weights, or their type {given.dtype}."
        )
    return given


def _fits(given: Any, classes: int) -> bool:
    return isinstance(given, Tensor) and tuple(given.shape) == (1, classes)


def _mend(logits: Tensor, classes: int) -> str:
    shape = tuple(logits.shape)
    if shape[:2] == (1, classes) and set(shape[2:]) == {1}:
        return "return head(features).flatten(1)"
    if shape == (classes,):
        return "keep the images' dimension, which squeeze() removes for one image: use flatten(1)"
    if shape == (1, 1) and classes == 2:
        return "for one logit z of the second label, return torch.cat([torch.zeros_like(z), z], 1)"
    return "give as many labels as the network has logits, in their order"


def _items(given: Any) -> Iterator[tuple[str, Any]]:
    """How the parts of a tuple, mapping or object are reached, and each of them."""
    if isinstance(given, Mapping):
        for key, item in given.items():
            yield f"[{key!r}]", item
    elif isinstance(given, tuple | list):
        for position, item in enumerate(given):
            yield f"[{position}]", item
    elif is_dataclass(given):
        for field in fields(given):
            yield f".{field.name}", getattr(given, field.name)
    elif hasattr(given, "__dict__"):
        for name, item in vars(given).items():
            yield f".{name}", item


def _described(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor {tuple(given.shape)}"
    parts = [
        f"{place} {tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__}"
        for place, item in _items(given)
    ]
    return type(given).__name__ + (f" with {', '.join(parts)}" if parts else "")


def _probabilities(logits: Tensor) -> str:
    row = logits[0].double()
    slack = _SUM_TOLERANCE.get(logits.dtype, 1e-5)
    if bool((row < 0).any()) or abs(float(row.sum()) - 1) > slack:
        return ""
    return (
        "head seems to return probabilities (they are >= 0 and sum to 1) and must return logits: "
        "softmax is applied to them again, which changes every probability; leave the softmax out "
        "of head."
    )


@torch.no_grad()
def _differs(model: Any, images: Tensor, logits: Tensor) -> str:
    """Whether the whole network says otherwise, where it can be called and returns logits."""
    try:
        whole = model.network(images.to(logits.dtype))
    except Exception:  # ModuleList, say, or a forward that takes more than images
        return ""
    if not isinstance(whole, Tensor):
        whole = next((item for _, item in _items(whole) if _fits(item, logits.shape[1])), None)
    if not _fits(whole, logits.shape[1]):
        return ""
    expected, own = whole.double(), logits.double()
    slack = _TOLERANCE.get(logits.dtype, 1e-3)
    pairs = (
        (expected.log_softmax(1), own.log_softmax(1)), (expected, own.softmax(1)),
        (expected, own.sigmoid()),
    )  # fmt: skip
    for one, two in pairs:
        if bool((one - two).abs().max() <= slack * one.abs().max().clamp_min(1e-6)):
            return ""
    gap = float((expected - own).abs().max())
    return (
        f"head(features(x)) differs from module(x) by up to {gap:.2g} for an image of noise, "
        f"where the largest logit is {float(own.abs().max()):.2g}; answers are those of "
        f"head(features(x)): check that the two together do all that module does."
    )
