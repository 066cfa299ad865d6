"""Figures of groups of images with the same sex, age band or site."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.results import Figure, Subgroup

COLUMNS = {
    "sex": ("sex",),
    "age": ("age", "age_approx"),
    "site": ("localization", "anatom_site_general"),
}
"""Columns of a table that may hold each attribute; the first that is not empty is used."""
AGE_BANDS = {"0–29": (0, 30), "30–49": (30, 50), "50–69": (50, 70), "70+": (70, math.inf)}
UNKNOWN = ("", "unknown")
SMALLEST = 20


def subgroups(
    target: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    lesions: Sequence[str],
    attributes: Sequence[Mapping[str, str]],
    num_classes: int,
    *,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[Subgroup, ...]:
    """Evaluate each group of at least 20 images; images with an unknown value are in no group.

    Args:
        target: ``(N,)``, class positions.
        predicted: ``(N,)``, class positions.
        lesions: each image's lesion, the unit of the bootstrap, which draws within a group.
        attributes: attributes of each image, as in `skinxai.data.Record`.
        num_classes: K.
        resamples: number of bootstrap resamples of each group.
        seed: seed of the resampling.

    A resample may lack a class of few lesions. Its averages are then over the other classes, which
    makes the intervals of balanced accuracy and macro-F1 wide and lopsided.

    Returns:
        The groups by sex, age and site. Sexes and sites are sorted by number of images, the largest
        first; ages are in order.
    """
    found = []
    for attribute, columns in COLUMNS.items():
        values = np.array([_value(attribute, columns, row) for row in attributes])
        names = [name for name in np.unique(values).tolist() if name not in UNKNOWN]
        if attribute == "age":
            names = [name for name in AGE_BANDS if name in names]
        else:
            names.sort(key=lambda name: -(values == name).sum())
        for name in names:
            rows = np.flatnonzero(values == name)
            if len(rows) >= SMALLEST:
                own = [lesions[k] for k in rows.tolist()]
                figures = _figures(target[rows], predicted[rows], own, num_classes, resamples, seed)
                sizes = (len(rows), len(set(own)), len(np.unique(target[rows])))
                found.append(Subgroup(attribute, name, *sizes, *figures))
    return tuple(found)


def _value(attribute: str, columns: tuple[str, ...], row: Mapping[str, str]) -> str:
    text = next((row[name] for name in columns if row.get(name)), "")
    if attribute != "age":
        return text
    try:
        age = float(text)
    except ValueError:
        return ""
    return next((name for name, (low, high) in AGE_BANDS.items() if low <= age < high), "")


def _figures(
    target: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    lesions: Sequence[str],
    num_classes: int,
    resamples: int,
    seed: int,
) -> list[Figure]:
    def statistic(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        found = metrics_of(confusion_matrix(target[rows], predicted[rows], num_classes))
        return np.array([found.accuracy, found.balanced_accuracy, found.macro_f1])

    low, high = clustered_bootstrap(statistic, lesions, resamples=resamples, seed=seed)
    values = statistic(np.arange(len(target)))
    return [Figure(*row) for row in np.stack([values, low, high], axis=1).tolist()]
