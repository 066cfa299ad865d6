"""The line of `skinxai doctor` about threads."""

import os
from pathlib import Path

import pytest

from skinxai import environment


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
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (9.71, 5.0, 1.0), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    assert environment.threads_line(2) == f"2 of 8 cores, load 9.7, {line}"
