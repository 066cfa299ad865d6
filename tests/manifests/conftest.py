"""A model that answers in a millisecond, and a manifest whose every row is known."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import model_folder

from skinxai import Classifier
from skinxai.labels import LabelSet

LABELS = LabelSet(("red", "green", "blue"), malignant=frozenset({"red"}))
ROWS = 23
BAD = {5: "missing.png", 11: "", 17: "text.png"}
"""Row → an image that cannot be read."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, small_networks: None) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "model", LABELS, seed=1)


@pytest.fixture
def small(model: Path) -> Classifier:
    return Classifier.from_pretrained(model)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 23 rows, 20 of which can be answered; two name the same image."""
    folder = tmp_path_factory.mktemp("images")
    draws = np.random.default_rng(0)
    for number in range(ROWS):
        pixels = draws.integers(60, 200, (40, 56, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "text.png").write_text("no image")
    path = folder / "lesions.csv"
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["note", "id", "image"])
        for number in range(ROWS):
            name = BAD.get(number, f"{3 if number == 4 else number}.png")
            writer.writerow(["two\nlines, quoted", f"id-{number}" if number else "", name])
    return path
