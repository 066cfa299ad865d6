"""Folders that several processes prepare or read, and those whose process is killed."""

import json
import multiprocessing
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from places import TESTS
from test_preparing import content, left, pictures, records, same_pixels
from waiting import wait_for

from skinxai.data import Records, load_folder, load_prepared, prepare, preparing, shards
from skinxai.data.shards import Place
from skinxai.errors import DatasetError, OutputError, SkinxaiWarning

__all__ = ["pictures", "records"]  # fixtures


def pixel_sums(records: Records) -> list[int]:
    return [int(records.pixels.read(item.image_id).sum(dtype=np.int64)) for item in records]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_the_same_pixels(records: Records, tmp_path: Path, method) -> None:
    made = prepare(records, tmp_path / "out", progress=False)
    sums = pixel_sums(made)  # mapped now
    assert len(pickle.dumps(made)) < 20_000 < made.pixels.nbytes  # no pixels go along
    assert pickle.loads(pickle.dumps(made)) == made
    if method == "fork":  # threads of other tests and fork do not go together
        code = (
            "import pickle, sys, multiprocessing; sys.path[:0] = {!r}; "
            "from test_preparing_processes import pixel_sums; "
            "from skinxai.data import load_prepared; "
            "made = load_prepared({!r}); pixel_sums(made); "
            "print(multiprocessing.get_context('fork').Pool(2).map(pixel_sums, [made, made]))"
        ).format([str(Path(__file__).parent), str(TESTS)], str(tmp_path / "out"))
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert json.loads(found.stdout) == [sums, sums]
    else:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            assert pool.map(pixel_sums, [made, made]) == [sums, sums]


PROGRAM = """
import json, os, signal, sys, traceback
from skinxai.data import descriptions, load_folder, prepare, preparing, prepared, shards
shards.SHARD_BYTES = 500_000

def deadly(function, left):
    def call(*arguments, **options):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

def work(pictures, out, where, count):
    for place, owner, name in (
        ("add", shards.ShardWriter, "add"),
        ("write", prepared, "write_atomic"),
        ("describe", descriptions, "write_atomic"),
        ("load", preparing, "load_prepared"),
    ):
        if where == place:
            setattr(owner, name, deadly(getattr(owner, name), [count]))
    prepare(load_folder(pictures), out, progress=False)

def begin(job):
    child = os.fork()
    if not child:
        try: work(*job)
        except BaseException: traceback.print_exc(); os._exit(1)
        os._exit(0)
    return child

for line in sys.stdin:
    children = [begin(job) for job in json.loads(line)]
    print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children], flush=True)
"""
Programs = Callable[..., list[int]]


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    """Prepares folders in processes that run side by side, and has their exit codes."""
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(*jobs: tuple[Path, Path, str, int]) -> list[int]:
        server.stdin.write(json.dumps(jobs, default=str) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    yield run
    server.communicate()


@pytest.mark.parametrize(
    ("where", "count"),
    [("add", 0), ("add", 5), ("add", 9), ("write", 0), ("describe", 0), ("load", 0)],
)
def test_killed_half_way_leaves_nothing_that_loads(
    pictures: Path, tmp_path: Path, programs: Programs, where: str, count: int
) -> None:
    out = tmp_path / "out"
    assert programs((pictures, out, where, count)) == [-signal.SIGKILL]
    assert not out.exists()
    (part,) = tmp_path.glob(".out.*.part")
    if where != "load":  # there it is whole, and only its name is missing
        with pytest.raises(DatasetError, match="must be a prepared one"):
            load_prepared(part)
    made = prepare(load_folder(pictures), out, progress=False)
    same_pixels(made)
    assert left(tmp_path) == {"out"}


def test_an_exception_leaves_nothing(records: Records, tmp_path: Path, monkeypatch) -> None:
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", full)
    with pytest.raises(OutputError, match="failed: No space left"):
        prepare(records, tmp_path / "out", progress=False)
    assert left(tmp_path) == set()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparing, "resize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(records, tmp_path / "out", image_size=(64, 64), progress=False)
    assert left(tmp_path) == set()


def test_two_processes_at_once(pictures: Path, tmp_path: Path, programs: Programs) -> None:
    assert programs(*[(pictures, tmp_path / "out", "-", 0)] * 2) == [0, 0]
    assert programs((pictures, tmp_path / "alone", "-", 0)) == [0]
    assert content(tmp_path / "out") == content(tmp_path / "alone")
    assert left(tmp_path) == {"out", "alone", ".alone.lock"}


def test_who_waits_says_so_and_finds_what_the_other_made(
    records: Records, tmp_path: Path, monkeypatch
) -> None:
    other = prepare(records, tmp_path / "other", progress=False)
    monkeypatch.setattr(preparing, "_write", None)  # nothing is done twice
    living = tmp_path / ".out.0123456789abcdef.part"
    living.mkdir()
    lock = FileLock(tmp_path / ".out.lock")
    lock.acquire()
    with pytest.warns(SkinxaiWarning, match="another process is preparing") as caught:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(prepare, records, tmp_path / "out", progress=False)
            wait_for(lambda: caught.list)
            assert living.is_dir() and not waiting.done()
            (tmp_path / "other").rename(tmp_path / "out")
            lock.release()
        made = waiting.result()
    assert made.pixels.digest == other.pixels.digest
    same_pixels(made)


def test_without_locks_the_first_to_finish_wins(records, tmp_path: Path, monkeypatch) -> None:
    write = preparing._write

    def late(*arguments):
        write(*arguments)
        monkeypatch.setattr(preparing, "_write", write)
        first.append(prepare(records, tmp_path / "out", progress=False))

    first: list[Records] = []
    monkeypatch.setattr(preparing, "alone", lambda target: nullcontext())
    monkeypatch.setattr(preparing, "_remove_leftovers", lambda target: None)
    monkeypatch.setattr(preparing, "_write", late)
    assert prepare(records, tmp_path / "out", progress=False) == first[0]
    same_pixels(first[0])
    assert left(tmp_path) == {"out"}


PLACE = Place(1, 300, 10, 20, "0" * 64, "f" * 64)


@pytest.mark.parametrize(
    "changes",
    [
        {"shard": 2}, {"shard": -1}, {"height": 0}, {"width": 0}, {"offset": -1}, {"offset": 301},
        {"height": 11}, {"pixel_hash": "0" * 63}, {"file_sha256": "F" * 64},
    ],
)  # fmt: skip
def test_a_place_outside_its_shard(changes: dict[str, object]) -> None:
    PLACE.check("a", [50, 900], None)
    with pytest.raises(ValueError, match="pixels of 'a' must lie in their shard"):
        PLACE._replace(**changes).check("a", [50, 900], None)
    PLACE.check("a", [50, 900], [10, 20])
    PLACE._replace(height=1, width=1).check("a", [50, 900], None)
    for size in ([20, 10], [10, 21]):
        with pytest.raises(ValueError, match="pixels of 'a' must lie in their shard"):
            PLACE.check("a", [50, 900], size)
