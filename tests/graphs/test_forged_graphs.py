"""Graphs that compute, keep or hold too much: refused before a runtime reads them."""

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from forged_layers import Net
from onnx import helper
from small_runs import model_folder, registered

from skinxai import Classifier, backbones
from skinxai.configs import ModelConfig
from skinxai.errors import IntegrityError, ModelNotFoundError
from skinxai.graphs.budget import MOST_KEPT, PRODUCTS, Step, check_budget
from skinxai.graphs.exported import open_exported
from skinxai.graphs.followed_layers import check_layers
from skinxai.graphs.layers import read_layers
from skinxai.graphs.onnx_checks import MAX_NODES, check_graph
from skinxai.graphs.skeletons import MAX_BYTES, skeleton
from skinxai.labels import LabelSet
from skinxai.model_folders.part_bytes import HUGE
from skinxai.model_folders.parts import GRAPH

PIXELS = 32 * 48


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
    with pytest.raises(IntegrityError, match=f"must have {size} bytes of constants beside it, but"):
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


def test_an_exported_file_is_not_much_larger_than_its_network() -> None:
    labels = LabelSet(("a", "b"))
    small = ModelConfig("x", "timm/resnet18", labels, (224, 224))
    backbones.check_bytes(small, HUGE)
    backbones.check_bytes(small, HUGE + 2**20)
    with pytest.raises(IntegrityError, match="an exported 'timm/resnet18' must have at most"):
        backbones.check_bytes(small, 2**30)


def test_a_graph_without_weights_is_small(tmp_path: Path) -> None:
    from skinxai.model_folders.part_bytes import read_part

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
