"""A model folder that is not whole, or not what it was, is refused before it is used."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from signed_folders import edit_config, sign
from small_runs import INPUT, LABELS, build_small, model_folder, registered

from skinxai import Classifier, checkpoints
from skinxai.configs import ModelConfig, canonical_json
from skinxai.errors import (
    IntegrityError,
    ModelConfigError,
    ModelError,
    ModelNotFoundError,
    SkinxaiWarning,
    UnsafeFormatError,
)
from skinxai.model_folders.files import read_model_folder


@pytest.fixture
def folder(classifier, tmp_path) -> Path:
    classifier.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_signed_again_still_loads(folder) -> None:
    sign(folder)
    assert Classifier.from_pretrained(folder).num_parameters == 4_144_647


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated(folder, name, share) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(IntegrityError, match=name):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_one_flipped_bit_anywhere(folder, name) -> None:
    path = folder / name
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 23)):
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        path.write_bytes(data)
        with pytest.raises(ModelError):
            Classifier.from_pretrained(folder)


def test_missing_file(folder) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"model\.safetensors.*must be readable"):
        Classifier.from_pretrained(folder)


def test_changed_card_warns(folder) -> None:
    (folder / "README.md").write_text("The best model ever.")
    with pytest.warns(SkinxaiWarning, match=r"README\.md"):
        Classifier.from_pretrained(folder)


def test_relabelled_and_signed_again(folder) -> None:
    labels = json.loads((folder / "config.json").read_text())["labels"]
    codes = labels["codes"]
    codes[4], codes[5] = codes[5], codes[4]  # melanoma and nevus
    edit_config(folder, labels=labels)
    sign(folder)
    with pytest.raises(IntegrityError, match="weights were saved with"):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preprocessing", {"image_size": [96, 128], "mean": [0.5] * 3, "std": [0.5] * 3,
                           "interpolation": "bicubic"}),
        ("drop_rate", 0.9),
        ("backbone", "efficientnet_b0"),
    ],
)  # fmt: skip
def test_other_changes_signed_again(folder, key, value) -> None:
    edit_config(folder, **{key: value})
    sign(folder)
    with pytest.raises(IntegrityError, match="weights were saved with"):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema_version": 2}, "schema_version of a model.s config must be 1, got 2"),
        ({"temperature": 1.5}, "must only have the keys"),
        ({"operating_points": {"mel": 0.1}}, "operating_points must be null"),
        ({"drop_rate": 1.0}, r"drop_rate must be in \[0, 1\)"),
        ({"labels": {"codes": ["a"], "names": {}, "malignant": None}}, "at least two"),
    ],
)
def test_configs_are_read_strictly(folder, changes, words) -> None:
    edit_config(folder, **changes)
    sign(folder)
    with pytest.raises(ModelConfigError, match=words):
        Classifier.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("classifier.bias"), "classifier.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra"),
        (lambda t: t.update({"classifier.bias": torch.zeros(8)}), "classifier.bias"),
        (lambda t: t["classifier.bias"].fill_(torch.nan), "must hold finite values"),
    ],
)
def test_weights_must_fit_and_be_finite(folder, change, words) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    tensors = load(data)
    change(tensors)
    path.write_bytes(save(tensors, metadata))
    sign(folder)
    with pytest.raises(IntegrityError, match=words):
        Classifier.from_pretrained(folder)


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl"])
def test_pickles_are_never_opened(folder, tmp_path, monkeypatch, name) -> None:
    monkeypatch.chdir(tmp_path)
    bomb = pickle.dumps(Bomb())
    (folder / name).write_bytes(bomb)
    Classifier.from_pretrained(folder)  # beside safetensors it is ignored
    only = tmp_path / "only"
    only.mkdir()
    (only / name).write_bytes(bomb)
    with pytest.raises(UnsafeFormatError, match="never opened"):
        Classifier.from_pretrained(only)
    with pytest.raises(UnsafeFormatError, match="never opened"):
        Classifier.from_pretrained(only / name)
    assert not (tmp_path / "exploded").exists()


def test_names_that_are_no_model(tmp_path) -> None:
    with pytest.raises(ModelNotFoundError, match="no folder"):
        Classifier.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ModelNotFoundError, match=r"must hold manifest\.json"):
        Classifier.from_pretrained(tmp_path)


def test_another_revision_is_refused(folder) -> None:
    with pytest.raises(IntegrityError, match="must begin with 'abcdef012345'"):
        Classifier.from_pretrained(folder, revision="abcdef012345")


def test_manifest_cannot_name_files_outside(folder) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    content.pop("digest")
    (folder.parent / "outside").write_bytes(b"secret")
    content["files"]["../outside"] = hashlib.sha256(b"secret").hexdigest()
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    (folder / "manifest.json").write_bytes(canonical_json(content | {"digest": digest}))
    with pytest.raises(IntegrityError, match="manifest"):
        Classifier.from_pretrained(folder)


def test_matrices_and_kernels_are_rounded_to_half_and_vectors_are_not(tmp_path: Path) -> None:
    with registered():
        model = build_small("small", 3)
        torch.manual_seed(0)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
        config = ModelConfig("half", "small", LABELS, INPUT)
        for half in (False, True):
            files = checkpoints.pack(model, config, "", **({"half": True} if half else {}))
            found = {name: t for name, t in load(files["model.safetensors"]).items()}
            for name, own in model.network.state_dict().items():
                rounded = half and own.ndim >= 2
                assert found[name].dtype == (torch.float16 if rounded else own.dtype)
                assert torch.equal(found[name], own.half() if rounded else own)


def test_a_saved_model_has_its_new_name(tmp_path: Path) -> None:
    with registered():
        loaded = checkpoints.load(read_model_folder(model_folder(tmp_path / "one")))
        for name, expected in (("two", "two"), (None, "one")):
            loaded.save(str(tmp_path / "copy"), name)
            assert json.loads((tmp_path / "copy/config.json").read_bytes())["name"] == expected


def test_tied_weights_are_saved_and_stay_tied(tmp_path: Path) -> None:
    with registered():
        torch.manual_seed(0)
        model = build_small("tied", 3)
        checkpoints.save(
            str(tmp_path / "one"), model, ModelConfig("one", "tied", LABELS, INPUT), ""
        )
        found = Classifier.from_pretrained(tmp_path / "one", device="cpu")
        first, second = found.network.network.blocks
        assert first.conv.weight is second.conv.weight
        for name, own in model.network.state_dict().items():
            assert torch.equal(found.network.network.state_dict()[name], own)
        revision = found.save_pretrained(tmp_path / "two")
        assert revision == Classifier.from_pretrained(tmp_path / "one").model.partition("@")[2]
