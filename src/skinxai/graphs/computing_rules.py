"""Layers that compute: of elements, along axes, of windows, of matrices."""

import math
from typing import Any

import numpy as np

from skinxai.graphs.described_layer import (
    MAX_SIDE,
    TYPES,
    Layer,
    Rule,
    Sizes,
    Values,
    axes_of,
    decided,
    numbers,
)


def _same(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    return [own[0]]


def _joined(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    return [np.broadcast_shapes(*own)]


def _reduced(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axes, keep = axes_of(known[1], len(own[0]), layer), layer.data.get("keep_dims") == "true"
    sides = enumerate(own[0])
    return [tuple(1 if axis in axes else side for axis, side in sides if keep or axis not in axes)]


def _normalised(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    axes_of(known[1], len(own[0]), layer)
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
    values = [float(each) for each in np.atleast_1d(decided(known[1], layer))]
    if not all(0 < each <= MAX_SIDE for each in values):
        raise ValueError(f"an Interpolate has the sizes {values[:9]}")
    if layer.data.get("shape_calculation_mode") != "sizes" or len(values) != len(own[0]):
        return []
    return [tuple(int(each) for each in values)]


def _counted(layer: Layer, own: list[Sizes], known: list[Any]) -> list[Sizes]:
    first, last, step = (float(decided(each, layer)) for each in known)
    if not step:
        raise ValueError("a Range has the step 0")
    return [(max(0, math.ceil((last - first) / step)),)]


def _divided(layer: Layer, known: list[Any]) -> Any:
    one, two = known
    return one // two if one.dtype.kind in "iu" else one / two


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
COMPUTING: dict[str, Rule] = {
    **dict.fromkeys(SAME, _same), **dict.fromkeys(JOINED, _joined),
    **dict.fromkeys(REDUCED, _reduced),
    "Convolution": _convolved, "GroupConvolution": _convolved, "Interpolate": _resized,
    "MVN": _normalised, "NormalizeL2": _normalised, "MatMul": _multiplied,
    "AvgPool": _pooled, "MaxPool": _pooled, "Range": _counted,
}  # fmt: skip
"""Sizes of what layers compute."""
COMPUTED: dict[str, Values] = {
    "Identity": lambda layer, known: known[0],
    "Convert": lambda layer, known: known[0].astype(TYPES[layer.data["destination_type"]]),
    "ConvertLike": lambda layer, known: known[0].astype(known[1].dtype),
    "Range": lambda layer, known: np.arange(*(each.item() for each in known)).astype(
        TYPES[layer.data["output_type"]]
    ),
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
"""The same on arrays, of those that decide sizes."""
