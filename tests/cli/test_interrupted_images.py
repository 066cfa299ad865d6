"""A signal to a command that writes results of many images: what is done stays, and is counted."""

import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import warm

from skinxai import samples

IMAGES = 300


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(IMAGES):
        shutil.copy(samples.paths()[0], folder / f"{number:03d}.jpg")
    return folder


def two_lines(running: subprocess.Popen[str]) -> None:
    assert running.stdout is not None
    running.stdout.readline()
    running.stdout.readline()


def interrupted(
    *words: str,
    number: signal.Signals = signal.SIGINT,
    shown: Callable[[subprocess.Popen[str]], object] = two_lines,
) -> tuple[str, str]:
    """The rest of standard output, and the errors, of a command that gets a signal.

    Args:
        words: the command.
        number: the signal.
        shown: returns when it has begun to show its second image, so that the first is done.
    """
    command = [sys.executable, "-m", "skinxai", *words]
    with warm.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        shown(running)
        running.send_signal(number)
        output, errors = running.communicate()
    assert running.returncode == 128 + number
    return output, errors


def answered(rows: list[dict[str, str]]) -> int:
    """How many images a table says to have been answered; the others are named as such."""
    codes = [row.get("error_code") or None for row in rows]
    done = codes.index("interrupted")
    assert codes == [None] * done + ["interrupted"] * (IMAGES - done)
    assert [Path(row["source"]).name for row in rows] == [f"{n:03d}.jpg" for n in range(IMAGES)]
    assert "run the command again" in rows[-1]["error"]
    return done


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("predict --batch-size 2", "SIGTERM"),
        ("explain", "SIGINT"),
        ("report --methods gradcam", "SIGHUP"),
    ],
)
def test_an_interrupted_run_says_how_many_images_it_has(many, tmp_path, command, name) -> None:
    out = tmp_path / "out"
    number = getattr(signal, name)
    _, errors = interrupted(*command.split(), str(many), "--out", str(out), number=number)
    found = re.search(rf"note: the run has ended early, after (\d+) of {IMAGES} images", errors)
    assert found is not None and f": {out} has them" in errors
    done = int(found[1])
    assert 0 < done < IMAGES
    if command.startswith("predict"):
        with (out / "results.csv").open(newline="") as file:
            assert answered(list(csv.DictReader(file))) == done
        assert answered(json.loads((out / "results.json").read_text())) == done
    else:
        assert len(list(out.iterdir())) in (done, done + 1)  # one may be written, but not counted


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
@pytest.mark.parametrize("form", ["csv", "json"])
def test_an_interrupted_table_is_printed(many, tmp_path, form) -> None:
    out = tmp_path / "out"

    def two_overlays(running: subprocess.Popen[str]) -> None:
        while running.poll() is None and len(list(out.glob("*.png"))) < 2:
            time.sleep(0.01)

    words = ["predict", str(many), "--format", form, "--explain", "gradcam", "--batch-size", "2"]
    output, errors = interrupted(*words, "--out", str(out), shown=two_overlays)
    rows = json.loads(output) if form == "json" else list(csv.DictReader(io.StringIO(output)))
    assert f"after {answered(rows)} of {IMAGES} images" in errors
    assert (out / f"results.{form}").read_text() == output
