"""Forge folders of each kind, sign them anew, open them, and count how that ends.

Usage: python benchmarks/forged_folders.py [--count 2000] [--kinds model,run] [--minutes 60]

A model, an ensemble, a prepared folder, a run, an exported graph and a table with its split are
made with a network of some weights. Each variant is a copy with one change: in a JSON tree, in the
header of safetensors, in an ONNX graph or OpenVINO's XML, in a table, or of a file (a pipe, a
device, a link to itself, 2 GiB of nothing, …); manifests, digests and seals are then made anew, as
a forger would. It must end in a `SkinxaiError` or in a right answer, within 2 seconds of processor
time and 1 GiB. Writes results/forged_folders.json.
"""

import argparse
import atexit
import collections
import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image

from skinxai import Classifier, Trainer, backbones
from skinxai.backbones.network import SkinClassifier
from skinxai.configs import ModelConfig, canonical_json
from skinxai.data import Splits, load_csv
from skinxai.data.prepared import load_prepared
from skinxai.data.preparing import prepare
from skinxai.errors import SkinxaiError
from skinxai.graphs.exported import SEAL, UNSEALED, seal
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.parts import CONFIG, GRAPH, MANIFEST, WEIGHTS
from skinxai.model_folders.tensors import BINDING, pack_bytes, unpack_bytes

COLOURS = {"red": (230, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 230)}
RESULTS = Path(__file__).parent / "results" / "forged_folders.json"
SECONDS, BYTES = 2.0, 2**30
PATIENCE = 60
"""Seconds after which a variant counts as hung, whatever else the machine does."""
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 9, 10**6, 10**9, -(2**31), 2**53, 2**63, 10**30, 10**400,
    0.5, -0.5, 1e300, 1e-320, float("nan"), float("inf"),
    "", "x", "\0", "\ud800", "a\nb", "\x1b[2K", "../x",
    "é" * 9, "x" * 5000, "1", "NaN", [], {}, [None], [[]], {"a": 1}, {"": {}}, [0] * 1000,
    "@RAW:1e400@", "@RAW:-1e999@", "@RAW:" + "9" * 5000 + "@", "@RAW:" + "[" * 5000 + "@",
    "@RAW:" + '{"a":' * 3000 + "1" + "}" * 3000 + "@", "timm/vit_giant_patch14_224",
    "timm/resnet18", "tf_efficientnet_lite1", "imagenet", "/etc/passwd", "colours",
]  # fmt: skip


@dataclass
class Kind:
    """One kind of folder.

    Args:
        whole: the folder that is not forged.
        forge: changes a copy, and says whether another answer is what the change means.
        answer: opens a folder and gives what is compared.
    """

    whole: Path
    forge: Callable[[Path, Random], tuple[str, bool]]
    answer: Callable[[Path], Any]


