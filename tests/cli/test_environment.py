"""What a command does with its process: its threads, and its garbage collection."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skinxai.cli import environment


@pytest.mark.parametrize(
    ("share", "chosen", "line"),
    [
        (
            "150000 100000\n",
            "2",
            "this container has 1.5 cores, OMP_NUM_THREADS=2",
        ),
        ("max 100000\n", None, "OMP_NUM_THREADS is not set"),
        (None, "", "OMP_NUM_THREADS is not set"),
        ("100000 0\n", None, "OMP_NUM_THREADS is not set"),
    ],
    ids=["share", "no share", "no file", "not a share"],
)
def test_threads(monkeypatch, tmp_path: Path, share, chosen, line) -> None:
    if share is not None:
        (tmp_path / "cpu.max").write_text(share)
    monkeypatch.setattr(environment, "SHARE", tmp_path / "cpu.max")
    monkeypatch.setattr(environment, "OLD_SHARE", tmp_path / "cpu")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (9.71, 5.0, 1.0), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    assert environment.threads_line(2) == f"2 of 8 cores, load 9.7, {line}"


OLD = ("cpu.cfs_quota_us", "cpu.cfs_period_us")


@pytest.mark.parametrize(
    ("files", "said", "threads"),
    [
        ({"cpu.max": "250000 100000"}, {}, "2"),
        ({"cpu.max": "50000 100000"}, {}, "1"),
        ({"cpu.max": "800000 100000"}, {}, None),
        ({"cpu.max": "max 100000"}, {}, None),
        ({OLD[0]: "300000", OLD[1]: "100000"}, {}, "3"),
        ({OLD[0]: "-1", OLD[1]: "100000"}, {}, None),
        ({}, {}, None),
        ({"cpu.max": "250000 100000"}, {"OMP_NUM_THREADS": "5"}, "5"),
        ({"cpu.max": "250000 100000"}, {"MKL_NUM_THREADS": "5"}, None),
    ],
    ids=str,
)
def test_the_command_line_computes_with_the_containers_share(
    monkeypatch, tmp_path, files, said, threads
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    monkeypatch.setattr(environment, "SHARE", tmp_path / "cpu.max")
    monkeypatch.setattr(environment, "OLD_SHARE", tmp_path)
    monkeypatch.setattr(environment, "_cores", lambda: 8)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, said.get(name, ""))  # put back afterwards
        if name not in said:
            monkeypatch.delenv(name)
    environment.use_share_of_container()
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_torch_takes_the_share_where_it_is_imported_afterwards(tmp_path) -> None:
    """In a process of its own, as the command is."""
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    code = (
        "import sys; from pathlib import Path; from skinxai import cli; "
        "from skinxai.cli import environment; "
        f"environment.SHARE = Path({str(tmp_path / 'cpu.max')!r}); "
        "environment._cores = lambda: 8; assert 'torch' not in sys.modules; "
        "cli.app = lambda: None; cli.main(); import torch; print(torch.get_num_threads())"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


def test_what_is_imported_stays_out_of_garbage_collection() -> None:
    code = """if True:
        import atexit, gc
        atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 0))
        from skinxai.cli import main
        main()
    """
    said = subprocess.check_output([sys.executable, "-c", code, "--version"], text=True)
    assert said.splitlines()[-1] == "10000 True"
