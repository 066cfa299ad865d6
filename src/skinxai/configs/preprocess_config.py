"""`PreprocessConfig`: how the evaluation transform makes a network's input; and sizes as text."""

import contextlib
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Self

from skinxai.configs.checked_fields import check_keys
from skinxai.errors import ModelConfigError, OptionError
from skinxai.numeric import plain

INTERPOLATIONS = ("bilinear", "bicubic")


def parse_size(text: str) -> tuple[int, int]:
    """``"240x320"`` as ``(height, width)``; ``"224"`` is a square.

    Raises:
        OptionError: text of another form.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise OptionError(
            f"size must look like HEIGHTxWIDTH, e.g. 240x320, or like 224 for a square, got "
            f"{text!r}."
        )
    return int(sides[0]), int(sides[-1])


def as_size(value: Any) -> Any:
    """``(side, side)`` for one integer, which means a square; else as of `as_tuple`."""
    side = plain(value)
    return (side, side) if type(side) is int else as_tuple(value)


def as_tuple(value: Any) -> Any:
    """A tuple of the numbers of a list, an array or another ordered collection, as Python's own.

    Anything else comes back as it is, so that the rule of the argument refuses it.
    """
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | Set):
        with contextlib.suppress(TypeError):  # an array without a dimension
            return tuple(map(plain, value))
    return value


def _as_tuple(name: str, given: Any) -> tuple[Any, ...]:
    found = as_tuple(given)
    if isinstance(found, tuple):
        return found
    wanted = "(height, width)" if name == "image_size" else "three numbers, one for each channel"
    raise ModelConfigError(f"{name} must be {wanted}, got {given!r}.")


def _from_255(values: tuple[float, ...]) -> str:
    """A remedy for numbers that were meant for pixels of 0–255."""
    if not max(values) > 1 or not 0 <= min(values) <= max(values) <= 255:
        return ""
    return f"; divide those for pixels of 0–255 by 255: {tuple(round(v / 255, 4) for v in values)}"


@dataclass(frozen=True)
class PreprocessConfig:
    """How the evaluation transform turns RGB pixels into the network's input.

    Args:
        image_size: ``(height, width)`` in pixels, or one integer for a square; the whole image is
            resized to it.
        mean: of each RGB channel, on the 0–1 scale, in [0, 1].
        std: of each RGB channel, on the 0–1 scale, in (0, 1].
        interpolation: ``"bilinear"`` or ``"bicubic"``, both antialiased.
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        given: Any = self.image_size
        size = _as_tuple("image_size", as_size(given))
        object.__setattr__(self, "image_size", size)
        if len(size) != 2 or not all(type(side) is int and 32 <= side <= 4096 for side in size):
            raise ModelConfigError(
                f"image_size must be (height, width) of 32 to 4096 pixels, got {size}."
            )
        for name, rule in (("mean", "[0, 1]"), ("std", "(0, 1]")):
            values = _as_tuple(name, getattr(self, name))
            object.__setattr__(self, name, values)
            numbers = len(values) == 3 and all(
                isinstance(v, int | float) and not isinstance(v, bool) for v in values
            )
            if (
                not numbers
                or not all(0 <= v <= 1 for v in values)
                or (rule[0] == "(" and not all(values))
            ):
                raise ModelConfigError(
                    f"{name} must be three numbers in {rule}, on the scale where white is 1, got "
                    f"{values}{_from_255(values) if numbers else ''}."
                )
        if self.interpolation not in INTERPOLATIONS:
            raise ModelConfigError(
                f"interpolation must be one of {INTERPOLATIONS}, got {self.interpolation!r}."
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `dataclasses.asdict`."""
        check_keys("preprocessing", cls, values)
        return cls(**values)
