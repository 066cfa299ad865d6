"""Graphs that are not what skinxai writes: refused before a runtime sees them, or reads them."""

import io
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from small_runs import model_folder, registered

from skinxai import Classifier, backbones
from skinxai.configs import ModelConfig
from skinxai.errors import IntegrityError, ModelNotFoundError
from skinxai.graphs.budget import MOST_KEPT, PRODUCTS, Step, check_budget
from skinxai.graphs.exported import open_exported
from skinxai.graphs.layers import MAX_LAYERS, check_layers, metadata_of, read_layers
from skinxai.graphs.onnx_checks import MAX_NODES, check_graph
from skinxai.graphs.skeletons import MAX_BYTES, skeleton
from skinxai.labels import LabelSet
from skinxai.model_folders.files import HUGE
from skinxai.model_folders.parts import GRAPH

IMAGE = (1, 3, 32, 48)
PIXELS = 32 * 48


class Net:
    """OpenVINO's XML with its weights, layer by layer; the first takes the images."""

    def __init__(self) -> None:
        self.layers: list[str] = []
        self.edges: list[str] = []
        self.weights = b""
        self.add("Parameter", [], [(-1, 3, 32, 48)], shape="?,3,32,48", element_type="f32")

    def add(self, kind: str, inputs: Sequence[int], outputs: Any, **data: object) -> int:
        own = len(self.layers)
        attributes = " ".join(f'{name}="{value}"' for name, value in data.items())
        ports = "".join(f'<port id="{n}"/>' for n in range(len(inputs)))
        dims = ["".join(f"<dim>{side}</dim>" for side in sizes) for sizes in outputs]
        made = "".join(f'<port id="{len(inputs) + n}">{d}</port>' for n, d in enumerate(dims))
        self.layers.append(
            f'<layer id="{own}" type="{kind}" version="opset1"><data {attributes}/>'
            f"<input>{ports}</input><output>{made}</output></layer>"
        )
        for place, source in enumerate(inputs):
            port = self.layers[source].split("<output>")[0].count("<port")
            self.edges.append(
                f'<edge from-layer="{source}" from-port="{port}" to-layer="{own}" '
                f'to-port="{place}"/>'
            )
        return own

    def constant(self, values: Any, kind: str = "i64", **changes: object) -> int:
        array = np.asarray(values, {"i64": np.int64, "f32": np.float32}.get(kind, np.int64))
        place = {"offset": len(self.weights), "size": max(1, array.nbytes)} | changes
        self.weights += array.tobytes() or b"\0"
        shape = ", ".join(str(side) for side in array.shape)
        return self.add("Const", [], [array.shape], element_type=kind, shape=shape, **place)

    def xml(self) -> bytes:
        layers, edges = "".join(self.layers), "".join(self.edges)
        return f"<net><layers>{layers}</layers><edges>{edges}</edges></net>".encode()

    def check(self) -> None:
        found = read_layers(self.xml(), "x")
        assert found.size == len(self.weights)
        check_layers(found, io.BytesIO(self.weights), "x")


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
    with pytest.raises(IntegrityError, match="must have layers of networks alone"):
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
        with pytest.raises(IntegrityError, match="must have layers of networks alone"):
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
        with pytest.raises(IntegrityError, match="must have layers of networks alone"):
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
    refused("it must take images alone", lambda net: net.add(
        "Parameter", [], [(1,)], shape="1", element_type="f32"))  # fmt: skip


def test_xml_that_is_none() -> None:
    text = Net().xml()
    for forged in (b'<!DOCTYPE a [<!ENTITY b "c">]>' + text, text[:-9], b"<net/>", b""):
        with pytest.raises(IntegrityError, match="must have layers of networks alone"):
            read_layers(forged, "x")
    many = b"<net><layers>" + b"<layer/>" * (MAX_LAYERS + 1) + b"</layers></net>"
    with pytest.raises(IntegrityError, match=f"it has {MAX_LAYERS + 1} layers"):
        read_layers(many, "x")
    assert metadata_of(text) == {}


# What a graph may compute and keep


def test_time_is_bounded_by_weights_and_pixels() -> None:
    step = Step(["images"], {"a": 1}, PRODUCTS - 16)
    check_budget([step], (32, 48), 1000, "x")
    with pytest.raises(IntegrityError, match=f"at most {PRODUCTS} multiplications for an image"):
        check_budget([step._replace(products=PRODUCTS)], (32, 48), 1000, "x")
    weights = 10 * PRODUCTS // PIXELS * 8  # a large network may take longer
    check_budget([step._replace(products=9 * PRODUCTS)], (32, 48), weights, "x")


def test_memory_is_bounded_by_what_is_kept_at_a_time() -> None:
    size = MOST_KEPT // 4
    chain = [Step([n], {n + 1: size}) for n in range(9)]
    check_budget(chain, (32, 48), 1, "x")  # each is let go after the next
    kept = [Step([0], {n + 1: size}) for n in range(5)] + [Step([1, 2, 3, 4, 5], {"sum": 1})]
    with pytest.raises(IntegrityError, match=f"at most {MOST_KEPT} elements at a time"):
        check_budget(kept, (32, 48), 1, "x")
    constants = [step._replace(constant=True) for step in chain]  # a runtime keeps what is folded
    with pytest.raises(IntegrityError, match=f"at most {MOST_KEPT} elements at a time"):
        check_budget(constants, (32, 48), 1, "x")


