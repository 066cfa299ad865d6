"""Layers of OpenVINO that are not what skinxai writes: refused before a runtime reads them."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from forged_layers import IMAGE, Net

from skinxai.errors import IntegrityError
from skinxai.graphs.followed_layers import check_layers
from skinxai.graphs.layers import MAX_LAYERS, metadata_of, read_layers


def with_constants(kind: str, told: Sequence[int], *values: Any, **data: object) -> Net:
    """A layer that takes the images and constants."""
    net = Net()
    inputs = [0, *(net.constant(each) for each in values)]
    net.add(kind, inputs, [told], **data)
    return net


SLICED = ("Slice", (-1, 3, 16, 48), [0], [16], [1], [2])
CASES: list[tuple[tuple[Any, ...], tuple[Any, ...], dict[str, object]]] = [
    (SLICED, ("Slice", (-1, 3, 16, 48), [0], [16], [0], [2]), {}),
    (SLICED, ("Slice", (-1, 3, 16, 48), [9], [9], [1], [2]), {}),
    (SLICED, ("Slice", (-1, 3, 0, 48), [9], [9], [1], [2]), {}),
    (SLICED, ("Slice", (-1, 3, 16, 48), [0], [16], [1], [4]), {}),
    (SLICED, ("Slice", (-1, 3, 16, 48), [0], [16], [1], [2, 3]), {}),
    (("Slice", (-1, 3, 32, 48), [-1], [-(2**62)], [-1], [3]),
     ("Slice", (-1, 3, 32, 48), [-1], [-(2**62)], [1], [3]), {}),
    (("Reshape", (-1, 4608), [0, -1]), ("Reshape", (-1, 4608), [0, 4607]),
     {"special_zero": "true"}),
    (("Reshape", (-1, 4608), [1, -1]), ("Reshape", (-1, 4608), [0, -1]),
     {"special_zero": "false"}),
    (("Reshape", (-1, 4608), [1, 4608]), ("Reshape", (-1, 4608), [-1, -1]), {}),
    (("Transpose", (-1, 32, 48, 3), [0, 2, 3, 1]), ("Transpose", (-1, 32, 48, 3), [0, 2, 3, 3]),
     {}),
    (("Transpose", (-1, 32, 48, 3), [0, 2, 3, 1]), ("Transpose", (-1, 32, 48, 3), [0, 2, 9, 1]),
     {}),
    (("Tile", (-1, 3, 64, 48), [1, 1, 2, 1]), ("Tile", (-1, 3, 64, 48), [1, 1, 0, 1]), {}),
    (("Tile", (-1, 3, 64, 48), [1, 1, 2, 1]), ("Tile", (-1, 3, 64, 48), [1, 1, 2**40, 1]), {}),
    (("Unsqueeze", (-1, 1, 3, 32, 48), [1]), ("Unsqueeze", (-1, 1, 3, 32, 48), [7]), {}),
    (("Squeeze", (3, 32, 48), [0]), ("Squeeze", (3, 32, 48), [1]), {}),
    (("ReduceMean", (-1, 3), [2, 3]), ("ReduceMean", (-1, 3), [2, 9]), {"keep_dims": "false"}),
    (("Broadcast", (-1, 3, 32, 48), [1, 3, 32, 48]), ("Broadcast", (-1, 3, 32, 48), [1, 3, 0, 48]),
     {"mode": "numpy"}),
    (("Gather", (-1, 3, 2, 48), [5, 31], 2), ("Gather", (-1, 3, 2, 48), [5, 32], 2), {}),
    (("Gather", (-1, 3, 2, 48), [5, 31], 2), ("Gather", (-1, 3, 2, 48), [5, 31], 4), {}),
    (("GatherND", (1, 32, 48), [[0, 2]]), ("GatherND", (1, 32, 48), [[0, 3]]), {}),
    (("MVN", (-1, 3, 32, 48), [2, 3]), ("MVN", (-1, 3, 32, 48), [2, 4]), {}),
    (("Pad", (-1, 3, 34, 48), [0, 0, 1, 0], [0, 0, 1, 0]),
     ("Pad", (-1, 3, 34, 48), [0, 0, 1, 0], [0, 0, -33, 0]), {"pad_mode": "constant"}),
    (("Interpolate", (-1, 3, 64, 96), [1, 3, 64, 96]),
     ("Interpolate", (-1, 3, 64, 96), [1, 3, 0, 96]), {"shape_calculation_mode": "sizes"}),
    (("StridedSlice", (-1, 3, 32, 48), [0], [1], [1]),
     ("StridedSlice", (-1, 3, 32, 48), [0], [1], [0]), {}),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CASES)))
def test_numbers_that_do_not_fit_a_layer(case: int) -> None:
    sound, forged, data = CASES[case]
    with_constants(*sound, **data).check()
    with pytest.raises(IntegrityError, match="must have only layers that networks use"):
        with_constants(*forged, **data).check()


@pytest.mark.parametrize(
    ("kind", "data", "forged"),
    [
        ("strides", "1, 1", "0, 1"),
        ("strides", "1, 1", "1, 99999999999"),
        ("dilations", "1, 1", "0, 0"),
        ("pads_begin", "1, 1", "-1, 1"),
        ("pads_end", "1, 1", "1"),
        ("pads_end", "1, 1", "1, x"),
        ("auto_pad", "explicit", "same_upper"),
    ],
)
def test_attributes_of_a_convolution(kind: str, data: str, forged: str) -> None:
    for value, sound in ((data, True), (forged, False)):
        attributes = {
            "strides": "1, 1", "dilations": "1, 1", "pads_begin": "1, 1", "pads_end": "1, 1",
            "auto_pad": "explicit",
        } | {kind: value}  # fmt: skip
        net = Net()
        weights = net.constant(np.zeros((5, 3, 3, 3)), "f32")
        net.add("Convolution", [0, weights], [(-1, 5, 32, 48)], **attributes)
        if sound:
            net.check()
            continue
        with pytest.raises(IntegrityError, match="must have only layers that networks use"):
            net.check()


def test_counts_that_no_size_shows() -> None:
    """OpenVINO divides by these, whatever sizes the file tells of."""
    for count, sound in ((3, True), (0, False), (-1, False), (10**9, False)):
        net = Net()
        scales = [net.constant(np.zeros(3), "f32") for _ in range(2)]
        net.add("GroupNormalization", [0, *scales], [(-1, 3, 32, 48)], num_groups=count)
        if sound:
            net.check()
            continue
        with pytest.raises(IntegrityError, match="num_groups of GroupNormalization must be 1 to"):
            net.check()


@pytest.mark.parametrize("kind", ["Divide", "FloorMod", "Mod"])
def test_whole_numbers_are_not_divided_by_zero(kind: str) -> None:
    for divisor in ([2, 4], [2, 0]):
        net = Net()
        net.add(kind, [net.constant([6, 6]), net.constant(divisor)], [(2,)])
        if divisor[1]:
            net.check()
            continue
        with pytest.raises(IntegrityError, match=f"{kind} would divide by zero"):
            net.check()


def test_a_divisor_that_the_sizes_of_an_image_make_zero() -> None:
    net = Net()
    sizes = net.add("ShapeOf", [0], [(4,)], output_type="i64")
    less = net.add("Subtract", [sizes, net.constant([1, 3, 32, 48])], [(4,)])
    net.add("Divide", [sizes, less], [(4,)])
    with pytest.raises(IntegrityError, match="Divide would divide by zero"):
        net.check()


def test_a_divisor_that_an_image_makes_is_not_known() -> None:
    net = Net()
    whole = net.add("Convert", [0], [(-1, 3, 32, 48)], destination_type="i64")
    net.add("FloorMod", [whole, whole], [(-1, 3, 32, 48)])
    with pytest.raises(IntegrityError, match="FloorMod would divide by zero"):
        net.check()


def test_counts_and_parts() -> None:
    for step in (1, 0):
        net = Net()
        net.add("Range", [net.constant(0), net.constant(4), net.constant(step)], [(4,)],
                output_type="i64")  # fmt: skip
        if step:
            net.check()
        else:
            with pytest.raises(IntegrityError, match="a Range has the step 0"):
                net.check()
    for lengths in ([1, 2], [3, 0], [2, 2], [-1, 4]):
        net = Net()
        net.add("VariadicSplit", [0, net.constant(1), net.constant(lengths)],
                [(-1, 1, 32, 48), (-1, 2, 32, 48)])  # fmt: skip
        if lengths == [1, 2]:
            net.check()
        else:
            with pytest.raises(IntegrityError, match="VariadicSplit of 3 has the lengths"):
                net.check()


def test_scattered_points_lie_inside() -> None:
    for point in (31, 32, -33):
        net = Net()
        data, updates = (net.constant(np.zeros(n), "f32") for n in (32, 1))
        net.add("ScatterNDUpdate", [data, net.constant([[point]]), updates], [(32,)])
        if point == 31:
            net.check()
            continue
        with pytest.raises(IntegrityError, match="ScatterNDUpdate has an index outside its 32"):
            net.check()


def test_sizes_that_the_file_tells_wrongly() -> None:
    for told in ((-1, 3, 32, 47), (-1, 3, 32), (-1, 3, 32, 0), (-1, 3, 32, -2)):
        net = Net()
        net.add("ReLU", [0], [told])
        with pytest.raises(IntegrityError, match="must have only layers that networks use"):
            net.check()
    net = Net()
    net.add("ReLU", [0], [IMAGE, IMAGE])
    with pytest.raises(IntegrityError, match="a ReLU has 2 outputs"):
        net.check()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"offset": 1}, "must follow one another"),
        ({"offset": -1}, "must follow one another"),
        ({"offset": "x"}, "a number must be whole, got 'x'"),
        ({"offset": 10**20}, "a number must be whole"),
        ({"size": 8}, r"a constant of \(2,\) has 8 bytes"),
        ({"size": 0}, r"a constant of \(2,\) has 0 bytes"),
        ({"kind": "u4"}, "a constant is 'u4'"),
        ({"kind": "i32"}, r"a constant of \(2,\) has 16 bytes"),
    ],
)
def test_places_of_constants(changes: dict[str, Any], words: str | None) -> None:
    net = Net()
    net.constant([1, 2], **changes)
    if words is None:
        return net.check()
    with pytest.raises(IntegrityError, match=words):
        check_layers(read_layers(net.xml(), "x"), io.BytesIO(net.weights), "x")


def test_equal_constants_share_a_place_and_no_other_may() -> None:
    net = Net()
    net.constant([1, 2])
    net.constant([1, 2], offset=0)
    assert read_layers(net.xml(), "x").size == 16
    net.constant([1], offset=8)  # inside another
    with pytest.raises(IntegrityError, match="must follow one another"):
        read_layers(net.xml(), "x")


def test_kinds_inputs_and_edges() -> None:
    def refused(words: str, change: Any) -> None:
        net = Net()
        net.add("ReLU", [0], [(-1, 3, 32, 48)])
        net.add("Add", [0, 1], [(-1, 3, 32, 48)])
        net.check()
        change(net)
        with pytest.raises(IntegrityError, match=words):
            net.check()

    for kind in ("TensorIterator", "ReadValue", "If", "Loop", "NonZero", "x", ""):
        refused(f"it has a layer '{kind}'", lambda net, k=kind: net.add(k, [0], [IMAGE]))
    refused("of 'extension'", lambda net: net.layers.__setitem__(
        1, net.layers[1].replace("opset1", "extension")))  # fmt: skip
    refused("'Broadcast' with 0 inputs", lambda net: net.add("Broadcast", [], [IMAGE]))
    refused("'Slice' with 2 inputs", lambda net: net.add("Slice", [0, 1], [IMAGE]))
    refused("'ReLU' with 2 inputs", lambda net: net.add("ReLU", [0, 1], [IMAGE]))
    refused("nothing computes an input of Add", lambda net: net.edges.pop())
    refused("two edges lead to", lambda net: net.edges.append(net.edges[-1]))
    refused("an edge leads to no input", lambda net: net.edges.append(
        net.edges[-1].replace('to-port="1"', 'to-port="9"')))  # fmt: skip
    refused("nothing computes an input of ReLU", lambda net: net.edges.__setitem__(
        0, net.edges[0].replace('from-layer="0"', 'from-layer="2"')))  # fmt: skip
    refused("numbered in order", lambda net: net.layers.reverse())
    refused("it must take only images", lambda net: net.add(
        "Parameter", [], [(1,)], shape="1", element_type="f32"))  # fmt: skip


def test_xml_that_is_none() -> None:
    text = Net().xml()
    for forged in (b'<!DOCTYPE a [<!ENTITY b "c">]>' + text, text[:-9], b"<net/>", b""):
        with pytest.raises(IntegrityError, match="must have only layers that networks use"):
            read_layers(forged, "x")
    many = b"<net><layers>" + b"<layer/>" * (MAX_LAYERS + 1) + b"</layers></net>"
    with pytest.raises(IntegrityError, match=f"it has {MAX_LAYERS + 1} layers"):
        read_layers(many, "x")
    assert metadata_of(text) == {}


def test_what_decides_sizes_may_be_empty() -> None:
    """As eva02 has it: no sizes before the last ones."""
    net = Net()
    sizes = net.add("ShapeOf", [0], [(4,)], output_type="i64")
    bounds = [net.constant([each]) for each in (0, 0, 1, 0)]
    none = net.add("Slice", [sizes, *bounds], [(0,)])
    whole = net.add("Concat", [none, sizes], [(4,)], axis=0)
    net.add("Reshape", [0, whole], [(-1, 3, 32, 48)])
    net.check()
