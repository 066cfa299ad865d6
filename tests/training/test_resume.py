"""Runs that are killed, stopped and resumed end like one that was never touched."""

import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import ALL_ON, coloured, differences, listed, newest
from training_server import Server, told
from waiting import wait_for

from skinxai import Trainer
from skinxai.data import Records
from skinxai.errors import TrainingError
from skinxai.interruption import Interruption
from skinxai.training.callbacks import Callback
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.randomness import RandomStates, kept_random_states, seed_all

pytestmark = pytest.mark.usefixtures("small_networks")

SELDOM = {"checkpoint_minutes": 10.0}  # only where the run has a reason


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    coloured(folder / "train", 11, 0)  # 33 images: batches of 8, 8, 8 and 9
    coloured(folder / "val", 3, 1)
    return folder


@pytest.fixture(scope="module")
def parts(data: Path) -> tuple[Records, Records]:
    return listed(data / "train"), listed(data / "val")


@pytest.fixture(scope="module")
def whole(server: Server, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert server.run(job(data, folder)) == 0
    assert told(folder / "told", "step") == list(range(1, 13))
    return folder / "run"


def job(data: Path, folder: Path, **more: Any) -> dict[str, Any]:
    settings = ALL_ON | more.pop("settings", {})
    paths = {"data": str(data), "out": str(folder / "run"), "told": str(folder / "told")}
    return paths | {"settings": settings} | more


def ended_by(number: signal.Signals) -> int:
    """How Python ends: of SIGINT by the signal itself, which a shell shows as 130."""
    return -number if number == signal.SIGINT else 128 + number


def begun(place: Path) -> None:
    """Wait until the run has told of its second step, in which it may be held."""
    wait_for(lambda: len(told(place / "told", "step")) >= 2)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kills", [1, 5])
def test_killed_at_any_moment(server, data, whole, tmp_path, workers, kills) -> None:
    """After a step or a checkpoint was told of; the run is held a step later and cannot end."""
    draws, lines = np.random.default_rng(10 * kills + workers), tmp_path / "told"
    task = job(data, tmp_path, settings={"workers": workers})
    for _ in range(kills):
        wanted = max([0, *told(lines, "step")]) + 1  # at most 9: each kill is two steps further
        what = ("step", "checkpoint")[int(draws.integers(2))]
        held = {"hold": str(tmp_path / "never"), "hold_at": wanted + 1}
        process = server.start(task | held)
        wait_for(lambda what=what, wanted=wanted: max([0, *told(lines, what)]) >= wanted)
        reported = told(lines, "checkpoint")
        os.kill(process, signal.SIGKILL)
        assert server.status() == -signal.SIGKILL
        found = CheckpointFolder(tmp_path / "run" / "checkpoints").newest()
        assert found is None if not reported else int(found[0].name[:9]) >= reported[-1]
    assert server.run(task) == 0
    assert set(told(lines, "step")) == set(range(1, 13))
    assert differences(tmp_path / "run", whole) == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_the_step_and_keeps_it(server, data, whole, tmp_path, name) -> None:
    number = getattr(signal, name)
    task = job(data, tmp_path, settings=SELDOM)
    process = server.start(task)
    wait_for(lambda: len(told(tmp_path / "told", "step")) >= 5)
    os.kill(process, number)
    assert server.status() == ended_by(number)
    steps, checkpoints = (told(tmp_path / "told", what) for what in ("step", "checkpoint"))
    epochs, rest = divmod(steps[-1], 4)
    assert checkpoints[-1] in (5 * epochs + rest, 5 * epochs - 1)  # in an epoch, or at its end
    assert server.run(task) == 0
    assert sorted(told(tmp_path / "told", "step")) == list(range(1, 13))  # none done twice
    assert differences(tmp_path / "run", whole) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group(server, data, tmp_path, number) -> None:
    """Terminals, systemd, Slurm and timeout send it to every process, workers included."""
    task = job(data, tmp_path, settings=SELDOM | {"workers": 2}, hold=str(tmp_path / "go"))
    process = server.start(task)
    begun(tmp_path)
    os.killpg(process, number)
    (tmp_path / "go").touch()  # the signal was there before
    assert server.status() == ended_by(number)
    said = (tmp_path / "told.out").read_text()
    assert "WorkerCrashError" not in said
    run = str(tmp_path / "run")
    assert f"{number.name}: training has stopped, and its checkpoint is in {run}." in said
    assert f"Go on with Trainer.resume({run!r}).\n" in said
    assert told(tmp_path / "told", "checkpoint") == [2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_second_signal_ends_at_once(server, data, tmp_path) -> None:
    process = server.start(job(data, tmp_path, settings=SELDOM, hold=str(tmp_path / "never")))
    begun(tmp_path)

    def caught() -> bool:
        status = Path(f"/proc/{process}/status").read_text()
        mask = int(status.split("SigCgt:")[1].split()[0], 16)
        return bool(mask >> (signal.SIGTERM - 1) & 1)

    assert caught()
    os.kill(process, signal.SIGTERM)
    wait_for(lambda: not caught())
    os.kill(process, signal.SIGTERM)
    assert server.status() == -signal.SIGTERM
    assert told(tmp_path / "told", "checkpoint") == []


def test_nohup_stays_nohup(server, data, whole, tmp_path) -> None:
    go = tmp_path / "go"
    process = server.start(job(data, tmp_path, settings=SELDOM, ignore=["SIGHUP"], hold=str(go)))
    begun(tmp_path)
    os.kill(process, signal.SIGHUP)
    go.touch()
    assert server.status() == 0
    assert differences(tmp_path / "run", whole) == []


@pytest.mark.parametrize(
    ("number", "ending", "code"),
    [
        (signal.SIGTERM, SystemExit, 143),
        (signal.SIGHUP, SystemExit, 129),
        (signal.SIGINT, KeyboardInterrupt, None),
    ],
)
def test_a_signal_after_the_last_step_is_not_lost(number, ending, code) -> None:
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, usual)
    try:
        with pytest.raises(ending) as info, Interruption() as interruption:
            signal.raise_signal(number)
            assert interruption.received == number
            assert signal.getsignal(number) is usual  # the next one acts at once
    finally:
        signal.signal(number, before)
    assert code is None or info.value.code == code


def test_two_runs_in_one_folder(server, data, parts, tmp_path) -> None:
    process = server.start(job(data, tmp_path, settings=SELDOM, hold=str(tmp_path / "never")))
    begun(tmp_path)
    with pytest.raises(TrainingError, match="another process trains in"):
        Trainer.resume(tmp_path / "run").fit(*parts)
    os.kill(process, signal.SIGKILL)
    assert server.status() == -signal.SIGKILL
    with pytest.raises(TrainingError, match=r"holds a run; go on with Trainer\.resume"):
        Trainer(**ALL_ON, output_dir=tmp_path / "run").fit(*parts)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_host_has_no_memory_left(server, data, tmp_path) -> None:
    settings = SELDOM | {"backbone": "hungry", "epochs": 1, "accumulate": 1}
    enough, few = tmp_path / "enough", tmp_path / "few"
    for folder in (enough, few):
        folder.mkdir()
    # 8 images take 8 GiB, 4 take 4, 2 take 2; the rest is for everything else
    assert server.run(job(data, enough, settings=settings, megabytes=6144)) == 0
    assert "can't allocate memory" in (enough / "run" / "events.log").read_text()
    assert newest(enough / "run")[1]["progress"]["accumulate"] == 2
    task = job(data, few, settings=settings | {"checkpoint_minutes": 1e-9})
    assert server.run(task) == 0
    assert server.run(task | {"changes": {"epochs": 2}, "megabytes": 1280}) == 1
    said = (few / "told.out").read_text()
    assert "OutOfMemoryError: out of memory with a micro-batch of 2 images" in said
    assert newest(few / "run")[1]["progress"]["epoch"] == 1  # the checkpoint is as it was


class Stop(Callback):
    """Stops where it is told to, as a debugger's user would."""

    def __init__(self, step: int = 0, epoch: int = 0) -> None:
        self.step, self.epoch, self.steps = step, epoch, 0

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        self.steps += 1
        if step == self.step:
            raise KeyboardInterrupt

    def on_epoch(self, row: Any) -> None:
        if row["epoch"] == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [Stop(epoch=1), Stop(step=8), Stop(step=12), Stop(epoch=3)])
