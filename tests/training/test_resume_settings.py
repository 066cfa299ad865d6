"""What may change where a run is resumed, and what may not."""

import copy
import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save
from small_runs import ALL_ON, listed, newest
from test_resume import Stop, data, one_thread, parts

from skinxai import Trainer
from skinxai.data import Records
from skinxai.errors import (
    CheckpointCorruptError,
    ResumeMismatchError,
    SkinxaiWarning,
    TrainingError,
)
from skinxai.labels import LabelSet
from skinxai.training import data_checks
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.data_checks import fingerprint

__all__ = ["data", "one_thread", "parts"]  # fixtures

pytestmark = pytest.mark.usefixtures("small_networks")


def stopped(parts: tuple[Records, Records], folder: Path, **settings: Any) -> Path:
    with pytest.raises(KeyboardInterrupt):
        Trainer(**ALL_ON | settings, output_dir=folder, callbacks=[Stop(step=3)]).fit(*parts)
    return folder


def test_what_may_not_change(parts, tmp_path) -> None:
    folder, (train, val) = stopped(parts, tmp_path / "run"), parts
    other = LabelSet(("green", "red", "blue"))
    for changed, words in (
        ((train, val.subset([item.image_id for item in val][1:])), r"\['val'\] changed"),
        ((replace(train, items=train.items[::-1]), val), r"\['train'\] changed"),
        ((replace(train, labels=other), replace(val, labels=other)), r"\['labels'\] changed"),
    ):
        with pytest.raises(ResumeMismatchError, match=words):
            Trainer.resume(folder).fit(*changed)
    for changes in ({"backbone": "plain"}, {"seed": 1}, {"batch_size": 4}, {"mixup": 0.0}):
        with pytest.raises(ResumeMismatchError, match=f"may change .*, got '{next(iter(changes))}"):
            Trainer.resume(folder, **changes)
    settings = json.loads((folder / "train.json").read_text())
    settings["settings"]["backbone"] = "plain"  # by hand
    (folder / "train.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointCorruptError, match="must belong to this run's network"):
        Trainer.resume(folder).fit(*parts)


def test_other_pictures_under_the_same_names(data, tmp_path) -> None:
    """Such as copies without hairs, which take the place of the originals."""
    shutil.copytree(data, tmp_path / "data")
    own = listed(tmp_path / "data" / "train"), listed(tmp_path / "data" / "val")
    folder = stopped(own, tmp_path / "run")
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    for part, place in (("train", 32), ("val", 8)):
        changed = own[part == "val"][place].path
        before = changed.read_bytes()
        Image.open(changed).transpose(Image.Transpose.ROTATE_90).save(changed)
        with pytest.raises(ResumeMismatchError, match=r"began with, but \['files'\] changed"):
            Trainer.resume(folder).fit(*own)
        changed.unlink()
        with pytest.raises(ResumeMismatchError, match=r"\['files'\] changed"):
            Trainer.resume(folder).fit(*own)
        changed.write_bytes(before)
    moved = listed(tmp_path / "moved" / "train"), listed(tmp_path / "moved" / "val")
    assert Trainer.resume(folder).fit(*moved).labels == ("red", "green", "blue")


def test_what_tells_files_of_one_size_apart(data, tmp_path, monkeypatch) -> None:
    """Bitmaps have one size: the content of some of them is compared."""
    monkeypatch.setattr(data_checks, "HASHED_FILES", 4)
    folder = shutil.copytree(data / "train", tmp_path / "train")
    train = listed(folder)
    for item in train:
        item.path.write_bytes(bytes([0]) * 100)
    before = fingerprint(train, train)["files"]
    hashed = []
    for item in train:
        item.path.write_bytes(bytes([1]) * 100)
        hashed.append(fingerprint(train, train)["files"] != before)
        item.path.write_bytes(bytes([0]) * 100)
    assert len(hashed) == 33 and [n for n, told in enumerate(hashed) if told] == [0, 8, 16, 24, 32]
    train[1].path.write_bytes(bytes([0]) * 101)
    assert fingerprint(train, train)["files"] != before  # of all files, the sizes are


def test_settings_that_lack_a_field_are_refused(parts, tmp_path) -> None:
    folder = stopped(parts, tmp_path / "run")
    whole = json.loads((folder / "train.json").read_text())
    lists = ((), ("settings",), ("data",), ("data", "sha256"))
    for place in lists:
        for name in functools.reduce(lambda values, key: values[key], place, whole):
            lacking = copy.deepcopy(whole)
            del functools.reduce(lambda values, key: values[key], place, lacking)[name]
            (folder / "train.json").write_text(json.dumps(lacking))
            refused = rf"train\.json' must hold .* lacks \['{name}'\]; start the run again in a new"
            with pytest.raises(TrainingError, match=refused):
                Trainer.resume(folder)
    (folder / "train.json").write_text(json.dumps(whole))
    assert Trainer.resume(folder).fit(*parts).labels == ("red", "green", "blue")


def test_fewer_epochs_than_were_trained_are_refused(parts, tmp_path) -> None:
    """Else ``train.json`` would say that the model is of a shorter run."""
    folder = tmp_path / "run"
    Trainer(**ALL_ON | {"epochs": 2}, output_dir=folder).fit(*parts)
    before = {name: (folder / name).read_bytes() for name in ("train.json", "events.log")}
    with pytest.raises(
        ResumeMismatchError, match=r"epochs must be at least 2 .*, got 1; for fewer"
    ):
        Trainer.resume(folder, epochs=1)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert Trainer.resume(folder, epochs=2).fit(*parts).labels == ("red", "green", "blue")


def test_what_may_change_is_noted_and_kept(parts, tmp_path) -> None:
    folder = stopped(parts, tmp_path / "run")
    again = Trainer.resume(folder, learning_rate=1e-5, accumulate=4, callbacks=[Stop(step=5)])
    with pytest.raises(KeyboardInterrupt):
        again.fit(*parts)
    assert (
        'resumed with {"accumulate": 4, "learning_rate": 1e-05}'
        in (folder / "events.log").read_text()
    )
    assert newest(folder)[1]["progress"]["accumulate"] == 4
    trainer = Trainer.resume(folder)  # killed once more: the change stays
    assert trainer.config.learning_rate == 1e-5 and trainer.config.accumulate == 4


def test_another_version_of_torch_is_told(parts, tmp_path) -> None:
    folder = stopped(parts, tmp_path / "run")
    settings = json.loads((folder / "train.json").read_text())
    settings["versions"]["torch"] = "1.0"
    (folder / "train.json").write_text(json.dumps(settings))
    words = r"'torch': '1\.0'.* and goes on with other versions of \['torch'\]"
    with pytest.warns(SkinxaiWarning, match=words) as warned:
        Trainer.resume(folder).fit(*parts)
    assert {each.filename for each in warned if "other versions" in str(each.message)} == {__file__}


def test_an_own_pipeline_is_passed_again(parts, tmp_path) -> None:
    def darker(pixels: np.ndarray) -> np.ndarray:
        return pixels // 2

    folder = stopped(parts, tmp_path / "run", augmentation=darker)
    with pytest.raises(ResumeMismatchError, match=r"augmentation must be given again.*darker"):
        Trainer.resume(folder)
    assert Trainer.resume(folder, augmentation=darker).config.augmentation is darker


def test_a_checkpoint_without_random_states(parts, tmp_path) -> None:
    folder = stopped(parts, tmp_path / "run")
    tensors, rest = newest(folder)
    without = {name: t for name, t in tensors.items() if not name.startswith("random.")}
    data = save(without, {"state": json.dumps(rest)})
    CheckpointFolder(folder / "checkpoints").write(900, data)
    with pytest.raises(CheckpointCorruptError, match="must belong to this run's network"):
        Trainer.resume(folder).fit(*parts)
