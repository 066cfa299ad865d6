"""One layer of OpenVINO as its file describes it, and the numbers in its attributes."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

MAX_SIDE = 4096
TYPES = {
    "f64": np.float64, "f32": np.float32, "f16": np.float16, "i64": np.int64, "i32": np.int32,
    "i16": np.int16, "i8": np.int8, "u64": np.uint64, "u32": np.uint32, "u16": np.uint16,
    "u8": np.uint8, "boolean": np.bool_,
}  # fmt: skip
"""OpenVINO's types of elements that a graph may have → NumPy's."""
Sizes = tuple[int, ...]
Place = tuple[int, int]
"""A layer and the number of its output."""


class Layer(NamedTuple):
    """One layer as the file describes it.

    Args:
        kind: one of `INPUTS`.
        data: its attributes.
        inputs: what computes them.
        outputs: the sizes that the file tells of; −1 where they depend on the number of images.
    """

    kind: str
    data: dict[str, str]
    inputs: tuple[Place, ...]
    outputs: tuple[Sizes, ...]


Rule = Callable[[Layer, list[Sizes], list[Any]], list[Sizes]]
"""Sizes of a layer's outputs, from sizes and known values of its inputs. An empty list: the sizes
that the file tells of."""
Values = Callable[[Layer, list[Any]], Any]
"""Values of a layer's outputs, from those of its inputs."""


def whole(text: str) -> int:
    """A whole number of at most 18 digits.

    Raises:
        ValueError: any other text.
    """
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        raise ValueError(f"a number must be whole, got {text[:40]!r}")
    return int(text)


def numbers(text: str) -> Sizes:
    """Whole numbers between commas."""
    return tuple(whole(each) for each in text.replace(" ", "").split(",") if each)


def decided(value: Any, layer: Layer) -> Any:
    """A value that decides sizes, or a `ValueError` where it is not known."""
    if value is None:
        raise ValueError(f"what decides the sizes of {layer.kind} is not known")
    return value


def axes_of(value: Any, rank: int, layer: Layer) -> list[int]:
    """Axes that a layer names, from 0 and in order, or a `ValueError` outside its rank."""
    axes = [int(each) for each in np.atleast_1d(decided(value, layer)).ravel()]
    if not all(-rank <= axis < rank for axis in axes):
        raise ValueError(f"{layer.kind} has the axes {axes[:8]} of {rank}")
    return sorted(axis % rank for axis in axes)


def axis_of(value: Any, rank: int, layer: Layer) -> int:
    """The one axis that a layer names; as `axes_of`."""
    (axis,) = axes_of(value, rank, layer)
    return axis
