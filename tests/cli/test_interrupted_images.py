"""Ctrl-C in a command that writes results of many images: what is done stays, and is counted."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skinxai import samples

IMAGES = 300


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(IMAGES):
        shutil.copy(samples.paths()[0], folder / f"{number:03d}.jpg")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
@pytest.mark.parametrize("command", ["predict", "explain"])
def test_an_interrupted_run_says_how_many_images_it_has(many, tmp_path, command) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-m", "skinxai", command, str(many), "--out", str(out)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()  # of the first image
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate()
    assert running.returncode == 130
    if command == "predict":
        with (out / "results.csv").open(newline="") as file:
            done = len(list(csv.DictReader(file)))
        assert len(json.loads((out / "results.json").read_text())) == done
        assert 0 < done < IMAGES
        assert f"note: the run has ended early: {out} has {done} of {IMAGES} images" in errors
    else:
        assert f"of {IMAGES} images" in errors and "ended early" in errors
        assert list(out.iterdir())
