"""What a model decides about judged images at an operating point: referred, missed, spared."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import clustered_share
from skinxai.errors import DatasetError, OptionError
from skinxai.results import Decisions, Figure, Tally
from skinxai.trust.deciding import ABSTAIN, REFER, ROUTINE
from skinxai.trust.operating_points import OperatingPoint, Rate

Bools = npt.NDArray[np.bool_]


def decisions(
    decided: Sequence[str], malignant: npt.ArrayLike, lesions: Sequence[str],
    point: OperatingPoint, *, default: bool = False,
) -> Decisions:  # fmt: skip
    """Count what is decided about images whose classes are known.

    Raises:
        DatasetError: no image, or arguments of different lengths.
        OptionError: a decision that is none.
    """
    kind = np.asarray(malignant, np.bool_)
    if not len(kind) or not len(kind) == len(decided) == len(lesions):
        raise DatasetError(
            f"decided, malignant and lesions must have one length > 0, got {len(decided)}, "
            f"{len(kind)} and {len(lesions)}."
        )
    if wrong := sorted(set(decided) - {REFER, ROUTINE, ABSTAIN}):
        raise OptionError(f"a decision must be {REFER!r}, {ROUTINE!r} or {ABSTAIN!r}, got {wrong}.")
    own = np.asarray(decided)
    names = np.asarray(lesions)
    referred, routine, abstained = (own == word for word in (REFER, ROUTINE, ABSTAIN))
    everything = np.ones(len(kind), np.bool_)
    caught = np.isin(names, names[kind & ~routine])
    first = np.zeros(len(kind), np.bool_)
    first[np.unique(names[kind], return_index=True)[1]] = True  # of each malignant lesion
    return Decisions(
        rule=point.rule,
        threshold=point.threshold,
        default=default,
        referred=_tally(referred, everything, names),
        missed=_tally(routine, kind, names),
        missed_lesions=_tally(~caught[kind], first[: kind.sum()], names[kind]),
        spared=_tally(routine, ~kind, names),
        abstained=_tally(abstained, everything, names),
        sensitivity=_by_lesion(referred, kind & ~abstained, names),
        specificity=_by_lesion(routine, ~kind & ~abstained, names),
        calibrated_sensitivity=_figure(point.sensitivity),
        calibrated_specificity=_figure(point.specificity),
    )


def _tally(hits: Bools, among: Bools, lesions: npt.NDArray[np.str_]) -> Tally:
    own = hits[among]
    return Tally(int(own.sum()), len(own), clustered_share(own, lesions[among].tolist()))


def _by_lesion(hits: Bools, among: Bools, lesions: npt.NDArray[np.str_]) -> Figure:
    """Share of the lesions that are hits, each counting once; its images count in part."""
    if not among.any():
        return Figure(*[float("nan")] * 3)
    _, member, sizes = np.unique(lesions[among], return_inverse=True, return_counts=True)
    hit = float((hits[among] / sizes[member]).sum())
    return _figure(Rate.of(min(hit, len(sizes)), len(sizes)))


def _figure(rate: Rate) -> Figure:
    return Figure(rate.value, rate.low, rate.high)


def at_each_point(
    predictions: Iterable[tuple[str | None, float | None]], points: Sequence[OperatingPoint]
) -> list[list[str]]:
    """The decisions that `Classifier.predict` makes at each point, from its answers at one of them.

    What speaks against an image does so at every point; only the threshold differs.
    """
    given = list(predictions)
    return [
        [
            ABSTAIN if word == ABSTAIN else REFER if point.refers(float(score or 0.0)) else ROUTINE
            for word, score in given
        ]
        for point in points
    ]
