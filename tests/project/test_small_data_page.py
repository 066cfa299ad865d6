"""The commands and the Python of "Fine-tune on little data", run as they stand on the page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from page_commands import run, run_page
from places import ROOT

PAGE = "how-to/small-data.md"
CODE = r"^```\{\.python.*?\n(.*?)^```$"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the page have run, in order."""
    return run_page(PAGE, tmp_path_factory.mktemp("page"))


def test_the_commands_make_a_model_that_has_learnt(place: Path) -> None:
    found = json.loads((place / "probed/probing.json").read_text())
    assert found["linear"]["macro_f1"]["value"] > 0.4  # of four classes
    config = json.loads((place / "probed/config.json").read_text())
    assert config["labels"]["codes"] == ["keratinocyte", "melanoma", "naevus", "other"]
    assert config["licence"] == "CC-BY-NC-4.0"  # of the weights it started from
    rows = json.loads((place / "results/results.json").read_text())
    assert len(rows) == 96 and all((place / "results" / row["overlay"]).exists() for row in rows)


def test_the_python_does_the_same_and_computes_nothing_again(place: Path) -> None:
    before = {path.name: path.read_bytes() for path in (place / "probed/features").iterdir()}
    model = json.loads((place / "probed/probing.json").read_text())["model"]
    text = (ROOT / "docs" / PAGE).read_text()
    code = re.findall(CODE, text, re.DOTALL | re.MULTILINE)[0]
    printed = run([sys.executable, "-c", code], place)
    assert printed.startswith("| figure | linear probe") and f"model='{model}'" in printed
    assert before == {p.name: p.read_bytes() for p in (place / "probed/features").iterdir()}


def test_a_second_drawing_leaves_the_first_as_it_is(tmp_path: Path) -> None:
    """Several pages begin by drawing into one folder."""
    words = [sys.executable, str(ROOT / "examples/private_data.py"), "private", "--images", "8"]
    first = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    (tmp_path / "private/befunde.csv").write_text("own")
    second = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert second.returncode == 2 and "Traceback" not in second.stderr
    assert "private/fotos exists already" in second.stderr
    assert (tmp_path / "private/befunde.csv").read_text() == "own"
