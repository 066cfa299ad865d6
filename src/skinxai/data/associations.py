"""Measure which columns of a table give the label away, over lesions and patients."""

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from skinxai.data.records import Records
from skinxai.data.stratifying import group

STRONG = 0.5
"""From this share of removed uncertainty on, a column gives the label away."""
HELD = 0.25
"""The same for the share of a class (value) that comes with no other value (class)."""
FOLDS = 10
SMOOTHING = 0.5
PURE = 0.05
EVIDENCE = 14.0
NORMAL = 2.05
MANY = 20
WORDS = 50

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Association:
    """How one column gives the label away.

    Args:
        column: name of the column.
        strength: the share that ``measure`` names, 0 to 1.
        measure: what was measured, in words, with the share.
    """

    column: str
    strength: float
    measure: str

    def __str__(self) -> str:
        return f"{self.column} ({self.measure})"


def telling_columns(records: Records) -> list[Association]:
    """Find the attributes that give the label away, the strongest first.

    A column and the label are compared over distinct triples of a group (images that share a lesion
    or patient), a label and a value, so that many images of one patient count once. The column
    gives the label away where one of four shares is large:

    * the share of the label's uncertainty that its values remove, from 0.5;
    * the share of its own uncertainty that the label removes, from 0.5: the column then follows
      from the label, as benign or malignant follows from seven diagnoses;
    * the share of a class under values that (almost) always come with that class, from 0.25;
    * the share of a value under classes that (almost) always come with that value, from 0.25.

    The first two are uncertainty coefficients (Theil 1970) of cross-validated entropies:
    frequencies are counted on other groups than those they are evaluated on. Values that occur
    once, such as ids and free text, therefore remove no uncertainty. In the last two, "almost
    always" means at most a twentieth of the exceptions that chance would give, and a probability of
    at most one in a million by chance.

    A column is compared as it stands and by where it is empty. Numbers of many values are also
    compared by tenths of their ranks and by each cut between these (whole numbers that hardly
    repeat are ids), and texts of many values without digits and case, and by each frequent word.
    """
    groups = group(records)
    found = []
    for column in sorted({name for item in records for name in item.attributes}):
        units = sorted(
            {
                (n, item.label, str(item.attributes.get(column, "")).strip())
                for n, items in enumerate(groups)
                for item in items
            }
        )
        labels = _codes([label for _, label, _ in units])
        folds = _codes([n for n, *_ in units]) % FOLDS
        ways = [
            Association(column, share, f"{measure.format(share)}{how}")
            for how, view in _views([value for *_, value in units])
            for share, measure in islice(_ways(_codes(view), labels, folds), 1)
        ]
        if ways:
            found.append(max(ways, key=lambda way: round(way.strength, 2)))  # the first of equals
    return sorted(found, key=lambda way: -round(way.strength, 2))


def _views(values: Sequence[str]) -> Iterator[tuple[str, Sequence[object]]]:
    """Each way to compare the values, after its name, which is empty for the values themselves."""
    yield "", values
    present = [value for value in values if value]
    if 0 < len(present) < len(values):
        yield ", by where it is empty", [value != "" for value in values]
    if len(set(present)) <= MANY:
        return
    numbers = [_number(value) for value in values]
    known = sorted(number for number in numbers if number is not None)
    if len(known) < 0.9 * len(present):
        yield ", without digits", [re.sub(r"\d+", "#", value).casefold() for value in values]
        words = [set(re.findall(r"[^\W\d_]{3,}", value.casefold())) for value in values]
        for word, _ in Counter(word for own in words for word in own).most_common(WORDS):
            yield f", by the word {word!r}", [word in own for own in words]
    elif len(set(known)) < 0.8 * len(known) or not all(number.is_integer() for number in known):
        cuts = [known[len(known) * tenth // 10] for tenth in range(1, 10)]
        tenths = [-1 if n is None else bisect_right(cuts, n) for n in numbers]
        yield ", in tenths", tenths
        for place, cut in enumerate(cuts, 1):
            yield f", from {cut:g} on", [min(t, 0) if t < place else 1 for t in tenths]


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _codes(values: Sequence[object]) -> Codes:
    """Number the distinct values in the order of their first occurrence."""
    place: dict[object, int] = {}
    return np.array([place.setdefault(value, len(place)) for value in values], np.int64)


def _ways(values: Codes, labels: Codes, folds: Codes) -> Iterator[tuple[float, str]]:
    """Each share that is large enough, in words."""
    if values.max() == 0 or labels.max() == 0:
        return
    if _beyond_chance(values, labels):
        if (share := _explained(values, labels, folds)) >= STRONG:
            yield share, "removes {:.0%} of the label's uncertainty"
        if (share := _explained(labels, values, folds)) >= STRONG:
            yield share, "the label removes {:.0%} of its uncertainty"
    if (share := _held(values, labels)) >= HELD:
        yield share, "{:.0%} of a class has values that no other class has"
    if (share := _held(labels, values)) >= HELD:
        yield share, "{:.0%} of a value is in classes that have no other value"


def _beyond_chance(values: Codes, labels: Codes) -> bool:
    """Whether a likelihood-ratio test of independence has p < 0.02 (Wilson & Hilferty 1931)."""
    free = int(values.max()) * int(labels.max())
    ratio = _sizes(values, labels) * len(labels) / (_sizes(values) * _sizes(labels))
    statistic, spread = 2 * float(np.log(ratio).sum()), 2 / (9 * free)
    normal = ((statistic / free) ** (1 / 3) - 1 + spread) / math.sqrt(spread)
    return bool(normal > NORMAL)


def _explained(given: Codes, wanted: Codes, folds: Codes) -> float:
    """The share of the cross-entropy of ``wanted`` that ``given`` removes, at most 1."""

    def others(*keys: Codes) -> Codes:
        """For each row, how many rows of other folds have its keys."""
        return _sizes(*keys) - _sizes(*keys, folds)

    kinds = int(wanted.max()) + 1
    seen = len(folds) - _sizes(folds)
    base = (others(wanted) + SMOOTHING / kinds) / (seen + SMOOTHING)
    told = (others(given, wanted) + SMOOTHING * base) / (others(given) + SMOOTHING)
    return float(1 - np.log(told).sum() / np.log(base).sum())


def _held(given: Codes, wanted: Codes) -> float:
    """The largest share of a kind of ``wanted`` under values of ``given`` that always have it."""
    both, of_given, of_wanted = _sizes(given, wanted), _sizes(given), _sizes(wanted)
    share, chance = both / of_given, of_wanted / len(wanted)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - chance)), 0.0)
    evidence = of_given * (share * np.log(share / chance) + rest)
    pure = (1 - share <= PURE * (1 - chance)) & (evidence >= EVIDENCE)
    return float((np.bincount(wanted, pure) / np.bincount(wanted)).max())


def _sizes(*keys: Codes) -> Codes:
    """For each row, how many rows have its keys."""
    joined = keys[0]
    for key in keys[1:]:
        joined = joined * (key.max() + 1) + key
        if joined.max() > 4 * len(joined):
            joined = np.unique(joined, return_inverse=True)[1]
    return np.bincount(joined)[joined]
