"""What a graph may hold: operators that networks are made of, and values of bounded size.

A graph is a program. One that somebody else wrote is refused before a runtime sees it where it has
an operator that no exported network has, or where some value, for one image, would be larger than
the values of networks are: sizes are followed from the image through every node, and what decides
sizes is computed here.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import shape_inference

from skinxai.errors import IntegrityError
from skinxai.graphs import IMAGES
from skinxai.graphs.budget import LEAST, Step, check_budget, largest
from skinxai.plain_text import counted, first_line

OPERATORS = frozenset((
    "Abs", "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "CastLike",
    "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos",
    "CumSum", "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Einsum", "Elu", "Equal",
    "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND",
    "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GreaterOrEqual",
    "GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax",
    "LpNormalization", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceL1",
    "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "Relu", "Reshape", "Resize", "RMSNormalization", "Round",
    "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Size",
    "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze",
    "Sub", "Sum", "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
))  # fmt: skip
"""ONNX's operators that a graph may have."""
MAX_NODES = 20_000
SMALL = 65_536
"""Elements of values that are computed here."""


def check_graph(graph: onnx.ModelProto, name: str) -> None:
    """Refuse a graph with foreign operators, or whose values are too large for one image.

    Args:
        graph: its constants that are not small may be left out.
        name: of it, for messages.

    Raises:
        IntegrityError: one of these, or a graph whose sizes cannot be told.
    """
    try:
        _Sizes(graph, name).follow()
    except IntegrityError:
        raise
    except Exception as error:  # of many kinds: onnx has its own for each part
        raise IntegrityError(
            f"{name} must be a sound ONNX graph: {first_line(error)[:200]}"
        ) from error


