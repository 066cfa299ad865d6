"""Images that cannot be read when a run begins, and can be read later: they stay left out."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import BASE, coloured

from skinxai import Classifier, Trainer
from skinxai.data import Records, pixel_hash
from skinxai.errors import (
    IntegrityError,
    LeakageError,
    ResumeMismatchError,
    SkinxaiWarning,
    TrainingError,
)
from skinxai.images.reading import read_image
from skinxai.model_folders.tensors import pack_bytes
from skinxai.training.callbacks import Callback

pytestmark = pytest.mark.usefixtures("small_networks")
SKIP = BASE | {"unreadable": "skip", "epochs": 2}
Parts = tuple[Records, Records]


@pytest.fixture
def parts(tmp_path) -> Parts:
    return coloured(tmp_path / "train", 8, 0), coloured(tmp_path / "val", 3, 1)


class Do(Callback):
    """Does something once the images were checked, and ends the run after a step."""

    def __init__(self, do: Callable[[], object], stop: int = 10_000) -> None:
        self.do, self.stop = do, stop

    def on_start(self, run_folder: Path, settings: Any) -> None:
        self.do()

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        if step == self.stop:
            raise KeyboardInterrupt


def spoil(path: Path) -> Callable[[], object]:
    """Make a file unreadable; returns what mends it."""
    content = path.read_bytes()
    path.write_bytes(b"no image")
    return lambda: path.write_bytes(content)


def without(part: Records, position: int) -> Records:
    return part.subset([item.image_id for n, item in enumerate(part) if n != position])


@pytest.mark.parametrize("where", ["cpu", "device"])
def test_a_training_image_is_not_learnt(parts, tmp_path, where) -> None:
    """The weights are those of a run without it, and the model knows it for an unseen one."""
    train, val = parts
    settings = SKIP | {"augment_on": where}
    record, mend = train[5], spoil(train[5].path)
    folder, other = tmp_path / "run", tmp_path / "other"
    Trainer(**settings, output_dir=folder, callbacks=[Do(mend)]).fit(train, val)
    Trainer(**settings, output_dir=other).fit(without(train, 5), val)
    assert (folder / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    classifier = Classifier.from_pretrained(folder)
    pixels = {item.image_id: pixel_hash(read_image(item.path).pixels) for item in train}
    known = {name for name, digest in pixels.items() if digest in classifier.trained_on}
    assert known == {item.image_id for item in train} - {record.image_id}
    said = (folder / "events.log").read_text()
    assert f"images that cannot be read are left out: '{record.image_id}'" in said
    assert "must stay readable" not in said
    about = json.loads((folder / "train.json").read_text())["data"]
    assert sum(about["train"]) == len(train) - 1


def test_a_copy_in_the_validation_part_is_not_judged_on(parts, tmp_path) -> None:
    train, val = parts
    shutil.copy(train[0].path, val[2].path)
    with pytest.raises(LeakageError, match="val must hold no image of the training part"):
        Trainer(**SKIP, output_dir=tmp_path / "first").fit(train, val)
    mend = spoil(val[2].path)
    folder, other = tmp_path / "run", tmp_path / "other"
    Trainer(**SKIP, output_dir=folder, callbacks=[Do(mend)]).fit(train, val)
    Trainer(**SKIP, output_dir=other).fit(train, without(val, 2))
    logs = [(each / "log.csv").read_text().splitlines() for each in (folder, other)]
    figures = [[row.split(",")[:6] for row in log] for log in logs]  # the seventh is a rate
    assert figures[0] == figures[1]
    assert json.loads((folder / "evaluation.json").read_text())["images"] == len(val) - 1


def test_a_resumed_run_leaves_them_out(parts, tmp_path) -> None:
    train, val = parts
    mend = spoil(train[5].path)
    folder, other = tmp_path / "run", tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        Trainer(**SKIP, output_dir=folder, callbacks=[Do(mend, 2)]).fit(train, val)
    with pytest.warns(SkinxaiWarning, match="image files changed since the run began"):
        Trainer.resume(folder).fit(train, val)
    Trainer(**SKIP, output_dir=other).fit(without(train, 5), val)
    assert (folder / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


@pytest.mark.filterwarnings("ignore:image files changed since the run began")
def test_other_images_are_no_images_that_became_unreadable(parts, tmp_path) -> None:
    """A resumed run would learn them, and not know that it did."""
    train, val = parts
    folder, before = tmp_path / "run", train[5].path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        Trainer(**SKIP, output_dir=folder, callbacks=[Do(dict, 2)]).fit(train, val)
    stranger = coloured(tmp_path / "stranger", 8, 7)[0].path
    shutil.copy(stranger, train[5].path)
    refused = f"1 that can be read are other ones, e.g. '{train[5].image_id}'"
    with pytest.raises(ResumeMismatchError, match=refused):
        Trainer.resume(folder).fit(train, val)
    train[5].path.write_bytes(before)
    own = val[1].path.read_bytes()
    val[1].path.write_bytes(before)
    with pytest.raises(LeakageError, match="val must hold no image of the training part"):
        Trainer.resume(folder).fit(train, val)
    shutil.copy(stranger, val[1].path)
    with pytest.raises(ResumeMismatchError, match=f"e.g. '{val[1].image_id}'"):
        Trainer.resume(folder).fit(train, val)
    val[1].path.write_bytes(own)
    other = next(item for item in train if item.label != train[5].label)
    shutil.copy(other.path, train[5].path)
    other.path.write_bytes(before)  # of the same images, but under each other's labels
    with pytest.raises(ResumeMismatchError, match="2 that can be read are other ones"):
        Trainer.resume(folder).fit(train, val)


def test_a_damaged_table_of_images(parts, tmp_path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        Trainer(**SKIP, output_dir=folder, callbacks=[Do(dict, 2)]).fit(*parts)
    table = folder / "image_hashes.safetensors"
    whole = table.read_bytes()
    for spoilt in (whole[:-16], pack_bytes("hashes", np.zeros((3, 16), np.uint8)), b""):
        table.write_bytes(spoilt)
        with pytest.raises(IntegrityError, match=r"image_hashes\.safetensors"):
            Trainer.resume(folder).fit(*parts)
    table.unlink()
    with pytest.raises(TrainingError, match=r"image_hashes\.safetensors' must .* is missing; put"):
        Trainer.resume(folder).fit(*parts)


@pytest.mark.filterwarnings("ignore:image files changed since the run began")
def test_a_left_out_image_may_be_named_in_not_copies(parts, tmp_path) -> None:
    train, val = parts
    mend, folder = spoil(val[2].path), tmp_path / "run"
    settings = SKIP | {"not_copies": (val[2].image_id,)}
    with pytest.raises(KeyboardInterrupt):
        Trainer(**settings, output_dir=folder, callbacks=[Do(mend, 2)]).fit(train, val)
    Trainer.resume(folder).fit(train, val)
    assert json.loads((folder / "evaluation.json").read_text())["images"] == len(val) - 1


def test_a_class_that_is_left_without_images(parts, tmp_path) -> None:
    train, val = parts
    first = train[0].label
    few = train.subset(
        [item.image_id for item in train if item.label != first] + [train[0].image_id]
    )
    spoil(train[0].path)
    with pytest.raises(TrainingError, match=f"every class, but it has none of \\['{first}'\\]"):
        Trainer(**SKIP, output_dir=tmp_path / "run").fit(few, val)
    assert not (tmp_path / "run" / "train.json").exists()
