"""What `Classifier.from_module` is given: kinds of arguments, and the call that was meant."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from skinxai.configs import PreprocessConfig
from skinxai.errors import OptionError

_EXAMPLE = (
    "PreprocessConfig((224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), "
    "with the size and the numbers that the network was trained with"
)


def checked_callables(module: Any, features: Any, head: Any, grid: Any) -> None:
    """Refuse what is no network, or cannot be called."""
    if not isinstance(module, nn.Module):
        raise OptionError(
            f"module must be the torch.nn.Module that holds all weights, got {_kind(module)}."
        )
    for name, given in (("features", features), ("head", head), ("grid", grid)):
        if not callable(given) and not (name == "grid" and given is None):
            raise OptionError(
                f"{name} must be a method, a submodule or a function, got {_kind(given)}."
            )


def checked_preprocessing(given: Any) -> PreprocessConfig:
    """The settings themselves; of anything else, an error with the call that corresponds to it."""
    if isinstance(given, PreprocessConfig):
        return given
    raise OptionError(
        f"preprocessing must be a PreprocessConfig, got {_kind(given)}; give {_call_for(given)}."
    )


def _kind(given: Any) -> str:
    return repr(given) if isinstance(given, int | float | str) else type(given).__name__


def _call_for(given: Any) -> str:
    """The `PreprocessConfig` that does what a size or torchvision's transforms do, as text."""
    if (size := _size(given)) is not None:
        return f"PreprocessConfig({size}), with mean= and std= of the network"
    steps = getattr(given, "transforms", None)
    steps = list(steps) if isinstance(steps, Iterable) else [given]
    sizes = [found for step in steps if (found := _size_of_step(step)) is not None]
    numbers = [step for step in steps if hasattr(step, "mean") and hasattr(step, "std")]
    if not sizes and not numbers:
        return _EXAMPLE
    mean, std = (
        (_numbers(numbers[-1].mean), _numbers(numbers[-1].std)) if numbers else ("0, 0, 0",) * 2
    )
    std = std if numbers else "1, 1, 1"
    shown = str(sizes[-1]) if sizes else "(height, width)"
    smooth = [getattr(s.interpolation, "value", "") for s in steps if hasattr(s, "interpolation")]
    more = f", interpolation={smooth[0]!r}" if smooth and smooth[0] == "bilinear" else ""
    return (
        f"PreprocessConfig({shown}, mean=({mean}), std=({std}){more}), which resizes the whole "
        f"image and crops nothing"
    )


def _size_of_step(step: Any) -> tuple[int, int] | None:
    return _size(getattr(step, "crop_size", getattr(step, "size", None)))


def _size(given: Any) -> tuple[int, int] | None:
    """``(height, width)`` of a side, or of both."""
    if isinstance(given, int) and not isinstance(given, bool):
        return (given, given)
    if isinstance(given, Sequence) and not isinstance(given, str):
        sides = tuple(given) * (2 if len(given) == 1 else 1)
        if len(sides) == 2 and all(isinstance(side, int) for side in sides):
            return sides
    return None


def _numbers(values: Any) -> str:
    return ", ".join(f"{float(value):g}" for value in values)