class _Sizes:
    """Types of all values, and the values of those that decide sizes."""

    def __init__(self, graph: onnx.ModelProto, name: str) -> None:
        self._graph, self._name = graph.graph, name
        self._opsets = [each for each in graph.opset_import if each.domain in ("", "ai.onnx")]
        self._ir = graph.ir_version
        self._types: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self._most = LEAST
        self._varying = {IMAGES}
        self._steps: list[Step] = []

    def follow(self) -> None:
        nodes, inputs = self._graph.node, list(self._graph.input)
        if len(nodes) > MAX_NODES or len(self._opsets) != 1:
            raise ValueError(
                f"it has {counted(len(nodes), 'node')} and "
                f"{counted(len(self._opsets), 'operator set')}"
            )
        for own in self._graph.initializer:
            self._initializer(own)
        names = {own.name for own in self._graph.initializer}
        images = [each for each in inputs if each.name not in names]
        if [each.name for each in images] != [IMAGES]:
            raise ValueError(f"its input must be {IMAGES!r}")
        sides = [d.dim_value for d in images[0].type.tensor_type.shape.dim]
        if len(sides) != 4 or sides[1] != 3 or not all(0 < s <= 4096 for s in sides[2:]):
            raise ValueError(f"its images must be (N, 3, h, w), but they are {sides}")
        self._most = largest(*sides[2:])
        kind = images[0].type.tensor_type.elem_type
        self._types[IMAGES] = onnx.helper.make_tensor_type_proto(kind, [1, *sides[1:]])
        for node in nodes:
            self._node(node)
        if missing := [out.name for out in self._graph.output if out.name not in self._types]:
            raise ValueError(f"nothing computes its output {missing[0]!r}")
        read = {each for node in nodes for each in node.input}
        for own in self._graph.initializer:
            if math.prod(own.dims) > SMALL and own.name not in read:
                raise ValueError(f"no node reads its constant {own.name!r}")
        weights = sum(math.prod(own.dims) for own in self._graph.initializer)
        check_budget(self._steps, (sides[2], sides[3]), weights, self._name)

    def _initializer(self, own: Any) -> None:
        if any(side < 0 for side in own.dims):
            raise ValueError(f"{own.name!r} has a negative size")
        self._types[own.name] = onnx.helper.make_tensor_type_proto(own.data_type, list(own.dims))
        size = math.prod(own.dims)
        if size == 0 or (size <= SMALL and _has_values(own)):
            self._known[own.name] = onnx.numpy_helper.to_array(own)

    def _node(self, node: Any) -> None:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            raise IntegrityError(
                f"{self._name} must have only operators that networks use, but it has "
                f"{node.op_type[:40]!r}; export the model again."
            )
        if unknown := [each for each in node.input if each and each not in self._types]:
            raise ValueError(f"nothing computes {unknown[0]!r} before {node.op_type} takes it")
        found = self._inferred(node)
        values = self._computed(node, found)
        for place, out in enumerate(node.output):
            if not out:
                continue
            if out in self._types:
                raise ValueError(f"two nodes compute {out!r}")
            if values is not None and place == 0:
                self._known[out] = values
                kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
                self._types[out] = onnx.helper.make_tensor_type_proto(kind, values.shape)
                continue
            shape = _shape(found.get(out))
            if shape is None:
                raise ValueError(
                    f"the size of {out!r}, which {node.op_type} computes, is not known"
                )
            if math.prod(shape) > self._most:
                raise IntegrityError(
                    f"{self._name} must compute values of at most {self._most} elements for an "
                    f"image, but {node.op_type} would have {shape}; export the model again."
                )
            self._types[out] = found[out]
        self._note(node)

    def _note(self, node: Any) -> None:
        """How much a node computes and keeps."""
        if self._varying.intersection(node.input):
            self._varying |= set(node.output)
        own = [_shape(self._types[each]) or () for each in node.input if each]
        made = {each: math.prod(_shape(self._types[each]) or ()) for each in node.output if each}
        products, out = 0, next(iter(made.values()), 0)
        if node.op_type == "Conv":
            products = out * math.prod(own[1][1:])
        elif node.op_type == "ConvTranspose":
            products = math.prod(own[0]) * math.prod(own[1][1:])
        elif node.op_type == "Gemm":
            products = out * own[0][0 if _integer(node, "transA", 0) else -1]
        elif node.op_type == "MatMul":
            products = out * own[0][-1]
        elif node.op_type == "Einsum":
            products = out * math.prod(max(each, default=1) for each in own)
        elif node.op_type in ("MaxPool", "AveragePool"):
            products = out * math.prod(_integers(node, "kernel_shape"))
        self._steps.append(
            Step(
                [each for each in node.input if each],
                made,
                products,
                not self._varying.intersection(node.output),
            )
        )

    def _inferred(self, node: Any) -> Mapping[str, Any]:
        schema = onnx.defs.get_schema(node.op_type, self._opsets[0].version, "")
        types = {each: self._types[each] for each in node.input if each}
        data = {
            each: onnx.numpy_helper.from_array(self._known[each], each)
            for each in types
            if each in self._known
        }
        return dict(
            shape_inference.infer_node_outputs(
                schema, node, types, data or None, None, list(self._opsets), self._ir
            )
        )

    def _computed(self, node: Any, found: Mapping[str, Any]) -> Any:
        """The value of a node that decides sizes; ``None`` of any other."""
        shape = _shape(found.get(node.output[0])) if node.output else None
        if node.op_type == "Shape":
            own = _shape(self._types[node.input[0]]) or ()
            first, last = _integer(node, "start", 0), _integer(node, "end", len(own))
            return np.array(own[slice(first, last)], np.int64)
        if node.op_type == "Constant":
            (own,) = node.attribute
            values = onnx.helper.get_attribute_value(own)
            if own.HasField("t"):
                if math.prod(own.t.dims) > SMALL:
                    return None
                return np.asarray(onnx.numpy_helper.to_array(own.t))
            kinds = {"value_int": np.int64, "value_ints": np.int64,
                     "value_float": np.float32, "value_floats": np.float32}  # fmt: skip
            return np.array(values, kinds[own.name]) if own.name in kinds else None
        if node.op_type not in FOLDED or not all(e in self._known for e in node.input if e):
            return None
        arrays = [self._known[each] if each else None for each in node.input]
        if shape is not None and math.prod(shape) > SMALL:
            return None
        if shape is None and node.op_type in ("Expand", "Range") and _count(node, arrays) > SMALL:
            return None
        return np.asarray(FOLDED[node.op_type](node, arrays))


