"""The commands of "Fine-tune on your own images", run as they stand on the page."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from page_commands import commands_of, run_page
from places import ROOT

from skinxai.training.settings import TrainConfig

PAGE = "how-to/fine-tune.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all commands of the page have run, in order."""
    return run_page(PAGE, tmp_path_factory.mktemp("page"))


def test_the_page_has_its_commands() -> None:
    ours = [line.split() for line in commands_of(PAGE) if line.startswith("skinxai ")]
    assert [words[1] for words in ours] == ["audit", "prepare", "train", "evaluate", "predict"]


def test_a_model_a_report_and_a_prediction(place: Path) -> None:
    config = json.loads((place / "runs/mine/config.json").read_text())
    assert config["labels"]["codes"] == ["keratinocyte", "melanoma", "naevus", "other"]
    assert config["licence"] == "CC-BY-NC-4.0"  # of the weights it started from
    report = json.loads((place / "report/evaluation.json").read_text())
    assert report["images"] == 16 and "test part" in report["data"]
    rows = json.loads((place / "results/results.json").read_text())
    assert len(rows) == 96 and all((place / "results" / row["overlay"]).exists() for row in rows)
    assert (place / "audit/audit.html").exists()


def test_the_reference_lists_every_file_of_a_run(place: Path) -> None:
    page = (ROOT / "docs/reference/model-folder.md").read_text()
    rows = re.findall(r"(?m)^\| (`.+?) \| (.+) \|$", page.split("## The folder of a run")[1])
    listed = {name for names, _ in rows for name in re.findall(r"`([^`]+?)/?`", names)}
    files = json.loads((place / "runs/mine/manifest.json").read_text())["files"]
    there = {path.name for path in (place / "runs/mine").iterdir()} - {*files, "manifest.json"}
    assert there == listed - {"failed_batch.json"}
    (log,) = (what for names, what in rows if "log.csv" in names)
    columns = (place / "runs/mine/log.csv").read_text().split("\n")[0]
    assert re.findall(r"`(\w+)`", log) == columns.split(",")


def test_the_drawn_classes_are_learnt(place: Path) -> None:
    report = json.loads((place / "report/evaluation.json").read_text())
    assert report["accuracy"]["value"] > 0.5  # 0.25 is chance


def test_the_readme_shows_such_a_run(place: Path) -> None:
    """Processors differ in the last bits, and so do trained networks: each has its own figures."""
    (shown,) = re.findall(r"(?ms)^\$ skinxai audit (.+?)^```", (ROOT / "README.md").read_text())
    log = [line.split(",") for line in (place / "runs/mine/log.csv").read_text().splitlines()]
    assert f"epoch {log[-1][0]} of {log[-1][0]}: loss " in shown
    report = json.loads((place / "report/evaluation.json").read_text())
    assert f"{report['images']} images of {report['lesions']} lesions\n" in shown
    assert f"{report['data']}: balanced accuracy " in shown
    figures = re.findall(r"(balanced accuracy|macro-F1) (\S+) \((\S+)–(\S+)\)", shown)
    assert [name for name, *_ in figures] == ["balanced accuracy", "macro-F1"]
    for name, *numbers in figures:
        value, low, high = map(float, numbers)
        own = report[name.replace("-", " ").replace(" ", "_").lower()]
        assert low < value < high and low <= own["value"] <= high
        assert own["low"] <= value <= own["high"]


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
