"""Standard output that cannot be written: one sentence, and no answer is taken for printed."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import warm

from skinxai import samples
from skinxai.cli.saying import printable_output
from skinxai.errors import OutputError

RUN = [sys.executable, "-m", "skinxai"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
@pytest.mark.parametrize("words", [["predict", str(samples.paths()[0]), "--json"], ["plugins"]])
def test_a_full_disk_behind_the_output_is_one_sentence(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        found = warm.run([*RUN, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    last = found.stderr.splitlines()[-1]
    assert last == "skinxai: writing the output failed: No space left on device."
    assert "Traceback" not in found.stderr and found.returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs sh")
@pytest.mark.parametrize(("words", "code"), [("--version", 0), ("verify nowhere", 2)])
def test_a_closed_output_is_no_error(words: str, code: int) -> None:
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *RUN, *words.split()]
    found = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    assert found.returncode == code and "Traceback" not in found.stderr
    assert code == 0 or found.stderr.startswith("skinxai: ")


def test_each_line_goes_into_a_pipe_at_once() -> None:
    """Where a program is killed, what it answered is not lost."""
    code = "import os; from skinxai.cli import main\ntry: main()\nfinally: os._exit(9)"
    words = [sys.executable, "-c", code, "predict", *map(str, samples.paths())]
    found = warm.run(words, stdout=subprocess.PIPE, text=True)
    assert found.returncode == 9 and len(found.stdout.splitlines()) == len(samples.paths())


def test_a_reader_that_went_away_is_no_error_of_python() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [*RUN, "predict", *map(str, samples.paths())]
    found = warm.run(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert found.returncode == 1
    assert "ignored" not in found.stderr and "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, OutputError), (errno.EPIPE, BrokenPipeError)]
)
def test_only_a_reader_that_went_away_is_left_to_typer(number: int, kind, monkeypatch) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(number, "gone")

        def flush(self) -> None:
            raise OSError(number, "gone")

    monkeypatch.setattr(sys, "stdout", Broken())
    with printable_output():
        for act in (lambda: sys.stdout.write("x"), lambda: sys.stdout.flush()):
            with pytest.raises(kind):
                act()
