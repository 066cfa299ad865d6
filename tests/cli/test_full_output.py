"""Standard output that cannot be written: one sentence, and no answer is taken for printed."""

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest

from skinxai import samples
from skinxai.cli.saying import printable_output
from skinxai.errors import OutputError

RUN = [sys.executable, "-m", "skinxai"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
@pytest.mark.parametrize("words", [["predict", str(samples.paths()[0]), "--json"], ["plugins"]])
def test_a_full_disk_behind_the_output_is_one_sentence(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        found = subprocess.run([*RUN, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    last = found.stderr.splitlines()[-1]
    assert last == "skinxai: writing the output failed: No space left on device."
    assert "Traceback" not in found.stderr and found.returncode == 2


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
