"""Ranks that do not come, or were told different things, end with one sentence each."""

import datetime
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import ranked
import warm
from torch._C._distributed_c10d import TCPStore
from waiting import LIMIT, wait_for

from skinxai.errors import TrainingError
from skinxai.training import joining
from skinxai.training.joining import joined

SOON = datetime.timedelta(seconds=1)
PROGRAM = """
from skinxai.errors import SkinxaiError
from skinxai.training.joining import joined
try:
    with joined("cpu") as ranks:
        print("met", ranks.count)
except SkinxaiError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


def environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What a launcher says that keeps no store of its own."""
    said = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return where | {name: str(number) for name, number in said.items()}


def start(rank: int, count: int, port: int) -> "subprocess.Popen[str]":
    return warm.Popen(
        [sys.executable, "-c", PROGRAM], env=ranked.one_thread() | environment(rank, count, port),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def said(*processes: "subprocess.Popen[str]") -> list[str]:
    return [process.communicate(timeout=LIMIT)[0] for process in processes]


@pytest.fixture
def told(port, monkeypatch: pytest.MonkeyPatch):
    """Lets this process be a rank."""

    def tell(rank: int, count: int) -> None:
        for name, value in environment(rank, count, port).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(joining, "JOINING", SOON)

    return tell


def test_ranks_that_never_come_are_named(told) -> None:
    told(0, 4)
    words = r"all 4 ranks must start within .* these did not: 1, 2, 3;"
    with pytest.raises(TrainingError, match=words), joined("cpu"):
        pass


def test_a_first_rank_that_never_comes_is_named(told, port) -> None:
    told(1, 2)
    words = rf"rank 1 cannot reach rank 0 at .*{port} within 0:00:01"
    with pytest.raises(TrainingError, match=words), joined("cpu"):
        pass


def test_ranks_that_were_told_different_numbers_end_with_one_sentence(port) -> None:
    first, second = said(start(0, 2, port), start(1, 3, port))
    assert "TrainingError WORLD_SIZE must be the same on all ranks, but it is" in first
    assert "3 on rank 1 and 2 on rank 0" in first
    assert "TrainingError" in second and "Traceback" not in second, second
    assert "WORLD_SIZE" in second or "rank 0 ended before" in second


def test_a_first_rank_that_ends_before_all_have_met_is_named(told, port, monkeypatch) -> None:
    told(1, 2)
    monkeypatch.setattr(joining, "JOINING", datetime.timedelta(seconds=LIMIT))
    store = [TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(joined("cpu").__enter__)
        wait_for(lambda: any("world 1" in key for key in store[0].list_keys()))
        store.clear()  # as it goes with its process
        with pytest.raises(TrainingError, match="rank 0 ended before all 2 ranks had met"):
            waiting.result()


def test_ranks_that_were_told_the_same_meet(port) -> None:
    assert said(start(0, 2, port), start(1, 2, port)) == ["met 2\n"] * 2