def test_at_the_end_of_an_epoch_and_of_the_run(parts, whole, tmp_path, stop) -> None:
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        Trainer(**ALL_ON, output_dir=folder, callbacks=[stop]).fit(*parts)
    if stop.epoch:
        for name in ("log.csv", "manifest.json"):  # as if killed a moment before
            (folder / name).unlink()
    counted = Stop()
    Trainer.resume(folder, callbacks=[counted]).fit(*parts)
    # checkpoints come after the callback: that one step is done again
    assert counted.steps == 12 - 4 * stop.epoch if stop.epoch else 12 - stop.step + 1
    assert differences(folder, whole) == []
    assert len((folder / "log.csv").read_text().splitlines()) == 1 + 3


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_mixed_precision_and_its_scaler(parts, tmp_path, amp) -> None:
    settings, folders = ALL_ON | {"amp": amp, "epochs": 2}, (tmp_path / "whole", tmp_path / "run")
    Trainer(**settings, output_dir=folders[0]).fit(*parts)
    with pytest.raises(KeyboardInterrupt):
        Trainer(**settings, output_dir=folders[1], callbacks=[Stop(step=6)]).fit(*parts)
    Trainer.resume(folders[1]).fit(*parts)
    scaler = newest(folders[0])[1]["scaler"]
    assert (0 < scaler["_growth_tracker"] <= 8) if amp == "float16" else (scaler == {})
    found = differences(folders[1], folders[0])
    assert set(found) <= {"config.json", "manifest.json", "README.md"}  # they hold the name


