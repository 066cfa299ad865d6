"""Forged exported files."""

import os
import re
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
from forging.binaries import change_file, with_seal
from forging.openvino_text import change_text, changed_constants, with_huge_constant
from forging.signing import sign

from skinxai.graphs.exported import SEAL, UNSEALED
from skinxai.model_folders.parts import GRAPH
from skinxai.model_folders.tensors import pack_bytes, unpack_bytes


def hostile_node(graph: Any, draws: Random) -> str:
    """Put a node in front of another one's input."""
    node = draws.choice(graph.node)
    place = draws.randrange(max(1, len(node.input)))
    source = node.input[place] if node.input else "images"
    sizes = [draws.choice([1, 2, 1000, 10**6, 2**40, -1]) for _ in range(4)]
    graph.initializer.append(
        onnx.numpy_helper.from_array(np.array(sizes, np.int64), "forged.sizes")
    )
    scales = np.array([1, 1, 1e4, 1e4], np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(scales, "forged.scales"))
    kind = draws.choice(
        [
            "ConstantOfShape",
            "Expand",
            "Tile",
            "Resize",
            "Reshape",
            "Loop",
            "If",
            "Scan",
            "RandomNormal",
            "NonZero",
            "OneHot",
            "MatMul",
            "Range",
            "Concat",
            "Pad",
            "ConvTranspose",
            "Bernoulli",
        ]
    )
    inputs = {
        "ConstantOfShape": ["forged.sizes"],
        "Resize": [source, "", "forged.scales"],
        "MatMul": [source, source],
        "Concat": [source] * 1000,
        "Range": ["forged.sizes"] * 3,
    }
    made = onnx.helper.make_node(kind, inputs.get(kind, [source, "forged.sizes"]), ["forged.out"])
    if kind == "Concat":
        made.attribute.add(name="axis", i=0, type=2)
    at = list(graph.node).index(node)
    graph.node.insert(at, made)
    if node.input and draws.random() < 0.9:
        graph.node[at + 1].input[place] = "forged.out"
    return f"node {kind}"


def change_graph(parsed: Any, draws: Random) -> str:
    graph = parsed.graph
    how = draws.randrange(9)
    node = draws.choice(graph.node)
    if how <= 1:
        return hostile_node(graph, draws)
    if how == 2:
        node.op_type = draws.choice(
            ["Loop", "Conv", "Gemm", "x", "", "MatMul", "Relu", "Softmax", "Identity", "Tile"]
        )
    elif how == 3 and node.attribute:
        own = draws.choice(node.attribute)
        own.i, own.f = draws.choice([0, -1, 2**62, 7]), draws.choice([0, 1e30, -1])
        if own.ints:
            own.ints[draws.randrange(len(own.ints))] = draws.choice([0, -1, 10**6, 2**62])
        own.name = draws.choice([own.name, own.name, "x", ""])
    elif how == 4:
        own = draws.choice(graph.initializer)
        if own.dims and draws.random() < 0.7:
            own.dims[draws.randrange(len(own.dims))] = draws.choice([0, -1, 2**40, 2**62, 7])
        else:
            own.data_type = draws.choice([0, 1, 7, 8, 10, 16, 17, 99])
    elif how == 5:
        for dim in draws.choice([graph.input, graph.output])[0].type.tensor_type.shape.dim:
            if draws.random() < 0.5:
                dim.dim_value = draws.choice([0, -1, 1, 2**40, 10**4])
    elif how == 6:
        draws.choice(parsed.opset_import).version = draws.choice([0, -1, 1, 9, 99, 2**40])
        parsed.ir_version = draws.choice([0, 1, 8, 10, 999])
    elif how == 7:
        del graph.node[draws.randrange(len(graph.node))]
    else:
        draws.choice((node.input and [node.input]) or [node.output])[0] = draws.choice(
            ["", "x", "images", "logits"]
        )
    return f"graph change {how}"


def forge_graph(folder: Path, draws: Random) -> tuple[str, bool]:
    """In a model folder, an exported ONNX or OpenVINO's; ``which`` is the one that is opened."""
    which = draws.choice(["own", "onnx", "xml"])
    (folder / "which").write_text(which)
    if which == "own":
        data = unpack_bytes("onnx", (folder / GRAPH).read_bytes(), (-1,), GRAPH)
        data, what = changed_graph(data, draws)
        (folder / GRAPH).write_bytes(pack_bytes("onnx", np.frombuffer(data, np.uint8)))
        sign(folder)
        return what, True
    if which == "onnx":
        path = folder / "model.onnx"
        if draws.random() < 0.1:
            return change_file(path, draws), False
        if draws.random() < 0.05:
            return with_huge_constant(path), False
        parsed = onnx.load_from_string(path.read_bytes())
        if draws.random() < 0.25:
            own = draws.choice(parsed.metadata_props)
            own.value = change_text(own.value, draws)
            what = f"metadata {own.key}"
        else:
            what = change_graph(parsed, draws)
        for own in parsed.metadata_props:
            if own.key == SEAL:
                own.value = UNSEALED.decode()
        with_seal(path, parsed.SerializeToString(deterministic=True), b"")
        return what, True
    path = folder / "model.xml"
    if draws.random() < 0.15:
        return change_file(draws.choice([path, path.with_suffix(".bin")]), draws), False
    text, weights = path.read_text(), path.with_suffix(".bin").read_bytes()
    if draws.random() < 0.4:
        text, weights, what = changed_constants(text, weights, draws)
        if what == "xml a huge constant":  # nobody seals what is refused unread
            path.write_text(text)
            os.truncate(path.with_suffix(".bin"), len(weights) + 2**31 - 2**24)
            return what, False
        text = re.sub("sha256:[0-9a-f]{64}", UNSEALED.decode(), text)
        path.with_suffix(".bin").write_bytes(weights)
        with_seal(path, text.encode(), weights)
        return what, True
    found = list(re.finditer(r'(\w+)="([^"]*)"', text))
    own = draws.choice(found)
    values = [
        "",
        "-1",
        "0",
        "1",
        "99999999999",
        "x",
        "Loop",
        "TensorIterator",
        "opset1",
        "extension",
        "1,1,1,1",
        "4096",
        "f64",
        "i64",
        "Broadcast",
        "Tile",
        "99999999999999999999999",
        "&quot;",
    ]
    text = text[: own.start(2)] + draws.choice(values) + text[own.end(2) :]
    if draws.random() < 0.1:
        text = draws.choice(
            ['<!DOCTYPE x [<!ENTITY a "b">]>' + text, text[: len(text) // 2], "<a>" * 99999, ""]
        )
    text = re.sub("sha256:[0-9a-f]{64}", UNSEALED.decode(), text)
    with_seal(path, text.encode(), path.with_suffix(".bin").read_bytes())
    return f"xml {own[1]}", True


def changed_graph(data: bytes, draws: Random) -> tuple[bytes, str]:
    if draws.random() < 0.15:
        at = draws.randrange(len(data))
        return data[:at] + bytes([draws.randrange(256)]) + data[at + 1 :], "a byte of the graph"
    parsed = onnx.load_from_string(data)
    what = change_graph(parsed, draws)
    return parsed.SerializeToString(), what
