"""Folds, a search and a test part on the command line."""

import json
from pathlib import Path

import pytest
from small_runs import coloured
from test_cli_training import SETTINGS, images, known, refusal, run, table
from typer.testing import CliRunner

from skinxai.cli import app
from skinxai.data import prepare
from skinxai.reporting import read_evaluation

__all__ = ["known", "table"]  # fixtures


def test_folds_are_trained_resumed_and_named_at_the_end(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "folds"
    done = run("train", "--folds", "2", *images(table), "--out", out, *SETTINGS)
    assert done.exit_code == 0, done.exception
    judged, _ = read_evaluation(out / "evaluation.json")
    lines = done.stdout.splitlines()
    assert lines[-5].startswith("spread      macro-F1 ") and lines[-5].endswith(" over 2 folds")
    assert lines[-4:] == [
        f"page        {out / 'evaluation.html'}", f"table       {out / 'out_of_fold.csv'}",
        f"ensemble    {out / 'ensemble'}",
        f"next        skinxai predict IMAGE --model {out / 'ensemble'}",
    ]  # fmt: skip
    assert judged.images == 42 and "of 2 models" in judged.verdict
    picture = table.parent / "pictures/red-00.png"
    assert run(*lines[-1].split()[1:3], "--model", out / "ensemble").exit_code == 2  # IMAGE
    assert run("predict", picture, "--model", out / "ensemble").exit_code == 0
    resumed = run("train", "--resume", "--out", out)  # knows its images and its folds
    assert resumed.exit_code == 0, resumed.exception
    assert "fold 2 of 2 is finished" in resumed.stdout
    assert refusal("train", "--resume", "--folds", "3", "--out", out).startswith(
        "--folds must be the 2 that the cross-validation began with, got 3;"
    )
    assert refusal("train", "--folds", "2", *images(table), "--out", out, *SETTINGS).endswith(
        "go on with it with --resume, or give another --out."
    )
    assert refusal("train", "--folds", "1", *images(table), "--out", tmp_path / "x", *SETTINGS) == (
        "--folds must be an integer >= 2, got 1."
    )
    single = refusal("train", "--resume", "--folds", "2", "--out", out / "fold-1", "--data", table)
    assert "--resume with --folds found no cross-validation in" in single


def test_folds_leave_the_test_part_of_a_split_alone(table: Path, tmp_path: Path) -> None:
    first, out = tmp_path / "first", tmp_path / "folds"
    assert run("train", *images(table), "--out", first, *SETTINGS).exit_code == 0
    parts = dict(line.split(",") for line in (first / "splits.csv").read_text().split()[1:])
    done = run("train", "--folds", "2", *images(table), "--splits", first / "splits.csv", "--out",
               out, *SETTINGS)  # fmt: skip
    assert done.exit_code == 0, done.exception
    assert "test images are not looked at" in done.stderr
    answered = {line.split(",")[0] for line in (out / "out_of_fold.csv").read_text().split()[1:]}
    assert answered == {name for name, part in parts.items() if part != "test"}


def test_a_search_prints_a_command_that_trains(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "search"
    words = ("tune", *images(table), "--out", out, "--trials", "2", *SETTINGS, "--search",
             "learning_rate=1e-3..1e-2", "--search", "sampler=none,balanced")  # fmt: skip
    done = run(*words)
    assert done.exit_code == 0, done.exception
    assert "so it is optimistic" in done.stdout
    command = done.stdout.splitlines()[-1].removeprefix("next        skinxai ").split()
    assert "--splits" in command and "--learning-rate" in command
    trained = run(*command)
    assert trained.exit_code == 0, trained.exception
    assert (out / "best/splits.csv").read_bytes() == (out / "splits.csv").read_bytes()


def test_a_test_part_is_audited_as_it_is(tmp_path) -> None:
    """An audit neither learns nor chooses."""
    part = coloured(tmp_path / "images", 3, 0)
    prepare(part.subset([i.image_id for i in part], part="test"), tmp_path / "p", progress=False)
    found = CliRunner().invoke(app, ["audit", str(tmp_path / "p"), "--json"])
    assert found.exit_code == 0 and json.loads(found.stdout)["ok"], found.output