def test_tied_weights(parts, tmp_path) -> None:
    settings = ALL_ON | {"backbone": "tied", "epochs": 2}
    Trainer(**settings, output_dir=tmp_path / "whole").fit(*parts)
    with pytest.raises(KeyboardInterrupt):
        Trainer(**settings, output_dir=tmp_path / "run", callbacks=[Stop(step=6)]).fit(*parts)
    first, second = Trainer.resume(tmp_path / "run").fit(*parts).network.network.blocks
    assert first.conv.weight is second.conv.weight
    found = differences(tmp_path / "run", tmp_path / "whole")
    assert set(found) <= {"config.json", "manifest.json", "README.md"}  # they hold the name


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_nothing_is_left_to_do(parts, whole, tmp_path) -> None:
    before = hashes(whole)
    for _ in range(2):
        counted = Stop()
        classifier = Trainer.resume(whole, callbacks=[counted]).fit(*parts)
        assert counted.steps == 0 and classifier.labels == ("red", "green", "blue")
        assert hashes(whole) == before


def test_more_epochs_bring_a_new_evaluation(parts, tmp_path) -> None:
    settings = ALL_ON | {"epochs": 1, "learning_rate": 0.02, "average_decay": 0.0}
    Trainer(**settings, output_dir=tmp_path / "run").fit(*parts)
    classifier = Trainer.resume(tmp_path / "run", epochs=6).fit(*parts)
    shown = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert shown["model"] == classifier.model and len(shown["log"]) == 6
    assert classifier.evaluate(parts[1], resamples=10).macro_f1.value == shown["macro_f1"]["value"]


def test_another_number_of_threads(server, data, whole, tmp_path) -> None:
    process = server.start(job(data, tmp_path, hold=str(tmp_path / "never")))
    begun(tmp_path)
    os.kill(process, signal.SIGKILL)
    assert server.status() == -signal.SIGKILL
    assert server.run(job(data, tmp_path, threads=2)) == 0
    assert newest(tmp_path / "run")[1]["progress"]["threads"] == 1
    assert differences(tmp_path / "run", whole) == []


def test_random_states_come_back() -> None:
    def draw() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.normal()), random.gauss()

    random.gauss(), np.random.normal()  # each keeps a second value for the next call
    states = json.loads(json.dumps(RandomStates.now().rest))
    tensors = RandomStates.now().tensors
    first = draw()
    assert draw() != first
    RandomStates(tensors, states).put_back()
    assert draw() == first


def test_a_run_leaves_the_callers_random_states_and_threads_alone(parts, tmp_path) -> None:
    before, threads = RandomStates.now(), torch.get_num_threads()
    Trainer(**ALL_ON | {"epochs": 1}, output_dir=tmp_path / "run").fit(*parts)
    after = RandomStates.now()
    assert before.rest == after.rest and torch.equal(before.tensors["cpu"], after.tensors["cpu"])
    assert torch.get_num_threads() == threads


def test_the_clock_jumps(parts, whole, tmp_path, monkeypatch) -> None:
    jumps = iter(np.random.default_rng(0).uniform(-1e6, 1e6, 10_000).tolist())
    monkeypatch.setattr("skinxai.training.loop.time.perf_counter", lambda: next(jumps))
    Trainer(**ALL_ON | SELDOM, output_dir=tmp_path / "run").fit(*parts)
    monkeypatch.undo()
    weights = "model.safetensors"
    assert (tmp_path / "run" / weights).read_bytes() == (whole / weights).read_bytes()


def test_a_process_forked_after_cuda_was_asked_for_keeps_the_states_it_has(monkeypatch) -> None:
    """It may train on the processor; torch refuses to tell it what the GPUs would draw."""

    def refuse(*_: object) -> None:
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess.")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", refuse)
    before = torch.get_rng_state()
    with kept_random_states():
        seed_all(5)
        assert not torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.get_rng_state(), before)
