"""A few passes over drawn images when a network is wrapped: what it returns, in words."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skinxai.backbones.evaluation_mode import evaluating
from skinxai.checkpoints import LoadedModel
from skinxai.checkpoints.wrapping_doubts import doubt, fits, items_of, seed_draws
from skinxai.checkpoints.wrapping_grids import OwnGrid, refusal_of
from skinxai.configs import PreprocessConfig
from skinxai.errors import ModelError, NonFiniteOutputError, OutOfMemoryError
from skinxai.images.transforms import normalise
from skinxai.memory import is_out_of_memory


def try_out(loaded: LoadedModel) -> str:
    """Ask a wrapped network about drawn images, and note why its features have no map.

    Random states, train flags and statistics are afterwards as before. What is returned is a
    sentence about what may make its answers wrong, or none.

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
        seed_draws(device)
        features = _asked("features", "images (N, 3, H, W)", model.features, images[:1])
        took = f"what features returned, {_described(features)}"
        logits = _checked_logits(_asked("head", took, model.logits, features), len(config.labels))
        assert isinstance(model._grid, OwnGrid)
        size = config.preprocessing.image_size
        model._grid.refusal = refusal_of(model, model._grid, features, size)
        return doubt(model, images, logits)


def _drawn(preprocessing: PreprocessConfig) -> Tensor:
    """Images of noise around grey, dark and bright, ``(3, 3, H, W)``, as the network gets them."""
    draws, size = np.random.default_rng(0), (*preprocessing.image_size, 3)
    noise = [draws.normal(middle, 30, size).clip(0, 255) for middle in (128, 60, 200)]
    arrays = [normalise(pixels.astype(np.uint8), preprocessing) for pixels in noise]
    return torch.from_numpy(np.stack(arrays))


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
    """Logits ``(1, K)``, finite; anything else is an error of `try_out`."""
    must = f"head must return logits, one tensor (N, {classes}) with a column for each label"
    if not isinstance(given, Tensor):
        place = next((place for place, item in items_of(given) if fits(item, classes)), None)
        how = "return the logits alone" if place is None else f"return head(features){place}"
        raise ModelError(f"{must}, got {_described(given)}; {how}.")
    if not fits(given, classes):
        raise ModelError(f"{must}, got {tuple(given.shape)}; {_mend(given, classes)}.")
    if not given.is_floating_point():
        raise ModelError(f"{must}, got integers ({given.dtype}); return them without argmax.")
    if not bool(torch.isfinite(given).all()):
        raise NonFiniteOutputError(
            f"logits must be finite, but for an image of noise the network returned "
            f"{given[0].tolist()}; correct its weights, or their type {given.dtype}."
        )
    return given


def _mend(logits: Tensor, classes: int) -> str:
    shape = tuple(logits.shape)
    if shape[:2] == (1, classes) and set(shape[2:]) == {1}:
        return "return head(features).flatten(1)"
    if shape == (classes,):
        return "keep the images' dimension, which squeeze() removes for one image: use flatten(1)"
    if shape == (1, 1) and classes == 2:
        return "for one logit z of the second label, return torch.cat([torch.zeros_like(z), z], 1)"
    return "give as many labels as the network has logits, in their order"


def _described(given: Any) -> str:
    if isinstance(given, Tensor):
        return f"a tensor {tuple(given.shape)}"
    parts = [
        f"{place} {tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__}"
        for place, item in items_of(given)
    ]
    return type(given).__name__ + (f" with {', '.join(parts)}" if parts else "")
