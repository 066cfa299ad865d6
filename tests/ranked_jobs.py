"""What `ranked` can do, each in all ranks at once."""

from pathlib import Path
from typing import Any

from small_runs import listed

from skinxai import Trainer


def train(folder: Path, rank: int, job: dict[str, Any]) -> dict[str, Any]:
    """Train, or go on where the job says so."""
    settings, out = job.get("settings", {}), folder / job.get("out", job["name"])
    trainer = (
        Trainer.resume(out, **settings)
        if job.get("resume")
        else Trainer(**settings, output_dir=out)
    )
    classifier = trainer.fit(listed(folder / "train"), listed(folder / "val"))
    return {"model": classifier.model}