class Small(torch.nn.Module):
    """Two layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 5, 4, 2), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )
        self.fc = torch.nn.Linear(8, classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.body(images)
        return found

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fc(maps.mean((2, 3)))
        return found


def build(name: str, num_classes: int, drop_rate: float = 0.0) -> SkinClassifier:
    network = Small(num_classes)
    return SkinClassifier(network, lambda n, x: n.features(x), lambda n, f: n.head(f))


def dumped(value: Any) -> bytes:
    """JSON with all that JSON does not have."""
    text = json.dumps(value)
    return re.sub(r'"@RAW:(.*?)@"', lambda m: json.loads(f'"{m[1]}"'), text).encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, below in items:
        found += places(below, (*path, key))
    return found


def changed(tree: Any, draws: Random) -> tuple[Any, str]:
    """A JSON tree with one change, and where it is."""
    tree = json.loads(json.dumps(tree))
    path = draws.choice(places(tree)[1:] or [()])
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    where = "/".join(map(str, path))
    if not path:
        return draws.choice(ODD), "root"
    how = draws.randrange(10)
    if how == 0:
        del parent[path[-1]]
    elif how == 1 and isinstance(parent, dict):
        parent[draws.choice(["unknown", "", "\0", "\ud800", "_target_", "x" * 300])] = draws.choice(
            ODD
        )
    elif how == 2 and isinstance(parent, list):
        parent.append(draws.choice([*parent, *ODD]))
    elif how == 3 and isinstance(parent[path[-1]], int | float):
        parent[path[-1]] = parent[path[-1]] * draws.choice([-1, 10, 1000, 10**12]) + 1
    elif how == 4 and isinstance(parent[path[-1]], str):
        parent[path[-1]] = parent[path[-1]][: draws.randrange(9)] + draws.choice(
            ["", "\0", "z", "\u202e"]
        )
    elif how == 5:
        parent[path[-1]] = [parent[path[-1]]]
    elif how == 6:
        parent[path[-1]] = {"value": parent[path[-1]]}
    else:
        parent[path[-1]] = draws.choice(ODD)
    return tree, where


def change_json(path: Path, draws: Random) -> str:
    tree, where = changed(json.loads(path.read_bytes()), draws)
    data = dumped(tree)
    if draws.random() < 0.03:
        data = draws.choice(
            [data[: len(data) // 2], b"\xef\xbb\xbf" + data, data.decode().encode("utf-16"), b""]
        )
    path.write_bytes(data)
    return f"{path.name} {where}"


def change_tensors(path: Path, draws: Random) -> str:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    how = draws.randrange(9)
    if how == 8:
        header, size = with_huge_tensor(header, len(body), draws)
        path.write_bytes(joined(dumped(header), body))
        os.truncate(path, 8 + len(dumped(header)) + size)  # without a byte on the disk
        return f"{path.name} a huge tensor"
    if how == 0:
        path.write_bytes(
            draws.choice([data[:-1], data + b"\0", data[:7], b"", data[: len(data) // 2]])
        )
        return f"{path.name} length"
    if how == 1:
        length = draws.choice([0, 1, 2**63, len(data), length + 1, length - 1, 2**20])
        path.write_bytes(length.to_bytes(8, "little") + data[8:])
        return f"{path.name} header length"
    if how == 2:
        own = draws.choice([each for each in header if each != "__metadata__"])
        header[own]["dtype"] = draws.choice(
            ["BF16", "F8_E4M3", "F8_E5M2", "F64", "I64", "BOOL", "x", None]
        )
    elif how == 3:
        own = draws.choice([each for each in header if each != "__metadata__"])
        header[own]["shape"] = draws.choice(
            [[], [0], [-1], [2**62, 4], [1] * 64, header[own]["shape"][::-1], [1e3]]
        )
    elif how == 4 and body:
        at = draws.randrange(len(body))
        body = body[:at] + bytes([body[at] ^ 1 << draws.randrange(8)]) + body[at + 1 :]
        if draws.random() < 0.3:
            body = body[: at // 4 * 4] + b"\0\0\xc0\x7f" + body[at // 4 * 4 + 4 :]  # NaN
            body = body[: len(data) - 8 - length]
    else:
        header, where = changed(header, draws)
        path.write_bytes(joined(dumped(header), body))
        return f"{path.name} {where}"
    path.write_bytes(joined(dumped(header), body))
    return f"{path.name} change {how}"


def with_huge_tensor(
    header: dict[str, Any], size: int, draws: Random
) -> tuple[dict[str, Any], int]:
    """A header that accounts for two gigabytes, with a new tensor or an enlarged one."""
    entry = {"dtype": "F32", "shape": [2**29 - 2**24], "data_offsets": [size, size + 2**31 - 2**26]}
    name = "forged"
    if draws.random() < 0.5:  # the last one, so that the others stay where they are
        tensors = {each: own for each, own in header.items() if each != "__metadata__"}
        name = max(tensors, key=lambda each: tensors[each]["data_offsets"][1])
        entry["data_offsets"][0] = start = tensors[name]["data_offsets"][0]
        entry["shape"] = [(entry["data_offsets"][1] - start) // 4]
    return header | {name: entry}, entry["data_offsets"][1]


OUTSIDE = Path(tempfile.mkdtemp(prefix="skinxai-outside-"))
atexit.register(shutil.rmtree, OUTSIDE, ignore_errors=True)
"""Holds the file that forged links lead to; it ends with the process."""


def joined(header: bytes, body: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def change_file(path: Path, draws: Random) -> str:
    """Another kind of file in a file's place.

    A link leads to a file of this script's own: what is written through it harms nothing.
    """
    kind = draws.choice(
        ["pipe", "device", "loop", "folder", "empty", "sparse", "missing", "link", "huge"]
    )
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "loop", "link"):
        outside = OUTSIDE / "outside"
        outside.write_bytes(b"outside the folder\n")
        path.symlink_to({"device": "/dev/zero", "loop": path.name, "link": outside}[kind])
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind in ("sparse", "huge"):
        with path.open("wb") as file:
            file.truncate(2**31 if kind == "sparse" else 2**40)
    return f"{path.name} becomes {kind}"


def sign(folder: Path) -> None:
    """The manifest of what is there; of files that cannot be read it keeps the hash."""
    path = folder / MANIFEST
    try:
        old = json.loads(path.read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        old = {}
    found = {}
    for name in sorted(old):
        own = folder / name
        small = own.is_file() and own.stat().st_size < 2**24 and not own.is_symlink()
        found[name] = hashlib.sha256(own.read_bytes()).hexdigest() if small else old[name]
    write_manifest(path, {"files": found, "schema_version": 1})


def write_manifest(path: Path, content: Any) -> None:
    if path.is_symlink():  # it was forged already, and is not written through
        return
    if isinstance(content, dict):
        content.pop("digest", None)
    try:
        digest = hashlib.sha256(canonical_json(content)).hexdigest()
        path.write_bytes(canonical_json(content | {"digest": digest}))
    except (ValueError, TypeError):
        path.write_bytes(dumped(content))


def bind(folder: Path) -> bool:
    """Bind the weights to a config that was changed, as a forger who knows how would."""
    try:
        binding = ModelConfig.from_dict(json.loads((folder / CONFIG).read_bytes())).binding()
        data = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header["__metadata__"] = {BINDING: binding}
        (folder / WEIGHTS).write_bytes(joined(json.dumps(header).encode(), data[8 + length :]))
    except Exception:  # of any kind: the config was forged
        return False
    return True


def forge_model(folder: Path, draws: Random) -> tuple[str, bool]:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    tensors = [name for name in names if name.endswith(".safetensors")]
    how = draws.randrange(10)
    if how < 4:
        what, bound = change_json(folder / CONFIG, draws), draws.random() < 0.5 and bind(folder)
        sign(folder)
        return what, bound
    if how < 6:
        name = draws.choice([*tensors, WEIGHTS])
        what = change_tensors(folder / name, draws)
        sign(folder)
        return what, name == WEIGHTS
    if how == 6:
        what = change_json(folder / draws.choice(["probe.json", CONFIG]), draws)
        sign(folder)
        return what, False
    if how == 7:
        content, what = changed(json.loads((folder / MANIFEST).read_bytes()), draws)
        write_manifest(folder / MANIFEST, content)
        return f"{MANIFEST} {what}", False
    if how == 8:
        (folder / draws.choice(["extra.json", "x.pkl", "y.safetensors"])).write_bytes(b"{}")
        content = json.loads((folder / MANIFEST).read_bytes())
        for number in range(draws.choice([0, 1, 50])):
            name = draws.choice(
                [f"extra{number}.bin", f"../x{number}", f"é{number}", f"e\0{number}", "extra.json"]
            )
            content["files"][name] = draws.choice(
                [hashlib.sha256(b"{}").hexdigest(), None, "0" * 64, 7]
            )
        write_manifest(folder / MANIFEST, content)
        return "files added", False
    what = change_file(folder / draws.choice(names), draws)
    if not what.startswith(MANIFEST):
        sign(folder)
    return what, False


def forge_ensemble(folder: Path, draws: Random) -> tuple[str, bool]:
    how = draws.randrange(3)
    members = sorted((folder / "members").iterdir())
    if how == 0:
        what, may = forge_model(draws.choice(members), draws)
        if draws.random() < 0.8:  # the ensemble is told of it
            config = json.loads((folder / CONFIG).read_bytes())
            for entry in config["members"]:
                try:
                    path = folder / entry["folder"] / MANIFEST
                    if not path.is_file() or path.stat().st_size > 2**24:
                        continue  # a pipe, or a file without end
                    manifest = json.loads(path.read_bytes())
                    entry["revision"] = manifest["digest"]
                except (OSError, ValueError, KeyError, TypeError):
                    continue
            (folder / CONFIG).write_text(json.dumps(config))
            sign(folder)
        return f"member {what}", may
    if how == 1:
        what = change_json(folder / CONFIG, draws)
        sign(folder)
        return what, "weight" in what
    return forge_any(folder, draws, [CONFIG, MANIFEST, "README.md"])


def forge_any(folder: Path, draws: Random, names: list[str]) -> tuple[str, bool]:
    if draws.random() < 0.5:
        content, what = changed(json.loads((folder / MANIFEST).read_bytes()), draws)
        write_manifest(folder / MANIFEST, content)
        return f"{MANIFEST} {what}", False
    what = change_file(folder / draws.choice(names), draws)
    if not what.startswith(MANIFEST):
        sign(folder)
    return what, False


def forge_table_bytes(path: Path, draws: Random) -> str:
    lines = path.read_bytes().split(b"\n")
    row = draws.randrange(len(lines))
    cells = lines[row].split(b",")
    cell = draws.randrange(len(cells))
    odd = [
        b"",
        b"\0",
        b"\xff\xfe",
        b'"',
        b'""',
        b"'",
        b"\r",
        b",",
        b"-1",
        b"1e400",
        b"9" * 400,
        b"x" * 2**21,
        b"../x",
        b"/dev/zero",
        b"nan",
        b"[]",
        b"{}",
        b"null",
        b'"[1]"',
        b"\xed\xa0\x80",
        b"=1",
        b"\x1b[2K",
    ]
    how = draws.randrange(7)
    if how == 0:
        del lines[row]
    elif how == 1:
        lines.insert(row, draws.choice(lines))
    elif how == 2:
        del cells[cell]
    elif how == 3:
        cells.insert(cell, draws.choice(odd))
    elif how == 4:
        cells[cell] = draws.choice(odd)
    elif how == 5:
        cells[cell] = cells[cell] + draws.choice(odd)
    else:
        path.write_bytes(
            draws.choice(
                [
                    b"\n".join(lines)[: draws.randrange(1, 99)],
                    b"\n".join(lines).decode("latin-1").encode("utf-16"),
                    b"",
                    b"\n" * 99,
                    b'"' + b"\n".join(lines),
                    b"\0" * 4096,
                    b"," * 99999,
                ]
            )
        )
        return f"{path.name} as a whole"
    if how >= 2:
        lines[row] = b",".join(cells)
    path.write_bytes(b"\n".join(lines))
    return f"{path.name} change {how}"


def forge_prepared(folder: Path, draws: Random) -> tuple[str, bool]:
    how = draws.randrange(3)
    path = folder / MANIFEST
    content = json.loads(path.read_bytes())
    if how == 0:
        content, what = changed(content, draws)
        write_manifest(path, content)
        return f"{MANIFEST} {what}", True
    name = draws.choice(sorted(content["files"]))
    if how == 1:
        name = "records.csv"
        what = forge_table_bytes(folder / name, draws)
    else:
        what = change_file(folder / draws.choice([name, MANIFEST]), draws)
    own = folder / name
    if own.is_file() and not own.is_symlink() and path.is_file():
        size = own.stat().st_size
        data = own.read_bytes() if size < 2**24 else b""
        content["files"][name] = {"bytes": size, "sha256": hashlib.sha256(data).hexdigest()}
        write_manifest(path, content)
    return what, how == 1


def forge_run(folder: Path, draws: Random) -> tuple[str, bool]:
    how = draws.randrange(5)
    (checkpoint,) = (folder / "checkpoints").iterdir()
    if how <= 1 and draws.random() < 0.1:
        settings = json.loads((folder / "train.json").read_bytes())
        name = draws.choice(
            ["timm/vit_giant_patch14_224", "timm/resnet18", "timm/resnetv2_152x4_bit"]
        )
        settings["settings"]["backbone"] = name
        (folder / "train.json").write_text(json.dumps(settings))
        return f"train.json names {name}", False
    if how <= 1:
        return change_json(folder / "train.json", draws), True
    if how == 2:
        names = [
            "train.json",
            "events.log",
            ".lock",
            "log.csv",
            "splits.csv",
            "training_pixels.safetensors",
            f"checkpoints/{checkpoint.name}",
            "evaluation.json",
            MANIFEST,
            WEIGHTS,
        ]
        return change_file(folder / draws.choice(names), draws), True
    if how == 3:
        what = change_tensors(checkpoint, draws)
    else:
        data = checkpoint.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        state, what = changed(json.loads(header["__metadata__"]["state"]), draws)
        header["__metadata__"]["state"] = dumped(state).decode("utf-8", "surrogateescape")
        checkpoint.write_bytes(joined(json.dumps(header).encode(), data[8 + length :]))
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:32]
    checkpoint.rename(checkpoint.with_name(f"{checkpoint.name[:9]}-{digest}.safetensors"))
    return f"checkpoint {what}", True


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


CONSTANT = re.compile(r'<data element_type="(\w+)" shape="([^"]*)" offset="(\d+)" size="(\d+)"')


def changed_constants(text: str, weights: bytes, draws: Random) -> tuple[str, bytes, str]:
    """OpenVINO's XML and weights, where a constant is another, or elsewhere."""
    found = list(CONSTANT.finditer(text))
    own, other = draws.choice(found), draws.choice(found)
    how = draws.randrange(6)
    if how == 0:  # its bytes are another's
        new = f'<data element_type="{own[1]}" shape="{own[2]}" offset="{other[3]}" size="{own[4]}"'
        return text[: own.start()] + new + text[own.end() :], weights, "xml offset"
    if how == 1:  # it is another as a whole
        return text[: own.start()] + other[0] + text[own.end() :], weights, "xml constant"
    if how == 2:
        kind = draws.choice(["f32", "i64", "i32", "u8", "boolean", "u4", "string", "undefined"])
        new = own[0].replace(f'"{own[1]}"', f'"{kind}"')
        return text[: own.start()] + new + text[own.end() :], weights, "xml type"
    if how == 3:
        edges = re.findall(r"<edge [^>]*>", text)
        one, two = draws.choice(edges), draws.choice(edges)
        source = re.search(r'from-layer="\d+" from-port="\d+"', two)[0]
        new = re.sub(r'from-layer="\d+" from-port="\d+"', source, one)
        return text.replace(one, new), weights, "xml edge"
    if how == 4 and draws.random() < 0.2:
        last = max(found, key=lambda each: int(each[3]))
        size = len(weights) + 2**31 - 2**24 - int(last[3])
        new = f'<data element_type="u8" shape="{size}" offset="{last[3]}" size="{size}"'
        rest = text[last.end() :]
        if draws.random() < 0.5:  # its output says so as well
            dims = re.compile(r"(<port [^>]*>)(\s*<dim>\d+</dim>)*")
            rest = dims.sub(rf"\g<1><dim>{size}</dim>", rest, count=1)
        return text[: last.start()] + new + rest, weights, "xml a huge constant"
    whole = [each for each in found if each[1] == "i64"]
    own = draws.choice(whole)
    at = int(own[3]) + 8 * draws.randrange(max(1, int(own[4]) // 8))
    value = draws.choice([0, 0, 0, -1, 1, 2, 7, 4096, -(2**63), 2**63 - 1])
    weights = weights[:at] + value.to_bytes(8, "little", signed=True) + weights[at + 8 :]
    return text, weights, "xml value of a constant"


def with_huge_constant(path: Path) -> str:
    """An ONNX file with another constant, of two gigabytes without a byte on the disk."""
    size = 2**31 - 2**26
    tensor = onnx.TensorProto(dims=[size // 4], data_type=1, name="forged")
    head = tensor.SerializeToString() + b"\x4a" + varint(size)
    inner = b"\x2a" + varint(len(head) + size) + head
    with path.open("ab") as file:  # a second part of the graph is joined to the first
        file.write(b"\x3a" + varint(len(inner) + size) + inner)
        file.truncate(file.tell() + size)
    return "graph a huge constant"


def varint(value: int) -> bytes:
    found = []
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def with_seal(path: Path, data: bytes, weights: bytes) -> None:
    path.write_bytes(seal(data, weights) if data.count(UNSEALED) == 1 else data)


def change_text(text: str, draws: Random) -> str:
    try:
        return dumped(changed(json.loads(text), draws)[0]).decode("utf-8", "replace")
    except ValueError:
        return draws.choice(["", "x", text[:-1], text * 2, "\x1b[2K"])


def changed_graph(data: bytes, draws: Random) -> tuple[bytes, str]:
    if draws.random() < 0.15:
        at = draws.randrange(len(data))
        return data[:at] + bytes([draws.randrange(256)]) + data[at + 1 :], "a byte of the graph"
    parsed = onnx.load_from_string(data)
    what = change_graph(parsed, draws)
    return parsed.SerializeToString(), what


def forge_tables(folder: Path, draws: Random) -> tuple[str, bool]:
    path = folder / draws.choice(["t.csv", "splits.csv"])
    if draws.random() < 0.2:
        return change_file(path, draws), True
    return forge_table_bytes(path, draws), True


def kinds(place: Path) -> dict[str, Kind]:
    """Whole folders of each kind, and how they are forged and opened."""
    pictures, draws = place / "pictures", np.random.default_rng(0)
    pictures.mkdir(parents=True)
    rows = ["image,label,lesion_id"]
    for code, colour in COLOURS.items():
        for number in range(4):
            pixels = (np.array(colour) + draws.integers(-20, 20, (40, 56, 3))).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(pictures / f"{code}{number}.png")
            rows.append(f"{code}{number}.png,{code},{code}{number}")
    table = place / "tables"
    table.mkdir()
    (table / "t.csv").write_text("\n".join(rows) + "\n")
    columns = {"image": "image", "label": "label", "lesion_id": "lesion_id"}

    def records(folder: Path = table) -> Any:
        return load_csv(folder / "t.csv", pictures, columns=columns)

    known = records()
    ids = {part: [f"{code}{number}" for code in COLOURS for number in numbers]
           for part, numbers in (("train", (0, 1)), ("val", (2,)), ("test", (3,)))}  # fmt: skip
    splits = Splits.of(
        known,
        {
            p: [i for i in (r.image_id for r in known) if Path(i).stem in own]
            for p, own in ids.items()
        },
    )
    splits.to_csv(table / "splits.csv")
    settings: dict[str, Any] = dict(
        backbone="colours",
        init_weights=None,
        amp=False,
        image_size=(32, 48),
        batch_size=6,
        epochs=1,
        workers=0,
        device="cpu",
    )
    run, model, exported, ensemble = (
        place / name for name in ("run", "model", "exported", "ensemble")
    )

    def make() -> None:
        Trainer(**settings, output_dir=run).fit(splits)
        made = Classifier.from_pretrained(run).with_graph()
        made.save_pretrained(model)
        shutil.copytree(model, exported)
        made.export(exported / "model.onnx")
        made.export(exported / "model.xml")
        write_ensemble(ensemble, [model, run], name="two")
        prepare(known, place / "prepared")

    # In a process of its own: OpenVINO's threads do not survive in a fork.
    process = multiprocessing.get_context("fork").Process(target=make)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)
    picture = pictures / "red0.png"

    def predicted(model: Any, **options: Any) -> Any:
        classifier = Classifier.from_pretrained(model, device="cpu", **options)
        return [round(p, 6) for p in classifier.predict(picture).probabilities.values()]

    def graph_answer(folder: Path) -> Any:
        which = (folder / "which").read_text() if (folder / "which").exists() else "own"
        if which == "own":
            return predicted(folder, backend="onnx")
        return predicted(
            folder / f"model.{which}", backend={"onnx": "onnx", "xml": "openvino"}[which]
        )

    def resumed(folder: Path) -> Any:
        weights = Trainer.resume(folder).fit(splits).network.network.state_dict()
        return {name: tensor.tolist() for name, tensor in weights.items()}

    def prepared_answer(folder: Path) -> Any:
        found = load_prepared(folder)
        return [int(found.pixels.read(item.image_id).sum()) for item in found]

    def table_answer(folder: Path) -> Any:
        found = records(folder)
        own = Splits.from_csv(folder / "splits.csv", found)
        return [len(own.train), len(own.val), len(own.test)]

    return {
        "model": Kind(model, forge_model, predicted),
        "ensemble": Kind(ensemble, forge_ensemble, predicted),
        "prepared": Kind(place / "prepared", forge_prepared, prepared_answer),
        "run": Kind(run, forge_run, resumed),
        "graph": Kind(exported, forge_graph, graph_answer),
        "table": Kind(table, forge_tables, table_answer),
    }


def status(name: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) * 1024


def outcome(kind: Kind, folder: Path, right: Any, may: bool) -> dict[str, Any]:
    """How opening a folder ends, and what it costs."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, begun = status("VmRSS"), time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.answer(folder)
        end = (
            "right answer" if found == right else "what the change means" if may else "WRONG ANSWER"
        )
        words = ""
    except SkinxaiError as error:
        end, words = type(error).__name__, str(error)
    except (Exception, SystemExit) as error:
        end, words = f"UNTYPED {type(error).__name__}", traceback.format_exc()[-1500:]
    seconds, taken = time.process_time() - begun, status("VmHWM") - before
    if seconds > SECONDS:
        end += ", TOO SLOW"
    if taken > BYTES:
        end += ", TOO LARGE"
    return {"end": end, "words": words[:1500], "seconds": seconds, "bytes": taken}


def work(kind: Kind, connection: Any) -> None:
    """Answer for one variant after the other, in a process of its own."""
    torch.set_num_threads(1)
    os.chdir(kind.whole.parent)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)
    os.dup2(silent, 1)
    most = status("VmSize") + 6 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    right = kind.answer(Path(shutil.copytree(kind.whole, kind.whole.parent / "right")))
    shutil.rmtree(kind.whole.parent / "right")
    while (asked := connection.recv()) is not None:
        connection.send(outcome(kind, Path(asked[0]), right, asked[1]))


def campaign(
    name: str, kind: Kind, count: int, seed: int, show: bool, minutes: float
) -> dict[str, Any]:
    """Outcomes of as many variants, or of those that the minutes are enough for."""
    draws, ends, slowest, largest = Random(seed), collections.Counter[str](), 0.0, 0
    context = multiprocessing.get_context("fork")
    process = ends_at = None
    bad: list[dict[str, Any]] = []
    begun = time.monotonic()
    for number in range(count):
        if time.monotonic() - begun > minutes * 60:
            count = number
            break
        if process is None or not process.is_alive():
            ends_at, theirs = context.Pipe()
            process = context.Process(target=work, args=(kind, theirs), daemon=True)
            process.start()
            theirs.close()
        folder = Path(shutil.copytree(kind.whole, kind.whole.parent / f"forged-{name}"))
        what, may = kind.forge(folder, draws)
        ends_at.send((str(folder), may))
        try:
            if not ends_at.poll(PATIENCE):
                raise TimeoutError
            found = ends_at.recv()
        except (TimeoutError, EOFError, OSError) as error:
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            end = "HUNG" if isinstance(error, TimeoutError) else f"DIED {process.exitcode}"
            found, process = {"end": end, "words": "", "seconds": 0, "bytes": 0}, None
        ends[found["end"]] += 1
        slowest, largest = max(slowest, found["seconds"]), max(largest, found["bytes"])
        if (
            found["end"] != found["end"].replace("UNTYPED", "")
            or found["end"].upper() in found["end"]
            or "TOO" in found["end"]
        ):
            bad.append({"number": number, "change": what} | found)
            if show:
                print(name, number, what, found["end"], found["words"][-700:], flush=True)
        shutil.rmtree(folder)
    if process is not None:
        ends_at.send(None)
        process.join(10)
    wrong = [each for each in bad if re.search("UNTYPED|WRONG|TOO|HUNG|DIED", each["end"])]
    return {"variants": count, "ends": dict(ends.most_common()), "wrong": len(wrong),
            "slowest_seconds": round(slowest, 2), "most_mib": round(largest / 2**20)}  # fmt: skip


def main(count: int, chosen: list[str], seed: int, out: Path | None, minutes: float) -> int:
    backbones.register("colours")(build)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        made = kinds(Path(temporary))
        found = {
            name: campaign(name, made[name], count, seed, True, minutes) for name in chosen or made
        }
    print("| kind | variants | refused | right | what the change means | wrong | slowest | most |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, each in found.items():
        ends = each["ends"]
        right, meant = ends.get("right answer", 0), ends.get("what the change means", 0)
        refused = each["variants"] - right - meant - each["wrong"]
        print(f"| {name} | {each['variants']} | {refused} | {right} | {meant} | {each['wrong']} | "
              f"{each['slowest_seconds']} s | {each['most_mib']} MiB |")  # fmt: skip
    if out is not None:
        known = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps(known | found, indent=2) + "\n")
    return sum(each["wrong"] for each in found.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="for each kind, at most")
    parser.add_argument("--no-result", action="store_true")
    given = parser.parse_args()
    chosen = given.kinds.split(",") if given.kinds else []
    out = None if given.no_result else RESULTS
    wrong = main(given.count, chosen, given.seed, out, given.minutes)
    raise SystemExit(min(1, wrong))
