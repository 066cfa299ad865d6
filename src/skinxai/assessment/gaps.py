"""How far apart groups of images are, with intervals that know that chance makes groups differ."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import Floats, cluster_weights, clustered_share
from skinxai.assessment.subgroups import SMALLEST, groups
from skinxai.labels import LabelSet
from skinxai.results import Figure, Gap

Bools = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]


def gaps(
    target: Whole, predicted: Whole, lesions: Sequence[str],
    attributes: Sequence[Mapping[str, str]], labels: LabelSet, *, resamples: int = 500,
    seed: int = 0,
) -> tuple[Gap, ...]:  # fmt: skip
    """Compare the groups of each attribute, of those figures that do not hang on the classes' mix.

    Accuracy is compared all the same, since it is what most people ask for. A group takes part in
    a figure with at least 20 images that the figure is of: malignant ones for the malignant recall.

    Args:
        target: ``(N,)``, class positions.
        predicted: ``(N,)``, class positions.
        lesions: each image's lesion, the unit of the bootstrap, which draws from all groups.
        attributes: as in `skinxai.assessment.subgroups.subgroups`.
        labels: the label set.
        resamples: of the bootstrap.
        seed: of the resampling.

    Returns:
        For each attribute with at least two groups, and each figure with at least two of them;
        for images of one lesion without ends (NaN). Of groups that are all right or all wrong,
        the ends are from the widths of their `clustered_share` (as in Newcombe, 1998).
    """
    named = list(groups(attributes))
    if not named:
        return ()
    weights, member = cluster_weights(lesions, resamples, seed)
    several, each = weights.shape[1] > 1, np.asarray(lesions)
    weights = np.concatenate([np.ones((1, weights.shape[1])), weights])  # the images as they are
    found = []
    for attribute, values in named:
        for figure, among, right in _figures(target, predicted, labels):
            names = [name for name in dict.fromkeys(values.tolist()) if name]
            names = [n for n in names if (among & (values == n)).sum() >= SMALLEST]
            if len(names) > 1:
                parts = [among & (values == n) for n in names]
                shares = np.stack(
                    [_shares(weights, member, own, right) for own in parts], axis=1
                )  # (1 + R, G)
                alone = [clustered_share(right[own], each[own].tolist()) for own in parts]
                found.append(_gap(attribute, figure, names, shares, alone, several))
    return tuple(found)


def _figures(
    target: Whole, predicted: Whole, labels: LabelSet
) -> Iterator[tuple[str, Bools, Bools]]:
    """Each figure's name, the images that it is of, and which of them are right."""
    yield "accuracy", np.ones(len(target), np.bool_), target == predicted
    kinds = [labels.position(code) for code in labels if code in (labels.malignant or ())]
    if kinds:
        malignant, called = np.isin(target, kinds), np.isin(predicted, kinds)
        yield "malignant recall", malignant, called
        yield "benign recall", ~malignant, ~called


def _shares(weights: Floats, member: Whole, among: Bools, right: Bools) -> Floats:
    counts, hits = (
        weights @ np.bincount(member, chosen, weights.shape[1]) for chosen in (among, among & right)
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(hits / counts, np.float64)  # NaN where no image of the group was drawn


def _gap(
    attribute: str, figure: str, names: Sequence[str], shares: Floats, alone: Sequence[Figure],
    several: bool,
) -> Gap:  # fmt: skip
    own, drawn = shares[0], shares[1:]
    value = float(np.ptp(own))
    chance = float(np.percentile(_range(drawn - own), 97.5))  # the most that it adds, as of a range
    high = max(value, 2 * value - float(np.percentile(_range(drawn), 2.5)))
    if not chance:  # resamples have no other shares: of groups that are all right or all wrong
        *_, second, first = sorted(each.high - each.low for each in alone)
        chance, high = math.hypot(first, second), value + first
    ends = (max(0.0, value - chance), min(1.0, high)) if several else (math.nan, math.nan)
    return Gap(
        attribute, figure, names[int(own.argmax())], names[int(own.argmin())],
        Figure(value, *ends),
    )  # fmt: skip


def _range(values: Floats) -> Floats:
    """Largest minus smallest of each row, ``(R,)``, without NaN."""
    lost = np.isnan(values)
    high = np.where(lost, -np.inf, values).max(axis=1)
    low = np.where(lost, np.inf, values).min(axis=1)
    return np.asarray(np.where(lost.all(axis=1), 0.0, high - low), np.float64)