def _has_values(own: Any) -> bool:
    return bool(own.raw_data or own.int64_data or own.int32_data or own.float_data)


def _shape(found: Any) -> tuple[int, ...] | None:
    if found is None or not found.HasField("tensor_type"):
        return None
    if not found.tensor_type.HasField("shape"):
        return None
    sides = found.tensor_type.shape.dim
    return (
        tuple(s.dim_value for s in sides) if all(s.HasField("dim_value") for s in sides) else None
    )


def _integer(node: Any, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _integers(node: Any, name: str) -> tuple[int, ...]:
    return next((tuple(a.ints) for a in node.attribute if a.name == name), ())


def _count(node: Any, arrays: list[Any]) -> float:
    if node.op_type == "Range":
        first, last, step = (float(each) for each in arrays)
        return abs((last - first) / step) if step else math.inf
    return float(math.prod(abs(int(side)) for side in arrays[1]) * arrays[0].size)


def _axes(node: Any, arrays: list[Any]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.atleast_1d(arrays[1]))


def _cast(node: Any, arrays: list[Any]) -> Any:
    return arrays[0].astype(onnx.helper.tensor_dtype_to_np_dtype(_integer(node, "to", 1)))


def _divided(node: Any, arrays: list[Any]) -> Any:
    one, two = arrays
    return np.trunc(one / two).astype(one.dtype) if one.dtype.kind == "i" else one / two


def _remainder(node: Any, arrays: list[Any]) -> Any:
    one, two = arrays
    if _integer(node, "fmod", 0) or not np.all(two):
        raise ValueError("a remainder of sizes must be one of whole numbers, by none of 0")
    return np.mod(one, two)


def _reshaped(node: Any, arrays: list[Any]) -> Any:
    own = arrays[0]
    return own.reshape([own.shape[k] if s == 0 else int(s) for k, s in enumerate(arrays[1])])


def _sliced(node: Any, arrays: list[Any]) -> Any:
    own, first, last, *rest = arrays
    axes = rest[0] if rest and rest[0] is not None else range(len(first))
    steps = rest[1] if len(rest) > 1 and rest[1] is not None else [1] * len(first)
    for axis, start, stop, step in zip(axes, first, last, steps, strict=True):
        at = [slice(None)] * own.ndim
        at[int(axis)] = slice(int(start), int(stop), int(step))
        own = own[tuple(at)]
    return own


FOLDED: dict[str, Callable[[Any, list[Any]], Any]] = {
    "Identity": lambda node, arrays: arrays[0],
    "Cast": _cast,
    "CastLike": lambda node, arrays: arrays[0].astype(arrays[1].dtype),
    "Expand": lambda node, arrays: (
        arrays[0] * np.ones([int(s) for s in arrays[1]], arrays[0].dtype)
    ),
    "Concat": lambda node, arrays: np.concatenate(arrays, _integer(node, "axis", 0)),
    "Gather": lambda node, arrays: np.take(arrays[0], arrays[1], _integer(node, "axis", 0)),
    "Unsqueeze": lambda node, arrays: np.expand_dims(arrays[0], _axes(node, arrays)),
    "Squeeze": lambda node, arrays: np.squeeze(
        arrays[0], _axes(node, arrays) if len(arrays) > 1 else None
    ),
    "Reshape": _reshaped,
    "Range": lambda node, arrays: np.arange(*arrays).astype(arrays[0].dtype),
    "Slice": _sliced,
    "Add": lambda node, arrays: arrays[0] + arrays[1],
    "Sub": lambda node, arrays: arrays[0] - arrays[1],
    "Mul": lambda node, arrays: arrays[0] * arrays[1],
    "Div": _divided,
    "Mod": _remainder,
    "Neg": lambda node, arrays: -arrays[0],
}
"""Operators that decide sizes, on arrays."""
