"""Model folders that agree with their manifest, as a forger would see to, and are refused."""

import json
import pickle
import struct
import sys
from pathlib import Path

import pytest
from signed_folders import edit_config, sign

from skinxai import Classifier
from skinxai.configs import MAX_JSON_BYTES, ModelConfig
from skinxai.errors import IntegrityError, ModelConfigError, SkinxaiError, UnknownNameError
from skinxai.model_folders.files import parse_config, read_model_folder
from skinxai.model_folders.parts import WEIGHTS


@pytest.fixture
def folder(classifier: Classifier, tmp_path: Path) -> Path:
    classifier.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def split(weights: bytes) -> tuple[dict, bytes]:
    """Header and tensors of safetensors bytes."""
    (length,) = struct.unpack("<Q", weights[:8])
    return json.loads(weights[8 : 8 + length]), weights[8 + length :]


def joined(header: dict | bytes, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def longer(header: dict, body: bytes) -> bytes:
    return joined(header, body + b"trailing")


def shorter(header: dict, body: bytes) -> bytes:
    return joined(header, body[:-100])


def overlapping(header: dict, body: bytes) -> bytes:
    header["bn1.bias"]["data_offsets"] = header["bn1.weight"]["data_offsets"]
    return joined(header, body)


def twice(header: dict, body: bytes) -> bytes:
    """The same tensor under one name, with other values the second time."""
    entry = json.dumps(header["bn1.weight"])
    text = json.dumps(header)[:-1] + f', "bn1.weight": {entry}' + "}"
    return joined(text.encode(), body)


def renamed(name: str):
    def change(header: dict, body: bytes) -> bytes:
        header[name] = header.pop("bn1.weight")
        return joined(header, body)

    return change


def many(header: dict, body: bytes) -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return joined(header | {f"t{n}": entry for n in range(100_000)}, body)


FORGED = {
    "length 0": lambda header, body: struct.pack("<Q", 0) + body,
    "length 2^63": lambda header, body: struct.pack("<Q", 2**63) + body,
    "200 MB": lambda header, body: struct.pack("<Q", 200 * 2**20) + body,
    "longer than the file": lambda header, body: struct.pack("<Q", len(body)) + body[:-9],
    "trailing bytes": longer,
    "too few bytes": shorter,
    "overlapping": overlapping,
    "a key twice": twice,
    "a path": renamed("../../x"),
    "NUL": renamed("bn1\0weight"),
    "long": renamed("x" * 10_000),
    "many": many,
    "a pickle": lambda header, body: pickle.dumps(Path("x")) + body,
    "nested": lambda header, body: joined(b"[" * 200_000, body),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_forged_weights(folder: Path, forgery: str) -> None:
    path = folder / WEIGHTS
    path.write_bytes(FORGED[forgery](*split(path.read_bytes())))
    sign(folder)
    with pytest.raises(IntegrityError, match=r"model\.safetensors|weights were saved with"):
        Classifier.from_pretrained(folder)


def test_truncated_at_five_hundred_places(folder: Path) -> None:
    path = folder / WEIGHTS
    whole = path.read_bytes()
    for number in range(500):
        path.write_bytes(whole[: len(whole) * number // 500][: 2**20])  # a megabyte hashes soon
        with pytest.raises(IntegrityError, match="must have the sha256 that its manifest"):
            read_model_folder(folder)


CONFIGS = {
    "another number of classes": (
        lambda c: c["labels"]["codes"].append("scc"), IntegrityError, "saved with"),
    "a label twice": (lambda c: c["labels"]["codes"].__setitem__(0, "mel"),
                             ModelConfigError, "labels"),
    "no preprocessing": (lambda c: c.pop("preprocessing"), ModelConfigError,
                                "must have the keys"),
    "mean of one": (lambda c: c["preprocessing"].update(mean=[0.5]), ModelConfigError,
                           "mean must be three"),
    "std 0": (lambda c: c["preprocessing"].update(std=[0.5, 0.5, 0]), ModelConfigError,
                     r"std must be three numbers in \(0, 1\]"),
    "interpolation": (lambda c: c["preprocessing"].update(interpolation="lanczos"),
                             ModelConfigError, "interpolation must be one of"),
    "code": (lambda c: c.update(trust_remote_code=True), ModelConfigError,
                    "must only have the keys"),
    "a class": (lambda c: c.update(_target_="os.system"), ModelConfigError,
                       "must only have the keys"),
    "image_size": (lambda c: c["preprocessing"].update(image_size=[10**6, 10**6]),
                          ModelConfigError, "image_size must be"),
    "another schema": (lambda c: c.update(schema_version=9), ModelConfigError,
                              "use a version of skinxai that reads it"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_forged_configs(folder: Path, name: str) -> None:
    change, error, words = CONFIGS[name]
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    sign(folder)
    with pytest.raises(error, match=words):
        Classifier.from_pretrained(folder)


def test_a_backbone_that_is_not_known(folder: Path) -> None:
    config = ModelConfig.from_dict(json.loads((folder / "config.json").read_text()))
    with pytest.raises(UnknownNameError, match=r"'tf_efficientnet_lite9'. Did you mean"):
        from skinxai import backbones

        backbones.build("tf_efficientnet_lite9", len(config.labels))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"name": NaN}', "NaN is not JSON"),
        ('{"name": "a", "name": "b"}', "a key twice: 'name'"),
        ('{"name": ' + "9" * 10_000 + "}", "must be JSON"),
        ("!!python/object:os.system", "must be JSON"),
        (" " * (MAX_JSON_BYTES + 1), f"at most {MAX_JSON_BYTES} bytes"),
        ("[]", "must be a JSON object"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1"), "must be JSON"),
    ],
)
def test_json_that_is_none(text: str, words: str) -> None:
    with pytest.raises(ModelConfigError, match=words):
        parse_config(text.encode(), Path("x"), ModelConfig)


def test_a_config_of_a_gigabyte_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("r+b") as file:
        file.truncate(2**30)
    with pytest.raises(IntegrityError, match=f"may have at most {MAX_JSON_BYTES}"):
        read_model_folder(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_leave_the_folder(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere.json"
    (folder / "config.json").rename(outside)
    (folder / "config.json").symlink_to(outside)
    with pytest.raises(IntegrityError, match="must be in its folder, but it is a link to"):
        read_model_folder(folder)
    (folder / "config.json").unlink()
    outside.rename(folder / "own.json")
    (folder / "config.json").symlink_to("own.json")
    read_model_folder(folder)


def test_every_refusal_is_one_of_ours(folder: Path) -> None:
    """Whatever the config holds, nothing but a typed error comes out."""
    whole = json.loads((folder / "config.json").read_text())
    refused = set()
    for key in whole:
        for value in (None, 0, -1.5, "", "x", [], {}, [None], {"a": []}, True):
            edit_config(folder, **whole | {key: value})
            sign(folder)
            try:
                files = read_model_folder(folder)
                parse_config(files.files["config.json"], folder, ModelConfig)
            except SkinxaiError:
                refused.add(key)
    assert refused == set(whole)
