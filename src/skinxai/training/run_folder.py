"""What a run leaves besides its model: log and card."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import torch

from skinxai.configs import ModelConfig
from skinxai.writing import write_atomic


def write_log(path: Path, rows: tuple[Mapping[str, float], ...]) -> None:
    """Write one row for each epoch as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: round(value, 5) for name, value in row.items()} for row in rows)
    write_atomic(path, text.getvalue().encode())


def write_card(config: ModelConfig, log: tuple[Mapping[str, float], ...], epoch: int) -> str:
    """Model card of a run, before any test."""
    row = log[epoch - 1]
    return (
        f"# {config.name}\n\n"
        f"{config.backbone}, trained on {config.training_data['name']} with skinxai. Validation "
        f"(epoch {epoch}, chosen on it): accuracy {row['accuracy']:.3f}, balanced accuracy "
        f"{row['balanced_accuracy']:.3f}, macro-F1 {row['macro_f1']:.3f}.\n\n"
        f"Licence of the weights: {config.licence or 'not stated'}. "
        f"{config.training_data['attribution']}\n\n"
        f"A research tool, not a medical device.\n"
    )


def precision_name(precision: torch.dtype | None) -> str:
    """Name of a precision of `choose_precision`."""
    return "float32" if precision is None else str(precision).removeprefix("torch.")
