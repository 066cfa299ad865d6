"""Checkpoints on disk: whole or not there, whatever happens while one is written."""

import errno
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from places import TESTS
from safetensors.torch import load, save
from small_runs import build_small

from skinxai.errors import CheckpointCorruptError, CheckpointWriteError, SkinxaiWarning
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.run_folder import RunFolder
from skinxai.training.state import Progress, RunState

KILLED_WRITES = TESTS / "killed_writes.py"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def content(number: int, size: int = 5000) -> bytes:
    return bytes([number]) * size


def newest(folder: Path) -> bytes:
    found = CheckpointFolder(folder).newest()
    assert found is not None
    return found[1]


def test_the_newest_ones_stay(tmp_path) -> None:
    checkpoints = CheckpointFolder(tmp_path / "new" / "checkpoints", keep=3)
    assert checkpoints.newest() is None and checkpoints.paths() == []
    written = [checkpoints.write(number, content(number)) for number in range(1, 8)]
    assert checkpoints.paths() == written[:-4:-1]
    assert checkpoints.newest() == (written[-1], content(7))
    assert written[-1].name.startswith("000000007-")


@pytest.mark.parametrize("rotation", [1, 3])
def test_killed_at_every_call_of_a_write(tmp_path, rotation) -> None:
    """Before and after each call that changes the disk; other files than checkpoints are none."""
    result = subprocess.run(
        [sys.executable, KILLED_WRITES, tmp_path, str(rotation)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    calls = result.stdout.split()
    for needed in ("open", "fsync", "chmod", "replace", "unlink"):
        assert needed in calls
    order = [calls.index(name) for name in ("open", "fsync", "chmod", "replace")]
    assert order == sorted(order) and "fsync" in calls[calls.index("replace") :]  # the folder too
    moments = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(moments) == 2 * len(calls) + 1
    found = []
    for moment in moments:
        checkpoints = RunFolder(moment, rotation).checkpoints
        whole = checkpoints.newest()
        assert whole is not None and whole[1] in (content(9), content(10))
        found.append(whole[1])
        if moment is not moments[-1]:
            with RunFolder(moment, rotation).lock():
                pass
        assert all(name.endswith(".safetensors") for name in names(moment / "checkpoints"))
        assert len(names(moment / "checkpoints")) <= rotation + 1
        checkpoints.write(11, content(11))
        assert len(names(moment / "checkpoints")) == rotation
    assert found == sorted(found) and found[0] != found[-1]  # old first, then new, never neither


def raising(number: int) -> Any:
    def call(*values: object, **keywords: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("call", ["os.fsync", "os.replace", "os.chmod", "tempfile.mkstemp"])
def test_a_call_that_fails(tmp_path, monkeypatch, number, call) -> None:
    checkpoints = CheckpointFolder(tmp_path, keep=1)
    checkpoints.write(1, content(1))
    monkeypatch.setattr(call, raising(number))
    with pytest.raises(CheckpointWriteError, match="of 5000 bytes failed: ") as info:
        checkpoints.write(2, content(2))
    monkeypatch.undo()
    assert info.value.errno == number and os.strerror(number) in str(info.value)
    assert len(names(tmp_path)) == 1 and newest(tmp_path) == content(1)
    checkpoints.write(3, content(3))
    assert newest(tmp_path) == content(3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_a_full_disk(tmp_path, monkeypatch) -> None:
    CheckpointFolder(tmp_path).write(1, content(1))
    made = tempfile.mkstemp

    def full(**keywords: Any) -> tuple[int, str]:
        handle, name = made(**keywords)
        os.close(handle)
        return os.open("/dev/full", os.O_WRONLY), name

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with pytest.raises(CheckpointWriteError, match="No space left on device") as info:
        CheckpointFolder(tmp_path).write(2, content(2))
    assert info.value.errno == errno.ENOSPC and len(names(tmp_path)) == 1
    assert newest(tmp_path) == content(1)


def test_a_file_that_may_not_grow(tmp_path) -> None:
    CheckpointFolder(tmp_path).write(1, content(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(CheckpointWriteError) as info:
            CheckpointFolder(tmp_path).write(2, content(2, 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert info.value.errno == errno.EFBIG and len(names(tmp_path)) == 1
    assert newest(tmp_path) == content(1)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage) -> None:
    checkpoints = CheckpointFolder(tmp_path, keep=2)
    first, last = checkpoints.write(1, content(1)), checkpoints.write(2, content(2))
    damage(last)
    with pytest.warns(
        SkinxaiWarning, match=f"{last.name} is damaged .* continues from {first.name}"
    ):
        assert checkpoints.newest() == (first, content(1))
    damage(first)
    with pytest.raises(CheckpointCorruptError, match="must be whole, but all 2 are damaged"):
        checkpoints.newest()


@pytest.mark.parametrize("keep", [1, 2])
@pytest.mark.parametrize("number", [3, 4])
def test_what_was_written_last_is_never_rotated_out(tmp_path, keep, number) -> None:
    """A damaged checkpoint was passed over, and the run comes to its step again."""
    two = CheckpointFolder(tmp_path, keep=2)
    two.write(2, content(2))
    flip(two.write(4, content(4)))
    checkpoints = CheckpointFolder(tmp_path, keep)
    path = checkpoints.write(number, content(9))
    assert checkpoints.newest() == (path, content(9))
    assert len(names(tmp_path)) == keep


def state() -> RunState:
    torch.manual_seed(0)
    network, average = build_small("small", 3, 0.1), build_small("small", 3, 0.1)
    optimizer = torch.optim.AdamW(network.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    scaler.scale(network(torch.randn(4, 3, 32, 48)).sum()).backward()
    optimizer.step()
    progress = Progress(
        2, 3, 1.5, 24, 9.0, 4, (0.75, 1), [{"epoch": 1, "loss": 0.1}] * 2, ["a"], 2, 1
    )
    return RunState(network, average, optimizer, scaler, progress)


def test_a_checkpoint_holds_the_whole_state_and_no_pickle(tmp_path) -> None:
    first, second = state(), state()
    first.keep_best()
    data = first.to_bytes()
    assert {name.partition(".")[0] for name in load(data)} == {  # by the library alone
        "network", "average", "best", "optimizer", "random",
    }  # fmt: skip
    draws = torch.rand(3)
    second.optimizer.step(), second.scaler.update(7.0)
    for parameter in second.network.parameters():
        parameter.data.fill_(5)
    second.restore(data)
    assert second.to_bytes() == data
    assert torch.equal(torch.rand(3), draws)
    assert second.progress == first.progress and second.scaler.get_scale() == 128.0
    moments = [optimizer.state_dict()["state"] for optimizer in (first.optimizer, second.optimizer)]
    assert moments[0].keys() == moments[1].keys() and len(moments[0]) == 8
    for index, own in moments[0].items():
        assert all(torch.equal(value, moments[1][index][name]) for name, value in own.items())


def test_a_checkpoint_of_another_network() -> None:
    first, other = state(), state()
    other.network = build_small("plain", 3, 0.1)
    with pytest.raises(CheckpointCorruptError, match="must belong to this run's network"):
        other.restore(first.to_bytes())
    for damaged in (b"", b"\0" * 100, first.to_bytes()[:-9]):
        with pytest.raises(CheckpointCorruptError, match="start the run again"):
            first.restore(damaged)


OTHERS: dict[str, Any] = {
    "progress": [], "random": None, "ranks": {}, "scaler": 5, "splits_sha256": ["x"],
}  # fmt: skip
"""For each entry of a checkpoint a value of another kind."""


def test_an_entry_that_is_missing_or_of_another_kind_is_named() -> None:
    own = state()
    tensors, rest = load(own.to_bytes()), header(own.to_bytes())
    assert rest.keys() == OTHERS.keys()

    def said(rest: Any, more: Mapping[str, torch.Tensor] = tensors) -> str:
        with pytest.raises(CheckpointCorruptError) as caught:
            own.restore(save(dict(more), {"state": json.dumps(rest)}))
        before, _, reason = str(caught.value).partition(" and version: ")
        assert before == "checkpoint must belong to this run's network"
        return reason.removesuffix("; start the run again in a new folder.")

    for name, other in OTHERS.items():
        kind = type(rest[name]).__name__
        must = f"its entry '{name}' must be a {kind}, "
        assert said(rest | {name: other}) == f"{must}got {type(other).__name__}"
        assert said({n: value for n, value in rest.items() if n != name}) == f"{must}it is missing"
    assert said([]) == "its entry 'progress' must be a dict, it is missing"
    assert said(rest | {"ranks": [5]}).startswith("its entry 'ranks' must hold the random states")
    states = "its random states must be of torch, NumPy and Python"
    for name in ("numpy", "python"):
        for other in (None, 5, "x", [], [5], {}):
            assert said(rest | {"random": rest["random"] | {name: other}}) == states, (name, other)
        lacking = {n: value for n, value in rest["random"].items() if n != name}
        assert said(rest | {"random": lacking}) == states
    assert said(rest, {n: t for n, t in tensors.items() if n != "random.cpu"}) == states
    with pytest.raises(CheckpointCorruptError, match="version: it lacks 'state'; start the run"):
        own.restore(save(tensors, {"other": "x"}))


def header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    found: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["state"])
    return found
