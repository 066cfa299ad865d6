"""Networks and files that are larger than what belongs to them: refused before they are built."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import BASE, coloured, model_folder

from skinxai import Classifier, Trainer, backbones
from skinxai.configs import ModelConfig, canonical_json
from skinxai.data import split
from skinxai.errors import CheckpointCorruptError, IntegrityError, ModelConfigError
from skinxai.model_folders.files import read_model_folder
from skinxai.model_folders.part_bytes import HUGE, MAX_FOLDER_BYTES, read_part
from skinxai.model_folders.parts import (
    CONFIG,
    MANIFEST,
    NEIGHBOURS,
    TRAINING_FINGERPRINTS,
    TRAINING_PIXELS,
    WEIGHTS,
    size_limit,
)
from skinxai.model_folders.tensors import BINDING
from skinxai.training.checkpointing import CheckpointFolder

pytestmark = pytest.mark.usefixtures("small_networks")


def huge_weights(folder: Path, **config: Any) -> Path:
    """Bind another config to weights of two gigabytes, and sign the folder."""
    values = json.loads((folder / CONFIG).read_bytes()) | config
    data = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, size = json.loads(data[8 : 8 + length]), len(data) - 8 - length
    most = MAX_FOLDER_BYTES - 2**26
    header["forged"] = {
        "dtype": "F32", "shape": [(most - size) // 4],
        "data_offsets": [size, size + (most - size) // 4 * 4],
    }  # fmt: skip
    header["__metadata__"] = {BINDING: ModelConfig.from_dict(values).binding()}
    text = json.dumps(header).encode()
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data[8 + length :])
        file.truncate(8 + len(text) + header["forged"]["data_offsets"][1])
    (folder / CONFIG).write_text(json.dumps(values))
    content = json.loads((folder / MANIFEST).read_bytes())
    content["files"][CONFIG] = hashlib.sha256((folder / CONFIG).read_bytes()).hexdigest()
    content.pop("digest")
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    (folder / MANIFEST).write_bytes(canonical_json(content | {"digest": digest}))
    return folder


@pytest.mark.parametrize("backbone", ["small", "timm/resnet18"])
def test_huge_weights_of_another_network_are_refused_by_their_header(
    tmp_path: Path, backbone: str
) -> None:
    """Whoever builds the network: its hash, which is wrong here, is not even asked for."""
    folder = huge_weights(model_folder(tmp_path / "model", seed=1), backbone=backbone)
    with pytest.raises(IntegrityError, match="exactly the backbone's tensors"):
        Classifier.from_pretrained(folder)


def test_weights_that_are_not_huge_are_not_looked_at_first(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", seed=1)

    def fits(*_: object) -> None:
        raise AssertionError

    assert read_model_folder(folder, fits=fits).fits is fits
    assert (folder / WEIGHTS).stat().st_size < HUGE


def test_the_config_is_checked_before_huge_weights(tmp_path: Path) -> None:
    folder = huge_weights(model_folder(tmp_path / "model", seed=1))
    (folder / CONFIG).write_text("{}")
    with pytest.raises(IntegrityError, match="must have the sha256 that its manifest"):
        read_model_folder(folder, fits=backbones.check_header)
    with pytest.raises(ModelConfigError, match="must have the keys"):
        backbones.check_header(b"{}", folder, {})


@pytest.mark.parametrize(
    ("name", "most"),
    [(TRAINING_PIXELS, 2**25), (TRAINING_FINGERPRINTS, 2**28), (NEIGHBOURS, 2**28)],
)
def test_files_beside_the_weights_have_limits_of_their_own(
    tmp_path: Path, name: str, most: int
) -> None:
    assert size_limit(name) == most
    with (tmp_path / name).open("wb") as file:
        file.truncate(most + 1)
    with pytest.raises(IntegrityError, match=f"may have at most {most}"):
        read_part(tmp_path / name)


# A run's settings and its checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run that is done, and its data."""
    folder = tmp_path_factory.mktemp("run")
    parts = split(coloured(folder / "pictures", 12, seed=0), seed=1)
    Trainer(**BASE | {"epochs": 1}, output_dir=folder / "run").fit(parts)
    return folder / "run", parts


@pytest.mark.parametrize(
    "name", ["timm/vit_giant_patch14_224", "timm/convnextv2_huge", "timm/resnetv2_152x4_bit"]
)
def test_a_run_does_not_build_a_network_that_its_checkpoint_does_not_hold(
    run: tuple[Path, Any], name: str
) -> None:
    folder, parts = run
    path = folder / "train.json"
    whole = path.read_bytes()
    values = json.loads(whole)
    values["settings"]["backbone"] = name
    path.write_text(json.dumps(values))
    built = []
    hook = torch.nn.modules.module.register_module_parameter_registration_hook(
        lambda module, key, parameter: built.append(0 if parameter is None else parameter.numel())
    )
    try:
        with pytest.raises(CheckpointCorruptError, match="must be of the network that"):
            Trainer.resume(folder).fit(parts)
    finally:
        hook.remove()
        path.write_bytes(whole)
    assert sum(built) < 20_000_000
    Trainer.resume(folder).fit(parts)


def test_the_newest_whole_header_counts(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints", keep=3)
    assert folder.network() is None
    for number, size in ((1, 4), (2, 8)):
        header = json.dumps(
            {f"{part}.w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
             for part in ("network", "average")}
        ).encode()  # fmt: skip
        path = folder.write(number, struct.pack("<Q", len(header)) + header + bytes(size))
    assert folder.network() == {"w": ("U8", (8,))}
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.network() == {"w": ("U8", (4,))}
    for path in folder.paths():
        path.write_bytes(b"")
    with pytest.raises(CheckpointCorruptError, match="all 2 are damaged"):
        folder.network()
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointCorruptError, match="must be readable: it is a folder"):
        folder.network()
