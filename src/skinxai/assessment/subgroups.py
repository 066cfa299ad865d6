"""Figures of groups of images with the same sex, age band, site, source or skin tone."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import clustered_bootstrap, mean_of_shares, with_width
from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.plain_text import agreeing
from skinxai.results import Figure, Subgroup

Bands = dict[str, tuple[float, float]]
SKIN_TONE, ITA = "skin tone (ITA)", "ita"
COLUMNS = {
    "sex": ("sex",),
    "age": ("age", "age_approx"),
    "site": ("localization", "anatom_site_general"),
    "source": ("source", "dataset", "attribution"),
    "Fitzpatrick type": ("fitzpatrick_skin_type", "fitzpatrick", "skin_type"),
    SKIN_TONE: (ITA,),
}
"""Columns of a table that may hold each attribute, whatever the case of their names.

The first whose value is known is used."""
AGE_BANDS: Bands = {
    "0–29": (0, 30),
    "30–49": (30, 50),
    "50–69": (50, 70),
    "70+": (70, math.inf),
}
ITA_BANDS: Bands = {
    "dark": (-math.inf, -30), "brown": (-30, 10), "tan": (10, 28), "intermediate": (28, 41),
    "light": (41, 55), "very light": (55, math.inf),
}  # fmt: skip
"""Of the individual typology angle in degrees (Del Bino & Bernerd, Br. J. Dermatol. 169, 2013)."""
BANDS: dict[str, Bands] = {"age": AGE_BANDS, SKIN_TONE: ITA_BANDS}
UNKNOWN = ("", "unknown", "nan", "none", "null", "na", "n/a")
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
        The groups of each attribute, sorted by number of images, the largest first; bands of age
        and of skin tone are in order.
    """
    found = []
    for attribute, values in groups(attributes):
        for name in (name for name in dict.fromkeys(_ordered(attribute, values)) if name):
            rows = np.flatnonzero(values == name)
            if len(rows) >= SMALLEST:
                own = [lesions[k] for k in rows.tolist()]
                figures = _figures(target[rows], predicted[rows], own, num_classes, resamples, seed)
                sizes = (len(rows), len(set(own)), len(np.unique(target[rows])))
                found.append(Subgroup(attribute, name, *sizes, *figures))
    return tuple(found)


def groups(
    attributes: Sequence[Mapping[str, str]],
) -> Iterator[tuple[str, npt.NDArray[np.str_]]]:
    """Each attribute that is known of some image, and each image's group, ``(N,)``.

    An empty text stands for an unknown value. Values that differ by case or blanks alone are one
    group, which is called as most of its images have it.
    """
    rows = [{str(name).casefold(): value for name, value in row.items()} for row in attributes]
    for attribute, columns in COLUMNS.items():
        found = [_value(attribute, columns, row) for row in rows]
        if any(found):
            spelt = {_plain(name): name for name, _ in reversed(Counter(found).most_common())}
            yield attribute, np.array([spelt[_plain(name)] for name in found], np.str_)


def _plain(value: str) -> str:
    return " ".join(value.casefold().split())


def small_groups(attributes: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """A note for each attribute with groups that are too small for figures, or unknown values."""
    found = []
    for attribute, values in groups(attributes):
        counts = {name: int((values == name).sum()) for name in _ordered(attribute, values)}
        small = [f"{name} ({count})" for name, count in counts.items() if name and count < SMALLEST]
        if small:
            found.append(
                f"{attribute}: no figures of groups with fewer than {SMALLEST} images, which are "
                f"{', '.join(small)}"
            )
        if unknown := counts.get("", 0):
            found.append(
                f"{attribute}: not known of {unknown} of {len(values)} images, which "
                f"{agreeing(unknown, 'is', 'are')} in no group"
            )
    return tuple(found)


def _ordered(attribute: str, values: npt.NDArray[np.str_]) -> list[str]:
    """Bands in their order, other groups by number of images, the largest first."""
    names: list[str] = np.unique(values).tolist()
    if attribute in BANDS:
        return sorted(names, key=lambda name: [*BANDS[attribute], ""].index(name))
    return sorted(names, key=lambda name: -int((values == name).sum()))


def _value(attribute: str, columns: tuple[str, ...], row: Mapping[str, str]) -> str:
    given = (row.get(name) for name in columns)
    known = (str(each).strip() for each in given if each is not None)  # programs give numbers
    text = next((each for each in known if each.lower() not in UNKNOWN), "")
    if attribute not in BANDS:
        return text
    try:
        number = float(text)
    except ValueError:
        return ""
    bands = BANDS[attribute].items()
    return next((name for name, (low, high) in bands if low <= number < high), "")


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
    found = [Figure(*row) for row in np.stack([values, low, high], axis=1).tolist()]
    right = target == predicted
    means = [mean_of_shares(each, right, target, lesions) for each in found[1:]]
    return [with_width(found[0], right, lesions), *means]
