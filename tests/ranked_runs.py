"""What runs of several ranks have in common, and how they are compared."""

import csv
from pathlib import Path

import numpy as np
import pytest
from small_runs import BASE, newest

EQUAL = BASE | dict(
    epochs=3, drop_rate=0.0, mixup=0.4, cutmix=1.0, hair=0.2, clip_norm=1.0, layer_decay=0.5,
    sampler="square_root", learning_rate=1e-3,
)  # fmt: skip


def log(run: Path) -> list[dict[str, float]]:
    with (run / "log.csv").open() as file:
        return [{n: float(v) for n, v in row.items()} for row in csv.DictReader(file)]


def check_equal(run: Path, other: Path) -> None:
    """The same figures in every epoch, and the same weights, within float32's noise."""
    for one, two in zip(log(run), log(other), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], rel=1e-4)
        for name in ("epoch", "accuracy", "balanced_accuracy", "macro_f1", "learning_rate"):
            assert one[name] == pytest.approx(two[name], rel=1e-6), name
    (own, _), (others, _) = newest(run), newest(other)
    for name in others:
        if not name.startswith(("random", "rank")):
            np.testing.assert_allclose(
                own[name].double(), others[name].double(), rtol=1e-3, atol=2e-5, err_msg=name
            )
