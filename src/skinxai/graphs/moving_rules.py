"""Layers that move values: what they cut, join, gather, scatter or order anew."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from skinxai.graphs.described_layer import (
    Layer,
    Rule,
    Sizes,
    Values,
    axes_of,
    axis_of,
    decided,
    whole,
)
from skinxai.plain_text import counted


def _slices(known: list[Any], rank: int, layer: Layer) -> dict[int, slice]:
    first, last, step = (np.atleast_1d(decided(each, layer)) for each in known[1:4])
    axes = np.atleast_1d(known[4]) if len(known) > 4 else np.arange(len(first))
    if len(known) > 4:
        axes_of(known[4], rank, layer)
    if not np.all(step) or len({len(first), len(last), len(step), len(axes)}) != 1:
        raise ValueError(f"a Slice has the steps {step[:8].tolist()} of {len(axes)} axes")
    return {int(axis) % rank: slice(int(a), int(b), int(c))
            for axis, a, b, c in zip(axes, first, last, step, strict=True)}  # fmt: skip


def _sliced(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    chosen = _slices(known, len(own[0]), layer)
    return [tuple(len(range(*chosen[axis].indices(side))) if axis in chosen else side
                  for axis, side in enumerate(own[0]))]  # fmt: skip


def _sliced_values(layer: Layer, known: list[Any]) -> Any:
    chosen = _slices(known, known[0].ndim, layer)
    return known[0][tuple(chosen.get(axis, slice(None)) for axis in range(known[0].ndim))]


def _target(layer: Layer, own: Sizes, value: Any) -> Sizes:
    """Sizes that a Reshape names, with −1 and, where it is special, 0 worked out."""
    sizes = [int(each) for each in np.atleast_1d(decided(value, layer))]
    if layer.data.get("special_zero") == "true":
        sizes = [own[axis] if side == 0 else side for axis, side in enumerate(sizes)]
    if sizes.count(-1) > 1 or any(side < -1 for side in sizes):
        raise ValueError(f"a Reshape names the sizes {sizes[:9]}")
    rest, total = math.prod(side for side in sizes if side != -1), math.prod(own)
    if rest == 0 or total % rest or (-1 not in sizes and rest != total):
        raise ValueError(f"a Reshape of {own} names the sizes {sizes[:9]}")
    return tuple(total // rest if side == -1 else side for side in sizes)


def _reshaped_values(layer: Layer, known: list[Any]) -> Any:
    if known[0].size == 0 or known[1].size == 0:
        return known[0].reshape([int(each) for each in known[1].ravel()])
    return known[0].reshape(_target(layer, known[0].shape, known[1]))


def _reshaped(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    return [_target(layer, own[0], known[1])]


def _broadcast(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    target = tuple(int(each) for each in np.atleast_1d(decided(known[1], layer)))
    if min(target, default=1) < 1 or len(own) > 2:
        raise ValueError(f"a Broadcast names the sizes {target[:9]}")
    found = np.broadcast_shapes(own[0], target)
    if layer.data.get("mode") == "numpy" and found != target:
        raise ValueError(f"a Broadcast of {own[0]} names the sizes {target[:9]}")
    return [found]


def _transposed(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    order = [int(each) for each in np.atleast_1d(decided(known[1], layer))]
    order = order or list(range(len(own[0])))[::-1]
    if sorted(order) != list(range(len(own[0]))):
        raise ValueError(f"a Transpose has the order {order[:9]}")
    return [tuple(own[0][axis] for axis in order)]


def _unsqueezed(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    rank = len(own[0]) + np.size(decided(known[1], layer))
    axes, left = axes_of(known[1], rank, layer), iter(own[0])
    if len(set(axes)) != len(axes):
        raise ValueError("an Unsqueeze has an axis twice")
    return [tuple(1 if axis in axes else next(left) for axis in range(rank))]


def _squeezed(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    if len(own) == 1:
        return [tuple(side for side in own[0] if side != 1)]
    axes = axes_of(known[1], len(own[0]), layer)
    if any(own[0][axis] != 1 for axis in axes):
        raise ValueError(f"a Squeeze of {own[0]} has the axes {axes}")
    return [tuple(side for axis, side in enumerate(own[0]) if axis not in axes)]


def _concatenated(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axis = axis_of(whole(layer.data.get("axis", "")), len(own[0]), layer)
    rests = {(*each[:axis], *each[axis + 1 :]) for each in own}
    if len(rests) != 1 or len({len(each) for each in own}) != 1:
        raise ValueError("a Concat takes values of other sizes")
    return [(*own[0][:axis], sum(each[axis] for each in own), *own[0][axis + 1 :])]


def _gathered(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axis = axis_of(known[2], len(own[0]), layer)
    if layer.data.get("batch_dims", "0") != "0":
        return []
    _check_indices(known[1], own[0][axis], layer)
    return [(*own[0][:axis], *own[1], *own[0][axis + 1 :])]


def _check_indices(indices: Any, side: int, layer: Layer) -> None:
    if indices is not None and indices.size and not (
        -side <= int(indices.min()) and int(indices.max()) < side
    ):  # fmt: skip
        raise ValueError(f"{layer.kind} has an index outside its {side}")


def _check_points(own: Sizes, points: Sizes, indices: Any, layer: Layer) -> int:
    """Refuse points outside a value; the count of coordinates of each."""
    deep = points[-1] if points else 0
    if not 1 <= deep <= len(own):
        raise ValueError(f"{layer.kind} has points of {counted(deep, 'coordinate')} in {own}")
    for axis in range(deep):
        _check_indices(decided(indices, layer)[..., axis], own[axis], layer)
    return deep


def _gathered_points(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    if layer.data.get("batch_dims", "0") != "0":
        raise ValueError("a GatherND has batches")
    return [(*own[1][:-1], *own[0][_check_points(own[0], own[1], known[1], layer) :])]


def _scattered(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    deep = _check_points(own[0], own[1], known[1], layer)
    if own[2] != (*own[1][:-1], *own[0][deep:]):
        raise ValueError(f"a ScatterNDUpdate of {own[0]} has the updates {own[2]}")
    return [own[0]]


def _scattered_elements(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    _check_indices(decided(known[1], layer), own[0][axis_of(known[3], len(own[0]), layer)], layer)
    return [own[0]]


def _split(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axis = axis_of(known[1], len(own[0]), layer)
    side = own[0][axis]
    if layer.kind == "Split":
        count = whole(layer.data.get("num_splits", ""))
        if side % count:
            raise ValueError(f"a Split of {side} has {counted(count, 'part')}")
        lengths = [side // count] * count
    else:
        lengths = [int(each) for each in np.atleast_1d(decided(known[2], layer))]
        left = side - sum(each for each in lengths if each != -1)
        lengths = [left if each == -1 else each for each in lengths]
    if sum(lengths) != side or min(lengths, default=0) < 1:
        raise ValueError(f"a {layer.kind} of {side} has the lengths {lengths[:9]}")
    return [(*own[0][:axis], each, *own[0][axis + 1 :]) for each in lengths]


def _split_values(layer: Layer, known: list[Any]) -> list[Any]:
    sizes = _split(layer, [known[0].shape], [None, *known[1:]])
    axis = axis_of(known[1], known[0].ndim, layer)
    return np.split(known[0], np.cumsum([each[axis] for each in sizes])[:-1], axis)


def _tiled(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    repeats = [int(each) for each in np.atleast_1d(decided(known[1], layer))]
    rank = max(len(repeats), len(own[0]))
    sizes, repeats = (([1] * (rank - len(each)) + list(each)) for each in (own[0], repeats))
    return [tuple(a * b for a, b in zip(sizes, repeats, strict=True))]


def _padded(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    first, last = ([int(each) for each in np.atleast_1d(decided(known[place], layer))]
                   for place in (1, 2))  # fmt: skip
    return [tuple(a + b + c for a, b, c in zip(own[0], first, last, strict=True))]


def _stepped(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    for each in known[1:]:
        decided(each, layer)
    if len(known) > 3 and not np.all(known[3]):
        raise ValueError("a StridedSlice has the step 0")
    return []


MOVING: dict[str, Rule] = {
    "Broadcast": _broadcast, "Concat": _concatenated, "Gather": _gathered,
    "GatherND": _gathered_points, "Pad": _padded, "Reshape": _reshaped,
    "ScatterNDUpdate": _scattered, "ScatterElementsUpdate": _scattered_elements,
    "ScatterUpdate": _scattered_elements, "Slice": _sliced, "Split": _split,
    "VariadicSplit": _split, "StridedSlice": _stepped, "Squeeze": _squeezed, "Tile": _tiled,
    "Transpose": _transposed, "Unsqueeze": _unsqueezed,
}  # fmt: skip
"""Sizes of what layers move."""


def _by(rule: Rule, change: Callable[[Any, Sizes], Any]) -> Values:
    """A value whose sizes a rule knows."""
    return lambda layer, known: change(
        known[0], rule(layer, [each.shape for each in known], known)[0]
    )


MOVED: dict[str, Values] = {
    "Reshape": _reshaped_values,
    "Unsqueeze": _by(_unsqueezed, np.reshape),
    "Squeeze": _by(_squeezed, np.reshape),
    "Broadcast": _by(_broadcast, np.broadcast_to),
    "Slice": _sliced_values,
    "VariadicSplit": _split_values,
    "Transpose": lambda layer, known: np.transpose(known[0], known[1].astype(int).ravel()),
    "Concat": lambda layer, known: np.concatenate(known, whole(layer.data["axis"])),
    "Gather": lambda layer, known: np.take(known[0], known[1].astype(int), int(known[2])),
    "Tile": lambda layer, known: np.tile(known[0], known[1].astype(int).ravel()),
}
"""The same on arrays, of those that decide sizes."""
