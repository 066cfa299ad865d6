"""A run that meets numbers that are not finite, full disks, damaged files or too little memory."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import BASE, EVERY_STEP, build_small
from test_trainer import COLOURS, data

from skinxai import Classifier, Trainer, backbones, losses, plugins
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import (
    CheckpointCorruptError,
    CheckpointWriteError,
    NonFiniteLossError,
    OutOfMemoryError,
    SkinxaiWarning,
)
from skinxai.reporting.training_log import read_log
from skinxai.training.callbacks import Callback
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.validation import validate

__all__ = ["data"]  # fixtures

pytestmark = pytest.mark.usefixtures("small_networks")


class AtStep(Callback):
    """Calls something after a step."""

    def __init__(self, step: int, call: Any) -> None:
        self.step, self.call = step, call

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        if step == self.step:
            self.call()


def numbers(folder: Path) -> list[int]:
    return [int(path.name[:9]) for path in CheckpointFolder(folder / "checkpoints").paths()]


def test_a_loss_that_is_not_finite(data, tmp_path) -> None:
    wrong = [False]

    @losses.register("sometimes_nan")
    def loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        value = torch.nn.functional.cross_entropy(logits, target)
        return value * float("nan") if wrong[0] else value

    folder, at = tmp_path / "run", AtStep(2, lambda: wrong.__setitem__(0, True))
    settings = BASE | {"loss": "sometimes_nan", "epochs": 1, "checkpoint_minutes": EVERY_STEP}
    try:
        with pytest.raises(NonFiniteLossError, match="got nan in epoch 1, step 3; the weights"):
            Trainer(**settings, output_dir=folder, callbacks=[at]).fit(*data)
        assert numbers(folder) == [2, 1]
        dump = json.loads((folder / "failed_batch.json").read_text())
        assert dump["step"] == 3 and len(dump["image_ids"]) == 8
        assert set(dump["image_ids"]) < {item.image_id for item in data[0]}
        wrong[0] = False
        Trainer.resume(folder, learning_rate=1e-4).fit(*data)
    finally:
        plugins.losses.remove(["sometimes_nan"])


def test_batch_statistics_that_are_not_finite(data, tmp_path, monkeypatch) -> None:
    """Found when they would be kept: there is no best epoch with them, and no checkpoint."""
    folder, seen = tmp_path / "run", []

    def spoil(model: SkinClassifier, *values: Any) -> Any:
        if len(seen):
            model.network.body[1].running_var[0] = float("nan")
        seen.append(1)
        return validate(model, *values)

    monkeypatch.setattr("skinxai.training.loop.validate", spoil)
    with pytest.raises(NonFiniteLossError, match=r"'network.body.1.running_var' is not after"):
        Trainer(**BASE | {"epochs": 3}, output_dir=folder).fit(*data)
    assert numbers(folder) == [7]  # of the first epoch, six steps and its end
    assert Classifier.from_pretrained(folder).labels == COLOURS
    monkeypatch.undo()
    Trainer.resume(folder).fit(*data)


def test_of_epochs_alike_in_the_log_the_first_is_kept(data, tmp_path, monkeypatch) -> None:
    """So that who reads the log finds the epoch whose weights were kept."""
    figures = iter((0.4, 0.5, 0.5 + 1e-8))

    def judge(*_: Any) -> Any:
        return SimpleNamespace(accuracy=0.5, balanced_accuracy=0.5, macro_f1=next(figures))

    monkeypatch.setattr("skinxai.training.loop.validate", judge)
    folder = tmp_path / "run"
    Trainer(**BASE | {"epochs": 3}, output_dir=folder).fit(*data)
    assert [row["macro_f1"] for row in read_log(folder)] == [0.4, 0.5, 0.5]
    assert "(epoch 2 of 3, chosen" in (folder / "README.md").read_text()


def test_a_disk_that_is_full_for_a_while(data, tmp_path, monkeypatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    folder = tmp_path / "run"
    at = AtStep(4, lambda: monkeypatch.setattr("os.fsync", full))
    settings = BASE | {"epochs": 1, "checkpoint_minutes": EVERY_STEP}
    with pytest.raises(CheckpointWriteError, match=r"No space left on device.* resume") as info:
        Trainer(**settings, output_dir=folder, callbacks=[at]).fit(*data)
    monkeypatch.undo()
    assert info.value.errno == 28 and numbers(folder) == [3, 2]
    assert not list(folder.rglob(".*.part"))
    Trainer.resume(folder).fit(*data)
    whole = tmp_path / "whole"
    Trainer(**settings, output_dir=whole).fit(*data)
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (whole / weights).read_bytes()


def test_the_newest_checkpoint_is_damaged(data, tmp_path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    settings = BASE | {"epochs": 1, "checkpoint_minutes": EVERY_STEP}
    with pytest.raises(KeyboardInterrupt):
        Trainer(**settings, output_dir=folder, callbacks=[AtStep(4, stop)]).fit(*data)
    newest = CheckpointFolder(folder / "checkpoints").paths()[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    done: list[int] = []
    with pytest.warns(SkinxaiWarning, match="is damaged and was skipped"):
        Trainer.resume(folder, callbacks=[AtStep(3, lambda: done.append(3))]).fit(*data)
    assert done == [3] and numbers(folder) == [7, 6]
    for path in CheckpointFolder(folder / "checkpoints").paths():
        path.write_bytes(b"")
    with pytest.raises(CheckpointCorruptError, match="all 2 are damaged"):
        Trainer.resume(folder).fit(*data)


def test_out_of_memory_in_a_run(data, tmp_path) -> None:
    """Said in the run folder, kept by a resumed run; two images are the least."""
    limit = [1000]

    def features(network: Any, images: torch.Tensor) -> torch.Tensor:
        if len(images) > limit[0]:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")
        return network.features(images)

    @backbones.register("limited")
    def build(name: str, classes: int, drop_rate: float) -> SkinClassifier:
        network = build_small("plain", classes, drop_rate).network
        return SkinClassifier(network, features, lambda n, maps: n.head(maps))

    folder, fewer = tmp_path / "run", AtStep(2, lambda: limit.__setitem__(0, 4))
    settings = BASE | {"backbone": "limited", "epochs": 1, "checkpoint_minutes": EVERY_STEP}
    try:
        Trainer(**settings, output_dir=folder, callbacks=[fewer]).fit(*data)
        events = (folder / "events.log").read_text()
        assert events.count("the micro-batch is halved, and a step now has 2 of them") == 1
        assert (folder / "log.csv").read_text().splitlines()[1].endswith(",4.0")
        limit[0] = 1
        with pytest.raises(OutOfMemoryError, match="out of memory with a micro-batch of 2 images"):
            Trainer.resume(folder, epochs=2).fit(*data)
        assert numbers(folder)[0] == 7  # as it was
        limit[0] = 4
        Trainer.resume(folder, epochs=2).fit(*data)
        assert (folder / "events.log").read_text().count("the micro-batch is halved") == 2
        assert (folder / "log.csv").read_text().splitlines()[2].endswith(",4.0")
    finally:
        plugins.backbones.remove(["limited"])


def test_a_single_image_is_left_over(data, tmp_path) -> None:
    train = data[0].subset([item.image_id for item in data[0]][:-7])  # 41: five batches and one
    steps: list[int] = []
    counted = AtStep(0, None)
    counted.on_step = lambda step, loss, learning_rate: steps.append(step)  # type: ignore[method-assign]
    Trainer(**BASE | {"epochs": 1}, output_dir=tmp_path / "run", callbacks=[counted]).fit(
        train, data[1]
    )
    assert steps == [1, 2, 3, 4, 5]
