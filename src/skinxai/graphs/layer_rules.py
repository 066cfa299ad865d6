"""Sizes and values that OpenVINO's layers compute, told from those of their inputs."""

from __future__ import annotations

import math
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


def count(layer: Layer, known: list[Any]) -> float:
    """Elements that a value will have, at most."""
    if layer.kind == "Range":
        first, last, step = (float(each) for each in known)
        if not step:
            raise ValueError("a Range has the step 0")
        return abs((last - first) / step)
    if layer.kind == "Broadcast":
        target = tuple(max(1, int(each)) for each in known[1].ravel())
        return float(math.prod(np.broadcast_shapes(known[0].shape, target)))
    if layer.kind == "Tile":
        return float(known[0].size * math.prod(max(1, int(each)) for each in known[1].ravel()))
    if layer.kind in JOINED:
        return float(math.prod(np.broadcast_shapes(*(each.shape for each in known))))
    return 0.0  # not more than it is given


def _decided(value: Any, layer: Layer) -> Any:
    if value is None:
        raise ValueError(f"what decides the sizes of {layer.kind} is not known")
    return value


def _axes(value: Any, rank: int, layer: Layer) -> list[int]:
    axes = [int(each) for each in np.atleast_1d(_decided(value, layer)).ravel()]
    if not all(-rank <= axis < rank for axis in axes):
        raise ValueError(f"{layer.kind} has the axes {axes[:8]} of {rank}")
    return sorted(axis % rank for axis in axes)


def _axis(value: Any, rank: int, layer: Layer) -> int:
    (axis,) = _axes(value, rank, layer)
    return axis


def _slices(known: list[Any], rank: int, layer: Layer) -> dict[int, slice]:
    first, last, step = (np.atleast_1d(_decided(each, layer)) for each in known[1:4])
    axes = np.atleast_1d(known[4]) if len(known) > 4 else np.arange(len(first))
    if len(known) > 4:
        _axes(known[4], rank, layer)
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
    sizes = [int(each) for each in np.atleast_1d(_decided(value, layer))]
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


