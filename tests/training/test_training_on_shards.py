"""A run on shards is the run on the files: the same batches, log and weights, also resumed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import ALL_ON, coloured, differences, listed
from training_server import Server, told
from waiting import wait_for

from skinxai.data import load_shards, write_shards

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    coloured(folder / "train", 11, 0)  # 33 images: batches of 8, 8, 8 and 9
    coloured(folder / "val", 3, 1)
    return folder


@pytest.fixture(scope="module")
def shards(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for part in ("train", "val"):
        write_shards(listed(files / part), folder / part, shard_bytes=50_000, progress=False)
    tars = sorted((folder / "train").glob("*.tar"))
    found = load_shards(folder / "train", progress=False)
    assert len(tars) > 3
    assert [item.path.parent for item in found] != sorted(item.path.parent for item in found)
    return folder


@pytest.fixture(scope="module")
def whole(server: Server, files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run on the files."""
    folder = tmp_path_factory.mktemp("whole")
    assert server.run(job(files, folder)) == 0
    return folder / "run"


def job(data: Path, folder: Path, **settings: Any) -> dict[str, Any]:
    paths = {"data": str(data), "out": str(folder / "run"), "told": str(folder / "told")}
    return paths | {"settings": ALL_ON | settings}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_on_shards_is_the_run_on_files(server, shards, whole, tmp_path, workers) -> None:
    assert server.run(job(shards, tmp_path, workers=workers)) == 0
    assert told(tmp_path / "told", "step") == list(range(1, 13))
    assert differences(tmp_path / "run", whole) == []


@pytest.mark.parametrize("begun_on", ["files", "shards"])
def test_a_killed_run_goes_on_in_the_middle_of_an_epoch_on_shards(
    server, files, shards, whole, tmp_path, begun_on
) -> None:
    """Also one that was begun on the files: nothing of a run says where its images lie."""
    task = job(files if begun_on == "files" else shards, tmp_path)
    lines = tmp_path / "told"
    held = {"hold": str(tmp_path / "never"), "hold_at": 7}  # the third step of the second epoch
    process = server.start(task | held)
    wait_for(lambda: max([0, *told(lines, "step")]) >= 7)
    os.kill(process, signal.SIGKILL)
    assert server.status() == -signal.SIGKILL
    lines.unlink()
    assert server.run(job(shards, tmp_path)) == 0
    assert told(lines, "step")[0] in (6, 7, 8)  # not from the start of an epoch
    assert told(lines, "step")[-1] == 12
    assert differences(tmp_path / "run", whole) == []
