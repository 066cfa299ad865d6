"""The commands of "Cross-validate and tune", run as they stand on the page."""

import csv
import json
from pathlib import Path

import pytest
from page_commands import run_page

from skinxai import Classifier

pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the page have run, in order."""
    return run_page("how-to/search-and-cross-validate.md", tmp_path_factory.mktemp("page"))


def test_what_the_page_says_is_there(place: Path) -> None:
    report = json.loads((place / "runs/folds/evaluation.json").read_text())
    assert report["images"] == 48 and len(report["out_of_fold"]["folds"]) == 3
    with (place / "runs/folds/out_of_fold.csv").open(newline="") as text:
        assert len({line["image_id"] for line in csv.DictReader(text)}) == 48
    assert len(Classifier.from_pretrained(place / "runs/folds/ensemble").labels) == 4
    assert len((place / "runs/search/trials.csv").read_text().splitlines()) == 3
    for name in ("trials.png", "study.db", "splits.csv", "trials/0001/model.safetensors"):
        assert (place / "runs/search" / name).stat().st_size > 0