def _same(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    return [own[0]]


def _joined(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    return [np.broadcast_shapes(*own)]


def _broadcast(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    target = tuple(int(each) for each in np.atleast_1d(_decided(known[1], layer)))
    if min(target, default=1) < 1 or len(own) > 2:
        raise ValueError(f"a Broadcast names the sizes {target[:9]}")
    found = np.broadcast_shapes(own[0], target)
    if layer.data.get("mode") == "numpy" and found != target:
        raise ValueError(f"a Broadcast of {own[0]} names the sizes {target[:9]}")
    return [found]


def _transposed(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    order = [int(each) for each in np.atleast_1d(_decided(known[1], layer))]
    order = order or list(range(len(own[0])))[::-1]
    if sorted(order) != list(range(len(own[0]))):
        raise ValueError(f"a Transpose has the order {order[:9]}")
    return [tuple(own[0][axis] for axis in order)]


def _unsqueezed(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    rank = len(own[0]) + np.size(_decided(known[1], layer))
    axes, left = _axes(known[1], rank, layer), iter(own[0])
    if len(set(axes)) != len(axes):
        raise ValueError("an Unsqueeze has an axis twice")
    return [tuple(1 if axis in axes else next(left) for axis in range(rank))]


def _squeezed(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    if len(own) == 1:
        return [tuple(side for side in own[0] if side != 1)]
    axes = _axes(known[1], len(own[0]), layer)
    if any(own[0][axis] != 1 for axis in axes):
        raise ValueError(f"a Squeeze of {own[0]} has the axes {axes}")
    return [tuple(side for axis, side in enumerate(own[0]) if axis not in axes)]


def _concatenated(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axis = _axis(whole(layer.data.get("axis", "")), len(own[0]), layer)
    rests = {(*each[:axis], *each[axis + 1 :]) for each in own}
    if len(rests) != 1 or len({len(each) for each in own}) != 1:
        raise ValueError("a Concat takes values of other sizes")
    return [(*own[0][:axis], sum(each[axis] for each in own), *own[0][axis + 1 :])]


def _gathered(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axis = _axis(known[2], len(own[0]), layer)
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
        raise ValueError(f"{layer.kind} has points of {deep} coordinates in {own}")
    for axis in range(deep):
        _check_indices(_decided(indices, layer)[..., axis], own[axis], layer)
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
    _check_indices(_decided(known[1], layer), own[0][_axis(known[3], len(own[0]), layer)], layer)
    return [own[0]]


def _split(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axis = _axis(known[1], len(own[0]), layer)
    side = own[0][axis]
    if layer.kind == "Split":
        count = whole(layer.data.get("num_splits", ""))
        if side % count:
            raise ValueError(f"a Split of {side} has {count} parts")
        lengths = [side // count] * count
    else:
        lengths = [int(each) for each in np.atleast_1d(_decided(known[2], layer))]
        left = side - sum(each for each in lengths if each != -1)
        lengths = [left if each == -1 else each for each in lengths]
    if sum(lengths) != side or min(lengths, default=0) < 1:
        raise ValueError(f"a {layer.kind} of {side} has the lengths {lengths[:9]}")
    return [(*own[0][:axis], each, *own[0][axis + 1 :]) for each in lengths]


def _split_values(layer: Layer, known: list[Any]) -> list[Any]:
    sizes = _split(layer, [known[0].shape], [None, *known[1:]])
    axis = _axis(known[1], known[0].ndim, layer)
    return np.split(known[0], np.cumsum([each[axis] for each in sizes])[:-1], axis)


def _tiled(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    repeats = [int(each) for each in np.atleast_1d(_decided(known[1], layer))]
    rank = max(len(repeats), len(own[0]))
    sizes, repeats = (([1] * (rank - len(each)) + list(each)) for each in (own[0], repeats))
    return [tuple(a * b for a, b in zip(sizes, repeats, strict=True))]


def _padded(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    first, last = ([int(each) for each in np.atleast_1d(_decided(known[place], layer))]
                   for place in (1, 2))  # fmt: skip
    return [tuple(a + b + c for a, b, c in zip(own[0], first, last, strict=True))]


def _reduced(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axes, keep = _axes(known[1], len(own[0]), layer), layer.data.get("keep_dims") == "true"
    sides = enumerate(own[0])
    return [tuple(1 if axis in axes else side for axis, side in sides if keep or axis not in axes)]


def _normalised(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    _axes(known[1], len(own[0]), layer)
    return [own[0]]


def _multiplied(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    if min(len(each) for each in own) < 2:
        return []
    one, two = ((*each[:-2], each[-1], each[-2]) if layer.data.get(f"transpose_{name}") == "true"
                else each for name, each in zip("ab", own, strict=True))  # fmt: skip
    if one[-1] != two[-2]:
        raise ValueError(f"a MatMul takes {own[0]} and {own[1]}")
    return [(*np.broadcast_shapes(one[:-2], two[:-2]), one[-2], two[-1])]


def _convolved(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    images, weights = own
    if layer.kind == "GroupConvolution":
        if len(weights) != len(images) + 1:
            raise ValueError(f"a GroupConvolution has the weights {weights}")
        inside, out = weights[0] * weights[2], weights[0] * weights[1]
    elif len(weights) == len(images):
        inside, out = weights[1], weights[0]
    else:
        raise ValueError(f"a Convolution has the weights {weights}")
    if images[1] != inside or min(weights) < 1 or layer.data.get("auto_pad") != "explicit":
        raise ValueError(f"a {layer.kind} of {images} has the weights {weights}")
    kernel = weights[2 - len(images) :]
    return [(images[0], out, *_windows(layer, images[2:], kernel))]


def _windows(layer: Layer, sides: Sizes, kernel: Sizes) -> Sizes:
    stride, spread, before, after = (
        numbers(layer.data[name]) if name in layer.data else (1,) * len(sides)
        for name in ("strides", "dilations", "pads_begin", "pads_end")
    )
    return tuple((a + b + c - d * (k - 1) - 1) // s + 1 for a, b, c, d, k, s in
                 zip(sides, before, after, spread, kernel, stride, strict=True))  # fmt: skip


def _pooled(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    kernel = numbers(layer.data.get("kernel", ""))
    if layer.data.get("rounding_type", "floor") != "floor":
        return []
    sizes = (*own[0][:2], *_windows(layer, own[0][2:], kernel))
    return [sizes] * len(layer.outputs)


def _resized(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    values = [float(each) for each in np.atleast_1d(_decided(known[1], layer))]
    if not all(0 < each <= MAX_SIDE for each in values):
        raise ValueError(f"an Interpolate has the sizes {values[:9]}")
    if layer.data.get("shape_calculation_mode") != "sizes" or len(values) != len(own[0]):
        return []
    return [tuple(int(each) for each in values)]


def _counted(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    first, last, step = (float(_decided(each, layer)) for each in known)
    if not step:
        raise ValueError("a Range has the step 0")
    return [(max(0, math.ceil((last - first) / step)),)]


def _stepped(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    for each in known[1:]:
        _decided(each, layer)
    if len(known) > 3 and not np.all(known[3]):
        raise ValueError("a StridedSlice has the step 0")
    return []


def _divided(layer: Layer, known: list[Any]) -> Any:
    one, two = known
    return one // two if one.dtype.kind in "iu" else one / two


Rule = Callable[[Layer, list[Sizes], list[Any]], list[Sizes]]
SAME = (
    "Abs", "BatchNormInference", "Ceiling", "Clamp", "Convert", "ConvertLike", "Cos", "CumSum",
    "Elu", "Erf", "Exp", "Floor", "Gelu", "HSigmoid", "HSwish", "HardSigmoid", "Identity", "Log",
    "LogSoftmax", "LogicalNot", "Mish", "Negative", "PRelu", "RMS", "ReLU", "Round", "Selu",
    "Sigmoid", "Sign", "Sin", "SoftMax", "SoftPlus", "SoftSign", "Softmax", "Sqrt", "Swish", "Tanh",
)  # fmt: skip
JOINED = (
    "Add", "Divide", "Equal", "FakeQuantize", "FloorMod", "Greater", "GreaterEqual", "Less",
    "LessEqual", "LogicalAnd", "LogicalOr", "LogicalXor", "Maximum", "Minimum", "Mod", "Multiply",
    "NotEqual", "Power", "Select", "SquaredDifference", "Subtract",
)  # fmt: skip
REDUCED = tuple(f"Reduce{kind}" for kind in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum"))
RULES: dict[str, Rule] = {
    **dict.fromkeys(SAME, _same), **dict.fromkeys(JOINED, _joined),
    **dict.fromkeys(REDUCED, _reduced),
    "Broadcast": _broadcast, "Concat": _concatenated, "Convolution": _convolved,
    "GroupConvolution": _convolved, "Gather": _gathered, "GatherND": _gathered_points,
    "Interpolate": _resized, "MVN": _normalised, "NormalizeL2": _normalised, "MatMul": _multiplied,
    "AvgPool": _pooled, "MaxPool": _pooled, "Pad": _padded, "Range": _counted,
    "Reshape": _reshaped, "ScatterNDUpdate": _scattered,
    "ScatterElementsUpdate": _scattered_elements, "ScatterUpdate": _scattered_elements,
    "Slice": _sliced, "Split": _split, "VariadicSplit": _split, "StridedSlice": _stepped,
    "Squeeze": _squeezed, "Tile": _tiled, "Transpose": _transposed, "Unsqueeze": _unsqueezed,
    "Result": lambda layer, own, known: [],
}  # fmt: skip
"""Sizes of a layer's outputs, from sizes and known values of its inputs. An empty list, and a kind
without a rule: the sizes that the file tells of."""


def _by(rule: Rule, change: Callable[[Any, Sizes], Any]) -> Callable[[Layer, list[Any]], Any]:
    """A value whose sizes a rule knows."""
    return lambda layer, known: change(
        known[0], rule(layer, [each.shape for each in known], known)[0]
    )


VALUES: dict[str, Callable[[Layer, list[Any]], Any]] = {
    "Identity": lambda layer, known: known[0],
    "Convert": lambda layer, known: known[0].astype(TYPES[layer.data["destination_type"]]),
    "ConvertLike": lambda layer, known: known[0].astype(known[1].dtype),
    "Reshape": _reshaped_values,
    "Unsqueeze": _by(_unsqueezed, np.reshape),
    "Squeeze": _by(_squeezed, np.reshape),
    "Broadcast": _by(_broadcast, np.broadcast_to),
    "Slice": _sliced_values,
    "VariadicSplit": _split_values,
    "Transpose": lambda layer, known: np.transpose(known[0], known[1].astype(int).ravel()),
    "Concat": lambda layer, known: np.concatenate(known, whole(layer.data["axis"])),
    "Gather": lambda layer, known: np.take(known[0], known[1].astype(int), int(known[2])),
    "Range": lambda layer, known: np.arange(*(each.item() for each in known)).astype(
        TYPES[layer.data["output_type"]]
    ),
    "Tile": lambda layer, known: np.tile(known[0], known[1].astype(int).ravel()),
    "Add": lambda layer, known: known[0] + known[1],
    "Subtract": lambda layer, known: known[0] - known[1],
    "Multiply": lambda layer, known: known[0] * known[1],
    "Divide": _divided,
    "FloorMod": lambda layer, known: known[0] % known[1],
    "Minimum": lambda layer, known: np.minimum(*known),
    "Maximum": lambda layer, known: np.maximum(*known),
    "Equal": lambda layer, known: known[0] == known[1],
    "Select": lambda layer, known: np.where(*known),
    "Floor": lambda layer, known: np.floor(known[0]),
    "Ceiling": lambda layer, known: np.ceil(known[0]),
    "Sqrt": lambda layer, known: np.sqrt(known[0]),
    "Negative": lambda layer, known: -known[0],
    "LogicalNot": lambda layer, known: ~known[0],
    "ReduceProd": lambda layer, known: np.prod(
        known[0], tuple(known[1].astype(int).ravel()), keepdims=layer.data["keep_dims"] == "true"
    ),
}
"""Kinds of layers that decide sizes, on arrays."""
