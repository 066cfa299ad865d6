"""Parts of signed folders that are not what skinxai writes: each is refused by its own rule."""

import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from small_runs import model_folder, registered

from skinxai import backbones
from skinxai.checkpoints import unpack
from skinxai.configs import ModelConfig, canonical_json, strict_json
from skinxai.errors import (
    IntegrityError,
    ModelConfigError,
    ModelNotFoundError,
    SkinxaiError,
    TrainingError,
)
from skinxai.graphs.exported import open_exported
from skinxai.graphs.onnx_checks import check_graph
from skinxai.labels import MAX_CLASSES, LabelSet
from skinxai.model_folders.files import ModelFiles, read_model_folder
from skinxai.model_folders.folder_manifest import MAX_FILES, parse_manifest
from skinxai.model_folders.part_bytes import MAX_FOLDER_BYTES, read_part
from skinxai.model_folders.parts import CONFIG, MANIFEST, WEIGHTS
from skinxai.model_folders.tensors import BINDING, Stored, load_arrays, stored_tensors
from skinxai.predicting.runners import RUNNERS
from skinxai.training.run_folder import RunFolder
from skinxai.training.state import Progress

SHA = "0" * 64


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1e400}', "the number 1e400 is too large"),
        ('{"a": [-1e999]}', "the number -1e999 is too large"),
        ('{"a": 9223372036854775808}', "of 19 digits is too large"),
        ('{"a": -' + "9" * 4000 + "}", "of 4001 digits is too large"),
        ('{"a": Infinity}', "Infinity is not JSON"),
        ('["\\ud800"]', "surrogates not allowed"),
        ('{"\\udfff": 1}', "surrogates not allowed"),
        ("[" * 900 + "]" * 900, None),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested too deep"),
    ],
)
def test_json_holds_what_64_bits_and_text_hold(text: str, words: str | None) -> None:
    if words is None:
        assert strict_json(text.encode())
        return
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(1000)  # Python's own; mypy, in another test, raises it
        with pytest.raises(ValueError, match=words):
            strict_json(text.encode())
    finally:
        sys.setrecursionlimit(limit)
    assert strict_json(b'[9223372036854775807, -9223372036854775808, 1.7e308, "\\ud83d\\ude00"]')


def test_json_is_utf_8() -> None:
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        with pytest.raises(ValueError, match=r"codec|BOM"):
            strict_json('{"a": 1}'.encode(encoding))


def manifest(**changes: object) -> bytes:
    content = {"files": {CONFIG: SHA, WEIGHTS: SHA}, "schema_version": 1} | changes
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    return canonical_json(content | {"digest": digest})


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"schema_version": 2}, ModelConfigError, "must be 1, got 2; update skinxai"),
        ({"schema_version": True}, ModelConfigError, "must be 1, got True; update skinxai"),
        ({"author": "me"}, IntegrityError, r"must only have the keys .* got \['author'\]"),
        ({"files": {CONFIG: None}}, IntegrityError, "sha256 of 64 hexadecimal digits"),
        ({"files": {CONFIG: SHA.upper() + "A"}}, IntegrityError, "sha256 of 64 hexadecimal"),
        ({"files": {CONFIG: 7}}, IntegrityError, "sha256 of 64 hexadecimal digits"),
        ({"files": [CONFIG]}, IntegrityError, "must list one to 16 files"),
        ({"files": {}}, IntegrityError, "must list one to 16 files"),
        ({"files": {WEIGHTS: SHA}}, IntegrityError, "must be whole"),
        ({"files": {CONFIG: SHA, "a\0b": SHA}}, IntegrityError, "plain names of files"),
        ({"files": {CONFIG: SHA, "../x": SHA}}, IntegrityError, "plain names of files"),
        ({"files": {CONFIG: SHA, "x" * 200: SHA}}, IntegrityError, "plain names of files"),
        ({"files": {CONFIG: SHA, ".hidden": SHA}}, IntegrityError, "plain names of files"),
        ({"files": {CONFIG: SHA} | {f"{n}.json": SHA for n in range(MAX_FILES)}},
         IntegrityError, "must list one to 16 files"),
    ],
)  # fmt: skip
def test_manifests(changes: dict, error: type[SkinxaiError], words: str) -> None:
    assert parse_manifest(manifest(), Path("x"))[0] == {CONFIG: SHA, WEIGHTS: SHA}
    with pytest.raises(error, match=words):
        parse_manifest(manifest(**changes), Path("x"))


