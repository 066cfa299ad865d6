"""What OpenVINO's XML may hold: layers of networks, in the form that skinxai writes."""

import math
import re
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from skinxai.errors import IntegrityError
from skinxai.graphs.described_layer import (
    MAX_SIDE,
    TYPES,
    Layer,
    Place,
    Sizes,
    numbers,
    whole,
)
from skinxai.plain_text import counted

MAX_LAYERS = 20_000
INPUTS: dict[str, tuple[int, int]] = {
    kind: (least, most)
    for kinds, least, most in (
        ("Const Parameter", 0, 0),
        ("Abs AvgPool Ceiling Clamp Convert Cos DepthToSpace Elu Erf Exp Floor Gelu HSigmoid "
         "HSwish Identity Log LogSoftmax LogicalNot MaxPool Mish Negative ReLU Result Round "
         "ShapeOf Sigmoid Sign Sin SoftMax SoftPlus SoftSign Softmax SpaceToDepth Sqrt Tanh", 1, 1),
        ("RMS Squeeze Swish", 1, 2),
        ("Add ConvertLike Convolution CumSum Divide Equal FloorMod GatherElements GatherND Greater "
         "GreaterEqual GroupConvolution Less LessEqual LogicalAnd LogicalOr LogicalXor MVN MatMul "
         "Maximum Minimum Mod Multiply NormalizeL2 NotEqual PRelu Power ReduceL1 ReduceL2 "
         "ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Split SquaredDifference "
         "Subtract Tile Transpose Unsqueeze", 2, 2),
        ("Broadcast ConvolutionBackpropData", 2, 3),
        ("Interpolate", 2, 4),
        ("Gather GroupNormalization HardSigmoid Range ScatterNDUpdate Select Selu VariadicSplit",
         3, 3),
        ("Pad StridedSlice", 3, 4),
        ("ScatterElementsUpdate ScatterUpdate", 4, 4),
        ("Slice", 4, 5),
        ("BatchNormInference FakeQuantize", 5, 5),
        ("Einsum", 1, 8),
        ("Concat", 1, 4096),
    )
    for kind in kinds.split()
}  # fmt: skip
"""Kinds of layers that a graph may have, with the least and the most inputs of each."""
COUNTED = {
    "strides": 1, "dilations": 1, "kernel": 1, "block_size": 1, "num_splits": 1, "num_groups": 1,
    "pads_begin": 0, "pads_end": 0, "batch_dims": 0, "levels": 2,
}  # fmt: skip
"""Attributes that are whole numbers, and the least that each may be."""


class Layers(NamedTuple):
    """All layers of a file, and the bytes that their constants take.

    Args:
        layers: each after those that it takes its inputs from.
        size: of the weights' file.
    """

    layers: list[Layer]
    size: int


def read_layers(xml: bytes, name: str) -> Layers:
    """The layers of OpenVINO's XML.

    Args:
        xml: of the graph.
        name: of the file, for messages.

    Raises:
        IntegrityError: foreign layers, inputs that nothing computes, constants that do not follow
            one another, or XML that declares entities or cannot be read.
    """
    try:
        if b"<!" in xml:
            raise ValueError("it declares types or entities")
        return _read(ElementTree.fromstring(xml))
    except (ValueError, TypeError, ElementTree.ParseError, RecursionError) as error:
        raise refused(name, error) from error


def metadata_of(xml: bytes) -> dict[str, str]:
    """What skinxai wrote of a model into XML that `read_layers` has read: name → value."""
    found = ElementTree.fromstring(xml).find("rt_info/skinxai")
    return {} if found is None else {f"skinxai.{each.tag}": each.get("value", "") for each in found}


def refused(name: str, error: Exception) -> IntegrityError:
    """The error of a file whose layers are no network's, and why."""
    return IntegrityError(
        f"{name} must have only layers that networks use: {str(error)[:300]}; export the model "
        f"again."
    )


def _read(root: ElementTree.Element) -> Layers:
    found = root.findall("layers/layer")
    if not 1 <= len(found) <= MAX_LAYERS:
        raise ValueError(f"it has {counted(len(found), 'layer')}")
    edges: dict[Place, Place] = {}
    for edge in root.findall("edges/edge"):
        to, source = ((whole(edge.get(f"{end}-layer", "")), whole(edge.get(f"{end}-port", "")))
                      for end in ("to", "from"))  # fmt: skip
        if to in edges:
            raise ValueError(f"two edges lead to an input of layer {to[0]}")
        edges[to] = source
    layers: list[Layer] = []
    places: dict[Place, Place] = {}
    known: set[Sizes] = set()
    end = 0
    for number, own in enumerate(found):
        layer = _layer(own, number, edges, places)
        layers.append(layer)
        if layer.kind == "Const":
            at, size = _place(layer)
            if (at, size) in known:  # of equal values OpenVINO keeps one
                continue
            if at != end:
                raise ValueError("constants must follow one another in the weights")
            known.add((at, size))
            end += size
    if edges:
        raise ValueError("an edge leads to no input")
    return Layers(layers, end)


def _place(layer: Layer) -> tuple[int, int]:
    """Where a constant is in the weights, and its bytes."""
    if set(layer.data) != {"element_type", "shape", "offset", "size"}:
        raise ValueError("a constant must have a type, a shape and a place")
    kind, shape = layer.data["element_type"], numbers(layer.data["shape"])
    if kind not in TYPES or layer.outputs != (shape,) or min(shape, default=1) < 0:
        raise ValueError(f"a constant is {kind[:40]!r} {shape}")
    at, size = whole(layer.data["offset"]), whole(layer.data["size"])
    if size != max(1, math.prod(shape) * np.dtype(TYPES[kind]).itemsize):
        raise ValueError(f"a constant of {shape} has {size} bytes")
    return at, size


def _layer(
    own: ElementTree.Element, number: int, edges: dict[Place, Place], places: dict[Place, Place]
) -> Layer:
    kind, version, data = own.get("type", ""), own.get("version", ""), own.find("data")
    if kind not in INPUTS or not re.fullmatch(r"opset\d{1,3}", version):
        raise ValueError(f"it has a layer {kind[:40]!r} of {version[:40]!r}")
    if own.get("id") != str(number):
        raise ValueError("its layers must be numbered in order")
    ports = [whole(each.get("id", "")) for each in own.findall("input/port")]
    least, most = INPUTS[kind]
    if not least <= len(ports) <= most:
        raise ValueError(f"it has a layer {kind!r} with {counted(len(ports), 'input')}")
    inputs = []
    for port in ports:
        source = places.get(edges.pop((number, port), (-1, -1)))
        if source is None:
            raise ValueError(f"nothing computes an input of {kind}")
        inputs.append(source)
    outputs: list[Sizes] = []
    for output in own.findall("output/port"):
        sizes = tuple(whole(each.text or "") for each in output.findall("dim"))
        if not all(side >= -1 for side in sizes):
            raise ValueError(f"a {kind} has an output of the sizes {sizes}")
        places[number, whole(output.get("id", ""))] = number, len(outputs)
        outputs.append(sizes)
    attributes = dict(data.attrib) if data is not None else {}
    for name, fewest in COUNTED.items():
        if name in attributes and not all(
            fewest <= each <= MAX_SIDE for each in numbers(attributes[name])
        ):
            raise ValueError(f"{name} of {kind} must be {fewest} to {MAX_SIDE}")
    return Layer(kind, attributes, tuple(inputs), tuple(outputs))
