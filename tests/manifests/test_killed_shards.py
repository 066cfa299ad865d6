"""Runs that are killed at each change of the disk, or asked to end, and then repeated."""

import os
import signal
from pathlib import Path

import pytest
from sharded_runs import ShardServer
from waiting import wait_for


@pytest.fixture(scope="module")
def server(model):
    made = ShardServer(model)
    yield made
    made.close()


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_killed_before_each_change_of_the_disk_and_repeated(server, table, tmp_path) -> None:
    job = {"manifest": str(table), "chunk": 8, "batch_size": 3}
    assert server.run(job | {"out": str(tmp_path / "whole")}) == 0
    whole, moment, code, halves = parts(tmp_path / "whole"), 0, -signal.SIGKILL, 0
    assert len(whole) == 4
    while code:
        out = tmp_path / str(moment)
        code = server.run(job | {"out": str(out), "moment": moment})
        assert code in (0, -signal.SIGKILL)
        if out.is_dir():
            for name, data in parts(out).items():
                hidden = name.endswith(".part")
                assert hidden or data == whole[name], moment
                halves += hidden
        assert server.run(job | {"out": str(out)}) == 0
        assert parts(out) == whole, moment
        moment += 1
    assert moment > 20 and halves  # some left a file that the next run removed


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 3)])
def test_a_signal_ends_a_run_with_nothing_half(server, table, tmp_path, number, code) -> None:
    path = table.with_name("long.csv")
    path.write_text("image\n" + "".join(f"{n % 4}.png\n" for n in range(20_000)))
    out = tmp_path / "out"
    process = server.start({"manifest": str(path), "out": str(out), "chunk": 8})
    wait_for(lambda: len(list(out.glob("part-*.parquet"))) > 2)
    os.kill(process, number)
    assert server.status() == code  # of Ctrl-C, KeyboardInterrupt
    names = set(parts(out))
    assert 3 < len(names) < 2500 and all(not name.startswith(".") for name in names)


def test_a_file_that_another_process_is_writing_is_no_leftover(tmp_path) -> None:
    from skinxai.disk.writing import atomic_file, remove_leftovers

    (tmp_path / ".abcdefgh.part").write_bytes(b"left by a killed process")
    (tmp_path / ".own.part").write_bytes(b"somebody's")
    with atomic_file(tmp_path / "whole") as out:
        out.write(b"new")
        remove_leftovers(tmp_path)
    assert (tmp_path / "whole").read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"whole", ".own.part"}