def test_large_files_are_refused_by_their_headers_unread(tmp_path: Path) -> None:
    for start in (b"", struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 2**40)):
        path = tmp_path / WEIGHTS
        with path.open("wb") as file:
            file.write(start)
            file.truncate(MAX_FOLDER_BYTES)
        with pytest.raises(IntegrityError, match="must be whole safetensors"):
            read_part(path)
    with path.open("r+b") as file:
        file.truncate(MAX_FOLDER_BYTES + 1)
    with pytest.raises(IntegrityError, match=f"may have at most {MAX_FOLDER_BYTES}"):
        read_part(path)


def test_the_files_of_a_folder_share_one_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with registered():
        folder = model_folder(tmp_path / "model", seed=1)
    whole = sum(each.stat().st_size for each in folder.iterdir() if each.name != MANIFEST)
    monkeypatch.setattr("skinxai.model_folders.files.MAX_FOLDER_BYTES", whole)
    read_model_folder(folder)
    monkeypatch.setattr("skinxai.model_folders.files.MAX_FOLDER_BYTES", whole - 1)
    with pytest.raises(IntegrityError, match="may have at most"):
        read_model_folder(folder)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4", "x", None, 7])
def test_types_that_are_not_read(dtype: object) -> None:
    header = json.dumps({"a": {"dtype": dtype, "shape": [1], "data_offsets": [0, 1]}}).encode()
    data = struct.pack("<Q", len(header)) + header + b"\0"
    with pytest.raises(IntegrityError, match="must hold tensors of the types F64, F32"):
        stored_tensors(data, "x")


def test_arrays_of_a_type_that_numpy_lacks() -> None:
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    data = struct.pack("<Q", len(header)) + header + b"\0\0"
    with pytest.raises(
        IntegrityError, match="must hold types that NumPy has, but 'a' is of 'BF16'"
    ):
        load_arrays(data, "x")


def test_a_huge_network_is_not_built_for_small_weights(tmp_path: Path) -> None:
    """As a forger names it, who binds the weights to the config and signs the folder."""
    with registered():
        files = read_model_folder(model_folder(tmp_path / "model", seed=1))
    values = json.loads(files.files[CONFIG]) | {"backbone": "timm/vit_giant_patch14_224"}
    config = ModelConfig.from_dict(values)
    data = files.files[WEIGHTS]
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length]) | {"__metadata__": {BINDING: config.binding()}}
    text = json.dumps(header).encode()
    own = {CONFIG: json.dumps(values).encode(),
           WEIGHTS: struct.pack("<Q", len(text)) + text + data[8 + length :]}  # fmt: skip
    with pytest.raises(IntegrityError, match="values, fewer than 'timm/vit_giant_patch14_224'"):
        unpack(ModelFiles(tmp_path, own, "0" * 64))


def test_large_weights_are_compared_before_anything_is_allocated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "timm/resnet18"
    model = backbones.build(name, 3)
    stored = {
        key: Stored("I64" if tensor.dtype == torch.int64 else "F32", tuple(tensor.shape))
        for key, tensor in model.network.state_dict().items()
    }
    monkeypatch.setattr("skinxai.backbones.fitting.LARGE", 0)
    devices = set()
    build = backbones.build
    monkeypatch.setattr(
        "skinxai.backbones.fitting.build",
        lambda *args, **more: (
            devices.add(str(next((made := build(*args, **more)).parameters()).device)) or made
        ),
    )
    backbones.check_fit(name, 3, stored)
    for forged in (
        stored | {"extra": Stored("F32", (1,))},
        stored | {"fc.bias": Stored("F32", (4,))},
        stored | {"fc.bias": Stored("I64", (3,))},
        stored | {"bn1.num_batches_tracked": Stored("F32", ())},
        {key: each for key, each in stored.items() if key != "fc.bias"},
    ):
        with pytest.raises(IntegrityError, match="exactly the backbone's tensors; 1 differs"):
            backbones.check_fit(name, 3, forged)
    assert devices == {"meta"}