def onnx_graph(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    images = helper.make_tensor_value_info("images", 1, ["batch", 3, 32, 48])
    out = helper.make_tensor_value_info("logits", 1, None)
    held = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    made = helper.make_graph(list(nodes), "g", [images], [out], held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_an_onnx_graph_that_computes_for_minutes() -> None:
    """Each value is small enough, and so is each node; there are many."""
    column = helper.make_node("Reshape", ["images", "column"], ["a0"])
    cut = helper.make_node("Slice", ["a0", "first", "last"], ["c0"])
    square = helper.make_node("MatMul", ["c0", "row"], ["b0"])  # (4000, 4000)
    more = [helper.make_node("MatMul", [f"b{n}", f"b{n}"], [f"b{n + 1}"]) for n in range(3)]
    last = helper.make_node("Identity", ["b3"], ["logits"])
    constants = {
        "column": np.array([4608, 1]), "row": np.zeros((1, 4000), np.float32),
        "first": np.array([0]), "last": np.array([4000]),
    }  # fmt: skip
    once = helper.make_node("Identity", ["b0"], ["logits"])
    check_graph(onnx_graph(column, cut, square, once, **constants), "x")
    with pytest.raises(IntegrityError, match="multiplications for an image"):
        check_graph(onnx_graph(column, cut, square, *more, last, **constants), "x")


def test_an_onnx_graph_that_keeps_gigabytes() -> None:
    """Twenty large values, all of which the last node takes."""
    nodes = [helper.make_node("Tile", ["images", "times"], [f"t{n}"]) for n in range(20)]
    nodes.append(helper.make_node("Sum", [f"t{n}" for n in range(20)], ["logits"]))
    with pytest.raises(IntegrityError, match="elements at a time for an image"):
        check_graph(onnx_graph(*nodes, times=np.array([1, 2000, 1, 1])), "x")


def test_large_constants_that_nothing_reads() -> None:
    relu = helper.make_node("Relu", ["images"], ["logits"])
    check_graph(onnx_graph(relu, spare=np.zeros(2**16, np.float32)), "x")
    with pytest.raises(IntegrityError, match="no node reads its constant 'spare'"):
        check_graph(onnx_graph(relu, spare=np.zeros(2**16 + 1, np.float32)), "x")


def test_nodes_are_counted() -> None:
    nodes = [helper.make_node("Relu", ["images"], [f"r{n}"]) for n in range(MAX_NODES + 1)]
    with pytest.raises(IntegrityError, match=f"it has {MAX_NODES + 1} nodes"):
        check_graph(onnx_graph(*nodes), "x")


# Files that are not read as a whole


def test_a_skeleton_lacks_the_values_of_large_constants_alone() -> None:
    graph = onnx_graph(
        helper.make_node("Relu", ["images"], ["logits"]),
        weights=np.ones((64, 64), np.float32), sizes=np.arange(9999), few=np.ones(9, np.float32),
    )  # fmt: skip
    data = graph.SerializeToString()
    found = onnx.load_from_string(skeleton(io.BytesIO(data), len(data), "x"))
    assert not found.graph.initializer[0].raw_data
    graph.graph.initializer[0].ClearField("raw_data")
    assert found == graph
    again = found.SerializeToString()
    assert skeleton(io.BytesIO(again), len(again), "x") == again


def test_files_that_are_no_onnx_are_refused_by_their_first_bytes() -> None:
    graph = onnx_graph(
        helper.make_node("Relu", ["images"], ["logits"]), weights=np.ones((64, 64), np.float32)
    ).SerializeToString()
    for forged in (
        bytes(4096), b"\xff" * 99, graph[:-1], graph[: len(graph) // 2], b"\x3a\xff\xff\xff\x7f",
        graph + b"\x3a", graph.replace(struct.pack("BB", 0x08, 64), struct.pack("BB", 0x08, 65), 1),
    ):  # fmt: skip
        with pytest.raises(IntegrityError, match="must be a whole ONNX graph"):
            skeleton(io.BytesIO(forged), len(forged), "x")
    beside = helper.make_node("Relu", ["images"], ["logits"], doc_string="x" * MAX_BYTES)
    long = onnx_graph(beside).SerializeToString()
    with pytest.raises(IntegrityError, match="bytes beside its constants"):
        skeleton(io.BytesIO(long), len(long), "x")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``model.onnx``, ``model.xml`` and its weights."""
    folder = tmp_path_factory.mktemp("exported")
    with registered():
        model = Classifier.from_pretrained(model_folder(folder / "model", seed=1))
        for suffix in ("onnx", "xml"):
            model.export(folder / f"model.{suffix}")
    return folder


def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of all files that are read as a whole from now on."""
    from skinxai.graphs import exported as files

    found: list[int] = []
    read = files.read_file

    def noted(path: Any, most: int) -> bytes:
        data = read(path, most)
        found.append(len(data))
        return data

    monkeypatch.setattr(files, "read_file", noted)
    return found


def test_a_huge_constant_is_refused_unread(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    size = 2**31 - 2**26
    tensor = onnx.TensorProto(dims=[size // 4], data_type=1, name="forged").SerializeToString()

    def varint(value: int) -> bytes:
        low, high = value & 127, value >> 7
        return bytes([low | 128]) + varint(high) if high else bytes([low])

    own = tensor + b"\x4a" + varint(size)
    inner = b"\x2a" + varint(len(own) + size) + own
    whole = (exported / "model.onnx").read_bytes()
    with path.open("wb") as file:
        file.write(whole + b"\x3a" + varint(len(inner) + size) + inner)
        file.truncate(file.tell() + size)
    lengths = read_bytes(monkeypatch)
    with pytest.raises(IntegrityError, match="no node reads its constant 'forged'"):
        open_exported(path)
    for start in (b"", whole):
        path.write_bytes(start)
        with path.open("r+b") as file:
            file.truncate(2**31)
        with pytest.raises(IntegrityError, match="must be a whole ONNX graph"):
            open_exported(path)
    assert lengths == []


def test_weights_have_the_bytes_that_the_xml_tells_of(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    xml = (exported / "model.xml").read_bytes()
    (tmp_path / "model.xml").write_bytes(xml)
    (tmp_path / "model.bin").write_bytes((exported / "model.bin").read_bytes())
    assert open_exported(tmp_path / "model.xml").model
    size = (tmp_path / "model.bin").stat().st_size
    with (tmp_path / "model.bin").open("r+b") as file:
        file.truncate(size - 1)
    with pytest.raises(IntegrityError, match=f"must have {size} bytes of constants beside it, it"):
        open_exported(tmp_path / "model.xml")
    with (tmp_path / "model.bin").open("r+b") as file:
        file.truncate(2**31)
    lengths = read_bytes(monkeypatch)
    with pytest.raises(ModelNotFoundError, match="may have at most"):
        open_exported(tmp_path / "model.xml")
    assert lengths == [len(xml)]


def test_huge_constants_of_the_xml_are_refused_unread(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has the bytes that it tells of; no layer takes them, or what takes them would."""
    xml = (exported / "model.xml").read_text()
    (config,) = re.findall(r"<rt_info>.*</rt_info>", xml, re.DOTALL)
    for taken, words in ((False, "a large constant is read by no layer"), (True, "elements")):
        net = Net()
        size = 2**31 - 2**20
        place = {"element_type": "u8", "shape": size, "offset": 0, "size": size}
        huge = net.add("Const", [], [(size,)], **place)
        if taken:
            net.add("Convert", [huge], [(size,)], destination_type="f32")
        text = net.xml().replace(b"</net>", config.encode() + b"</net>")
        (tmp_path / "model.xml").write_bytes(text)
        with (tmp_path / "model.bin").open("wb") as file:
            file.truncate(size)
        lengths = read_bytes(monkeypatch)
        with pytest.raises(IntegrityError, match=words):
            open_exported(tmp_path / "model.xml")
        assert lengths == [len(text)]
        monkeypatch.undo()


def test_what_decides_sizes_may_be_empty() -> None:
    """As eva02 has it: no sizes before the last ones."""
    net = Net()
    sizes = net.add("ShapeOf", [0], [(4,)], output_type="i64")
    bounds = [net.constant([each]) for each in (0, 0, 1, 0)]
    none = net.add("Slice", [sizes, *bounds], [(0,)])
    whole = net.add("Concat", [none, sizes], [(4,)], axis=0)
    net.add("Reshape", [0, whole], [(-1, 3, 32, 48)])
    net.check()


def test_an_exported_file_is_not_much_larger_than_its_network() -> None:
    labels = LabelSet(("a", "b"))
    small = ModelConfig("x", "timm/resnet18", labels, (224, 224))
    backbones.check_bytes(small, HUGE)
    backbones.check_bytes(small, HUGE + 2**20)
    with pytest.raises(IntegrityError, match="an exported 'timm/resnet18' must have at most"):
        backbones.check_bytes(small, 2**30)


def test_a_graph_without_weights_is_small(tmp_path: Path) -> None:
    from skinxai.model_folders.files import read_part

    with (tmp_path / GRAPH).open("wb") as file:
        file.truncate(2**27 + 1)
    with pytest.raises(IntegrityError, match=f"may have at most {2**27}"):
        read_part(tmp_path / GRAPH)


def test_openvino_takes_what_is_written(exported: Path) -> None:
    """The layers of a real network, in the order and with the sizes that OpenVINO writes."""
    found = read_layers((exported / "model.xml").read_bytes(), "x")
    weights = (exported / "model.bin").read_bytes()
    assert found.size == len(weights)
    check_layers(found, io.BytesIO(weights), "x")
