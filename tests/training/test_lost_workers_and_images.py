"""Runs that lose decoding processes, or images that cannot be read any more."""

import ctypes
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import BASE
from test_workers import children, images_of, no_child_is_left
from torch import Tensor
from waiting import LIMIT

from skinxai import Trainer, losses, plugins
from skinxai.data import Record
from skinxai.errors import DatasetImageError, OptionError, SkinxaiWarning, WorkerCrashError
from skinxai.training import loaders
from skinxai.training.callbacks import Callback
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.loaders import TrainingImages, batches, epoch_order, plan

__all__ = ["no_child_is_left"]  # a fixture
# torch says it wherever there are fewer cores than workers
pytestmark = [
    pytest.mark.usefixtures("small_networks"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
]


def in_worker(position: int, call: Callable[[], object]) -> Callable[..., Any]:
    """`TrainingImages.__getitem__` with something else at one position."""
    original, here = TrainingImages.__getitem__, os.getpid()

    def item(self: TrainingImages, key: tuple[int, int | None]) -> Any:
        if key[0] == position and os.getpid() != here:
            call()
        return original(self, key)

    return item


def fail() -> None:
    raise ValueError("a pipeline's own error")


def exhaust() -> None:
    raise RuntimeError("unable to write to file </torch_1>: No space left on device (28)")


DIED = "worker .* (is killed by signal|exited unexpectedly)|ConnectionResetError|EOFError"
DEATHS = {
    "killed": (lambda: os.kill(os.getpid(), signal.SIGKILL), DIED),
    "crashed": (lambda: ctypes.string_at(0), DIED),
    "ended": (lambda: os._exit(3), DIED),
    "hangs": (lambda: time.sleep(1000), "within 1 s, .*TimeoutError: no batch came"),
    "raises": (fail, "ValueError: .*a pipeline's own error"),
    "no room": (exhaust, "No space left on device"),
}


# torch raises at any line when a worker dies; in a destructor, Python says so and goes on
any_line = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@any_line
@pytest.mark.parametrize("death", DEATHS)
def test_a_worker_fails(data, monkeypatch, death) -> None:
    call, words = DEATHS[death]
    monkeypatch.setattr(loaders, "WORKER_SECONDS", 1 if death == "hangs" else LIMIT)
    monkeypatch.setattr(TrainingImages, "__getitem__", in_worker(9, call))
    images, steps = images_of(data[0]), plan(range(24), 8)
    done = []
    with pytest.raises(WorkerCrashError, match=rf"(?s){words}") as info:
        for batch in batches(images, steps, 2, augment_seed=(0, 0)):
            done.append(batch)
    assert children() == [] and len(done) <= 1
    assert f"'{data[0][8 * len(done)].image_id}'" in str(info.value)
    assert "workers=0" in str(info.value)


def test_a_worker_whose_death_is_not_heard_of(data, monkeypatch) -> None:
    """As when torch tells of it in a destructor: the wait for the next batch ends all the same."""
    list(batches(images_of(data[0]), [[0, 1]], 1))  # torch listens from its first worker on
    monkeypatch.setattr(loaders, "WORKER_SECONDS", 10)
    monkeypatch.setattr(TrainingImages, "__getitem__", in_worker(9, DEATHS["killed"][0]))
    listener = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        with pytest.raises(WorkerCrashError, match=r"exited unexpectedly|ConnectionResetError"):
            list(batches(images_of(data[0]), plan(range(24), 8), 2, augment_seed=(0, 0)))
    finally:
        signal.signal(signal.SIGCHLD, listener)
    assert children() == []


def test_a_look_that_finds_no_batch_loses_none(data, monkeypatch) -> None:
    """As after a pause of the whole run: time has passed, and no worker could work."""
    images, steps = images_of(data[0]), plan(range(24), 8)
    alone = list(batches(images, steps, 0, augment_seed=(0, 0)))
    monkeypatch.setattr(loaders, "LOOKS", 100_000)
    monkeypatch.setattr(loaders, "WORKER_SECONDS", LIMIT)
    looked = []
    look = loaders.DataLoader.__iter__

    def counting(self: Any) -> Any:
        stream = look(self)
        wait = stream._try_get_data
        stream._try_get_data = lambda *seconds: looked.append(seconds) or wait(*seconds)
        return stream

    monkeypatch.setattr(loaders.DataLoader, "__iter__", counting)
    found = list(batches(images, steps, 2, augment_seed=(0, 0)))
    assert len(looked) > len(steps)  # some found nothing: a worker takes longer to begin
    for own, other in zip(found, alone, strict=True):
        assert own.positions == other.positions and torch.equal(own.pixels, other.pixels)


def test_a_worker_that_never_ends(data, monkeypatch) -> None:
    """It ignores SIGTERM: Python would wait for it when the run's process ends."""
    quiet = loaders._quiet_worker

    def stuck(number: int) -> None:
        quiet(number)
        if number == 1:
            time.sleep(1000)

    monkeypatch.setattr(loaders, "_quiet_worker", stuck)
    (batch,) = batches(images_of(data[0]), [[0, 1]], 2, augment_seed=(0, 0))
    assert len(batch.target) == 2 and children() == []


def test_an_error_without_workers(data, monkeypatch) -> None:
    def wrong(pixels: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError("in a pipeline")

    with pytest.raises(WorkerCrashError, match="ZeroDivisionError: in a pipeline"):
        list(batches(images_of(data[0], wrong), [[0, 1]], 0, augment_seed=(0, 0)))
    for workers in (0, 1):
        images = images_of(data[0], lambda pixels: pixels / 255)
        with pytest.raises(OptionError, match="must return RGB uint8"):
            list(batches(images, [[0, 1]], workers, augment_seed=(0, 0)))


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return BASE | {"epochs": 2, "checkpoint_minutes": 1e-9}


@pytest.fixture(scope="module")
def weights(data, settings, tmp_path_factory) -> bytes:
    """Of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    Trainer(**settings, output_dir=folder).fit(*data)
    return (folder / "model.safetensors").read_bytes()


def number(run: Path) -> int:
    found = CheckpointFolder(run / "checkpoints").newest()
    return int(found[0].name[:9]) if found else 0


@any_line
def test_a_worker_dies_in_a_run(data, settings, weights, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "run"
    monkeypatch.setattr(TrainingImages, "__getitem__", in_worker(9, DEATHS["killed"][0]))
    with pytest.raises(WorkerCrashError, match=DIED):
        Trainer(**settings | {"workers": 2}, output_dir=folder).fit(*data)
    monkeypatch.undo()
    Trainer.resume(folder).fit(*data)
    assert (folder / "model.safetensors").read_bytes() == weights


@any_line
def test_a_worker_dies_while_the_network_computes(data, settings, weights, tmp_path) -> None:
    """As the kernel kills it for memory: torch tells of it at any line of this process."""
    steps: list[int] = []

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        steps.append(len(target))
        if len(steps) == 2:
            multiprocessing.active_children()[0].kill()
            time.sleep(LIMIT)
        return torch.nn.functional.cross_entropy(logits, target)

    losses.register("deadly")(loss)
    folder = tmp_path / "run"
    try:
        with pytest.raises(WorkerCrashError, match="a decoding process died"):
            Trainer(**settings | {"workers": 1, "loss": "deadly"}, output_dir=folder).fit(*data)
        assert number(folder) == 1
        Trainer.resume(folder, workers=0).fit(*data)
    finally:
        plugins.losses.remove(["deadly"])
    assert (folder / "model.safetensors").read_bytes() == weights


# images that cannot be read any more


class Damage(Callback):
    """Makes files unreadable once they were checked."""

    def __init__(self, *records: Record) -> None:
        self.paths = [record.path for record in records]
        self.content = [path.read_bytes() for path in self.paths]

    def on_start(self, run_folder: Path, settings: Any) -> None:
        for path in self.paths:
            path.write_bytes(path.read_bytes()[:60])

    def mend(self) -> None:
        for path, content in zip(self.paths, self.content, strict=True):
            path.write_bytes(content)


@pytest.fixture
def damage(data) -> Iterator[Callable[..., Damage]]:
    made: list[Damage] = []

    def make(*records: Record) -> Damage:
        made.append(Damage(*records))
        return made[-1]

    yield make
    for one in made:
        one.mend()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_becomes_unreadable(data, settings, weights, tmp_path, damage, workers) -> None:
    folder, order = tmp_path / "run", epoch_order(data[0], None, 0, 0)
    record = data[0][order[12]]  # of the second batch
    harm, changes = damage(record), {"workers": workers, "checkpoint_minutes": 10.0}
    with pytest.raises(DatasetImageError) as info:
        Trainer(**settings | changes, output_dir=folder, callbacks=[harm]).fit(*data)
    assert f"image '{record.image_id}' ({record.path}) must stay readable" in str(info.value)
    assert number(folder) == 1  # the step before was kept
    assert record.image_id in (folder / "events.log").read_text()
    harm.mend()
    Trainer.resume(folder).fit(*data)
    assert (folder / "model.safetensors").read_bytes() == weights


def test_an_image_of_the_validation_part(data, settings, weights, tmp_path, damage) -> None:
    folder, record = tmp_path / "run", data[1][4]
    harm = damage(record)
    with pytest.raises(DatasetImageError, match=f"image '{record.image_id}' "):
        Trainer(**settings, output_dir=folder, callbacks=[harm]).fit(*data)
    assert number(folder) == 3
    harm.mend()
    Trainer.resume(folder).fit(*data)
    assert (folder / "model.safetensors").read_bytes() == weights


def test_one_in_a_thousand_may_be_skipped(data, settings, tmp_path, damage) -> None:
    """One is let through, the second one is not; each is counted once."""
    folder, skip = tmp_path / "run", settings | {"unreadable": "skip"}
    Trainer(**skip, output_dir=folder, callbacks=[damage(data[0][3])]).fit(*data)
    run = Trainer.resume(folder, epochs=3, callbacks=[damage(data[0][7])])
    said = "let 1 such image pass; resume it with unreadable='skip'"
    with (
        pytest.warns(SkinxaiWarning, match="image files changed since the run began"),
        pytest.raises(DatasetImageError, match=said),
    ):
        run.fit(*data)
    said = (folder / "events.log").read_text()
    assert said.count(f"'{data[0][3].image_id}'") >= 2  # once in each epoch


def test_a_skipped_image_leaves_the_others_as_they_were(data, damage) -> None:
    images, steps = images_of(data[0]), plan(epoch_order(data[0], None, 0, 0), 8)
    sound = list(batches(images, steps, 0, augment_seed=(0, 0)))
    gone = steps[1][2]
    damage(data[0][gone]).on_start(Path(), {})
    for workers in (0, 2):
        for number, batch in enumerate(batches(images, steps, workers, augment_seed=(0, 0))):
            kept = [k for k, position in enumerate(steps[number]) if position != gone]
            assert batch.positions == [steps[number][k] for k in kept]
            assert torch.equal(batch.pixels, sound[number].pixels[kept])
            assert [failure.position for failure in batch.failures] == [gone] * (8 - len(kept))


def test_a_batch_of_which_nothing_can_be_read(data, damage) -> None:
    damage(data[0][0], data[0][1]).on_start(Path(), {})
    (batch,) = batches(images_of(data[0]), [[0, 1]], 0, augment_seed=(0, 0))
    assert len(batch.target) == len(batch.positions) == 0 and len(batch.failures) == 2


def test_unreadable_images_are_all_named_before_the_first_step(data, settings, tmp_path, damage):
    records = [data[0][2], data[0][9]]
    damage(*records).on_start(Path(), {})
    for changes in ({}, {"unreadable": "skip"}):
        with pytest.raises(DatasetImageError, match="2 of 24 training images cannot") as info:
            Trainer(**settings | changes, output_dir=tmp_path / "run").fit(*data)
        assert all(record.image_id in str(info.value) for record in records)
    assert not (tmp_path / "run" / "train.json").exists()
