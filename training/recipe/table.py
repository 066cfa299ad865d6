"""The table of all runs, from their folders."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs import Job

COLUMNS = ("run", "state", "input", "epochs", "accuracy", "balanced accuracy", "macro-F1",
           "melanoma recall", "balanced accuracy, WebP", "seconds", "expected")  # fmt: skip


def rows(work: Path, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """One row for each job; figures are of one view of the images that the run was judged on.

    They are JPEG files; one column is of the same images as WebP files.
    """
    path = work / "failed.json"
    failed = json.loads(path.read_text()) if path.exists() else {}
    return [_row(work / "runs" / job.name, job, failed.get(job.name)) for job in jobs]


def _row(folder: Path, job: Job, failure: str | None) -> dict[str, Any]:
    log = folder / "log.csv"
    epochs = list(csv.DictReader(log.read_text().splitlines())) if log.exists() else []
    size = job.settings["image_size"]
    row: dict[str, Any] = {
        "run": job.name,
        "state": f"failed: {failure[:60]}" if failure else "begun" if epochs else "to do",
        "input": f"{size[0]}x{size[1]}",
        "epochs": f"{len(epochs)}/{job.settings['epochs']}",
        "expected": round(job.seconds) or "",
    }
    if epochs:
        best = max(epochs, key=lambda line: float(line["macro_f1"]))
        row |= {"accuracy": best["accuracy"], "balanced accuracy": best["balanced_accuracy"],
                "macro-F1": best["macro_f1"]}  # fmt: skip
    if (folder / "done.json").exists():
        done = json.loads((folder / "done.json").read_text())
        one = done["one"]
        row |= {"state": "done", "seconds": done["seconds"], "accuracy": one["accuracy"],
                "balanced accuracy": one["balanced_accuracy"], "macro-F1": one["macro_f1"],
                "melanoma recall": one["melanoma_recall"],
                "balanced accuracy, WebP": done["webp"]["balanced_accuracy"]}  # fmt: skip
    return row


def markdown(found: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    lines += [[_cell(row.get(name, "")) for name in COLUMNS] for row in found]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if value <= 1 else f"{value:.0f}"
    return str(value)