def test_labels_are_counted() -> None:
    codes = tuple(f"c{n}" for n in range(MAX_CLASSES + 1))
    assert len(LabelSet(codes[:-1])) == MAX_CLASSES
    with pytest.raises(ModelConfigError, match="labels must be at most 1000, got 1001"):
        LabelSet(codes)


def graph_with(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    images = helper.make_tensor_value_info("images", 1, ["batch", 3, 32, 48])
    out = helper.make_tensor_value_info("logits", 1, None)
    held = [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()]
    made = helper.make_graph(list(nodes), "g", [images], [out], held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


SIZES = np.array([1, 1, 2**20, 2**20], np.int64)
HUGE = {
    "ConstantOfShape": (helper.make_node("ConstantOfShape", ["sizes"], ["logits"]), SIZES),
    "Expand": (helper.make_node("Expand", ["images", "sizes"], ["logits"]),
               np.array([10**9, 1, 1, 1, 1])),
    "Tile": (helper.make_node("Tile", ["images", "sizes"], ["logits"]),
             np.array([1, 1, 9999, 9999])),
    "Resize": (helper.make_node("Resize", ["images", "", "", "sizes"], ["logits"]), SIZES),
    "Pad": (helper.make_node("Pad", ["images", "sizes"], ["logits"]),
            np.array([0, 0, 2**20, 0, 0, 0, 2**20, 0])),
    "Concat": (helper.make_node("Concat", ["images"] * 9999, ["logits"], axis=1), SIZES),
}  # fmt: skip


@pytest.mark.parametrize("kind", HUGE)
def test_graphs_whose_values_are_too_large(kind: str) -> None:
    node, sizes = HUGE[kind]
    with pytest.raises(IntegrityError, match="of at most 16777216 elements for an image"):
        check_graph(graph_with(node, sizes=sizes), "x")


def test_values_that_grow_step_by_step_are_too_large() -> None:
    """By broadcasting a column against a row, and by multiplying them."""
    column = helper.make_node("Reshape", ["images", "column"], ["a"])
    row = helper.make_node("Reshape", ["images", "row"], ["b"])
    shapes = {"column": np.array([4608, 1]), "row": np.array([1, 4608])}
    for kind in ("Add", "MatMul"):
        node = helper.make_node(kind, ["a", "b"], ["logits"])
        with pytest.raises(IntegrityError, match="of at most 16777216 elements for an image"):
            check_graph(graph_with(column, row, node, **shapes), "x")


@pytest.mark.parametrize(
    "kind", ["Loop", "If", "Scan", "RandomNormal", "NonZero", "OneHot", "LSTM", "x", ""]
)  # fmt: skip
def test_operators_that_no_exported_network_has(kind: str) -> None:
    node = helper.make_node(kind, ["images"], ["logits"])
    with pytest.raises(IntegrityError, match="must have only operators that networks use"):
        check_graph(graph_with(node), "x")
    node = helper.make_node("Relu", ["images"], ["logits"], domain="com.microsoft")
    with pytest.raises(IntegrityError, match="must have only operators that networks use"):
        check_graph(graph_with(node), "x")


def test_sizes_that_the_graph_computes_are_followed() -> None:
    """As torch writes them: the batch from the image's shape, the rest from constants."""
    nodes = (
        helper.make_node("Shape", ["images"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["images", "shape"], ["logits"]),
    )
    check_graph(graph_with(*nodes, rest=np.array([3 * 32 * 48])), "x")
    with pytest.raises(IntegrityError, match="must be a sound ONNX graph"):
        check_graph(graph_with(nodes[2]), "x")  # nothing computes its shape


def test_progress_of_a_checkpoint() -> None:
    whole = json.loads(json.dumps(vars(Progress())))
    assert Progress.from_dict(whole) == Progress()
    for name, odd in {
        "epoch": [1.5, -1, None, True, 3], "threads": [0, 10**6], "accumulate": [0],
        "best": [[0.5]],
        "log": [{}, [[]], [{"a": "b"}]], "skipped": ["ab", [1]], "seconds": ["1"],
    }.items():  # fmt: skip
        for value in odd:
            with pytest.raises(ValueError, match="outside its rule"):
                Progress.from_dict(whole | {name: value})
    for values in ([], None, whole | {"more": 1}, {k: whole[k] for k in list(whole)[1:]}):
        with pytest.raises(ValueError, match="its progress must have"):
            Progress.from_dict(values)


def test_settings_of_a_run(tmp_path: Path) -> None:
    from skinxai.training.settings import TrainConfig

    hashes = dict.fromkeys(("labels", "train", "val", "prepared pixels", "files"), SHA)
    whole = {
        "settings": TrainConfig().to_dict(), "precision": "float32", "init_weights": "random",
        "teacher": None, "data": {"name": "x", "train": [1], "val": [1], "sha256": hashes},
        "splits_sha256": SHA, "versions": {}, "schema_version": 1,
    }  # fmt: skip
    folder = RunFolder(tmp_path)
    whole = json.loads(json.dumps(whole))
    folder.write_settings(whole)
    assert folder.read_settings() == whole
    for changes, words in (
        ({"schema_version": 2}, "schema_version of train.json must be 1, got 2; update skinxai"),
        ({"more": 1}, r"unknown keys \['more'\]; update skinxai"),
        ({"settings": []}, "settings must be a JSON object, got list"),
        ({"settings": {**whole["settings"], "x": 1}}, r"unknown keys \['x'\]"),
        ({"settings": {"backbone": "x"}}, "settings lacks"),
        ({"data": {}}, "data lacks"),
        ({"precision": "load"}, "precision must be a type of numbers, got 'load'"),
        *[
            ({name: other}, rf"settings: {name} must be text, got {other}; start the run again")
            for name in ("init_weights", "splits_sha256", "teacher")
            for other in ({}, 5)
        ],
        ({"splits_sha256": None}, "splits_sha256 must be text, got None"),
        ({"data": whole["data"] | {"name": 5}}, "data.name must be text, got 5"),
        ({"data": whole["data"] | {"val": ["x"]}}, "data.val must be a list of whole numbers"),
        ({"data": whole["data"] | {"sha256": hashes | {"val": 5}}}, "data.sha256.val must be te"),
    ):
        (tmp_path / "train.json").write_text(json.dumps(whole | changes))
        with pytest.raises(TrainingError, match=words):
            folder.read_settings()


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_graph_computes_one_row_for_each_image(runner: str) -> None:
    images = np.ones((3, 3, 32, 48), np.float32)
    right = graph_with(helper.make_node("Relu", ["images"], ["logits"])).SerializeToString()
    assert RUNNERS[runner](right)(images)["logits"].shape == images.shape
    twice = helper.make_node("Concat", ["images", "images"], ["logits"], axis=0)
    run = RUNNERS[runner](graph_with(twice).SerializeToString())
    with pytest.raises(IntegrityError, match=r"one row for each image, got the shape \(6, 3, 32"):
        run(images)


def test_the_xml_of_a_graph_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(ModelNotFoundError, match="may have at most"):
        open_exported(path)


def test_the_lock_of_a_run_is_no_link(tmp_path: Path) -> None:
    (tmp_path / ".lock").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(TrainingError, match="it is a link; delete it"),
        RunFolder(tmp_path)._locked(),
    ):
        pass
