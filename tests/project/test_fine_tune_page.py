"""The commands of "Fine-tune on your own data", run as they stand on the page."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from waiting import LIMIT

from skinxai.training.settings import TrainConfig

PAGE = (ROOT / "docs/how-to/fine-tune.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the page have run, in order."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "examples").symlink_to(ROOT / "examples")
    binaries = Path(sys.executable).parent
    for command in COMMANDS:
        done = subprocess.run(
            ["bash", "-c", f'PATH="{binaries}:$PATH" {command}'],
            cwd=folder, capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return folder


def test_the_page_has_its_commands() -> None:
    assert [command.split()[1] for command in COMMANDS if command.startswith("skinxai")] == [
        "audit", "prepare", "train", "evaluate", "predict",
    ]  # fmt: skip


def test_a_model_a_report_and_a_prediction(place: Path) -> None:
    config = json.loads((place / "runs/mine/config.json").read_text())
    assert config["labels"]["codes"] == ["keratinocyte", "melanoma", "naevus", "other"]
    assert config["licence"] == "CC-BY-NC-4.0"  # of the weights it started from
    report = json.loads((place / "report/evaluation.json").read_text())
    assert report["images"] == 16 and "test part" in report["data"]
    rows = json.loads((place / "results/results.json").read_text())
    assert len(rows) == 96 and all((place / "results" / row["overlay"]).exists() for row in rows)
    assert (place / "audit/audit.html").exists()


def test_the_drawn_classes_are_learnt(place: Path) -> None:
    report = json.loads((place / "report/evaluation.json").read_text())
    assert report["accuracy"]["value"] > 0.5  # 0.25 is chance


def test_nothing_private_leaves_with_the_model(place: Path) -> None:
    folder = place / "runs/mine"
    names = [*json.loads((folder / "manifest.json").read_text())["files"], "manifest.json"]
    for name in names:
        assert not re.search(rb"foto_\d|L00\d\d|befunde", (folder / name).read_bytes()), name


def test_every_setting_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/training.md").read_text()
    for field in dataclasses.fields(TrainConfig):
        row = re.search(rf"^\| `{field.name}` \| (\S+) \| (.+) \|$", page, re.MULTILINE)
        assert row and row[2] == field.metadata["help"], field.name
        if isinstance(field.default, int | float | str):
            assert row[1] == str(field.default).lower()
