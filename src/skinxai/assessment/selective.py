"""Selective prediction: how often a model is wrong where it answers only when it is surest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import Floats, clustered_bootstrap, with_width
from skinxai.errors import DatasetError, InputRangeError, InputShapeError, OptionError
from skinxai.plain_text import agreeing
from skinxai.results import Figure, ScoreComparison, SelectiveAnswers

COVERAGES = (0.95, 0.9, 0.8, 0.7, 0.5)
MOST_POINTS = 200


@dataclass(frozen=True)
class RiskCoverage:
    """Share of wrong answers among the surest images, for each number of images answered.

    Images of equal score have no order. Of those, the curve has what a random order gives on
    average, so that a score that is the same for all images has one risk at every coverage.

    Args:
        coverage: share of images answered, ``(N,)``, 1/N to 1.
        risk: share of wrong ones among them, ``(N,)``, 0–1.
    """

    coverage: Floats
    risk: Floats

    @property
    def aurc(self) -> float:
        """Mean risk over all coverages, 0–1, lower is better (Geifman et al., ICLR 2019)."""
        return float(self.risk.mean())

    @property
    def excess_aurc(self) -> float:
        """AURC above that of the best score for these answers, which puts all wrong ones last.

        0 is best. The best score's AURC is summed exactly; Geifman et al. have its limit for many
        images, ``r + (1 − r) ln(1 − r)`` with the risk r at full coverage.
        """
        images = len(self.risk)
        right = images - round(float(self.risk[-1]) * images)
        best = np.maximum(np.arange(1, images + 1) - right, 0) / np.arange(1, images + 1)
        return max(self.aurc - float(best.mean()), 0.0)

    def accuracy_at(self, coverage: float) -> float:
        """Accuracy among the surest images, as many as make at least this share of all.

        Args:
            coverage: in (0, 1].

        Raises:
            OptionError: another coverage.
        """
        if not 0 < coverage <= 1:
            raise OptionError(f"coverage must be in (0, 1], got {coverage!r}.")
        return float(1 - self.risk[_answered(coverage, len(self.risk)) - 1])


def risk_coverage(scores: npt.ArrayLike, right: npt.ArrayLike) -> RiskCoverage:
    """Risk at each coverage of a score that says how sure the model is.

    Args:
        scores: ``(N,)``, finite, higher is surer; give an uncertainty with a minus sign.
        right: bool ``(N,)``, whether the answer is right.

    Raises:
        InputShapeError: arrays of other shapes, or no images.
        InputRangeError: scores that are not finite, or ``right`` that is not boolean.
    """
    sure, hits = _checked(scores, right)
    return _curve(sure, ~hits)


def better_than_top_probability(
    scores: npt.ArrayLike,
    top_probability: npt.ArrayLike,
    right: npt.ArrayLike,
    lesions: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> ScoreComparison:
    """Compare a score with the plain top probability on the same images and answers.

    Args:
        scores: ``(N,)``, finite, higher is surer.
        top_probability: ``(N,)``, of the class that was answered.
        right: bool ``(N,)``, whether the answer is right.
        lesions: each image's lesion, the unit of the bootstrap.
        resamples: of the bootstrap.
        seed: of the resampling.

    Raises:
        InputShapeError: arrays of other shapes, or no images.
        InputRangeError: scores that are not finite, or ``right`` that is not boolean.
        DatasetError: not one lesion for each image, or only one lesion, which has no interval.
    """
    sure, hits = _checked(scores, right)
    top, _ = _checked(top_probability, right)
    if len(lesions) != len(hits) or len(set(lesions)) < 2:
        raise DatasetError(
            f"lesions must have one entry for each of {len(hits)} images, and at least two "
            f"different ones, got {len(lesions)}, of which {len(set(lesions))} "
            f"{agreeing(len(set(lesions)), 'is', 'are')} different."
        )
    wrong = ~hits

    def statistic(rows: npt.NDArray[np.int64]) -> Floats:
        own = _curve(sure[rows], wrong[rows]).aurc
        return np.array([own - _curve(top[rows], wrong[rows]).aurc])

    low, high = clustered_bootstrap(statistic, lesions, resamples=resamples, seed=seed)
    aurc, top_aurc = _curve(sure, wrong).aurc, _curve(top, wrong).aurc
    return ScoreComparison(aurc, top_aurc, Figure(aurc - top_aurc, float(low[0]), float(high[0])))


def selective_answers(
    top_probability: npt.ArrayLike,
    right: npt.ArrayLike,
    lesions: Sequence[str],
    scores: Mapping[str, npt.ArrayLike],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> SelectiveAnswers:
    """How often a model is right where it answers only its surest images.

    Args:
        top_probability: ``(N,)``, of the class that was answered.
        right: bool ``(N,)``, whether the answer is right.
        lesions: each image's lesion, the unit of the bootstrap.
        scores: other scores, higher is surer, which are compared with the top probability.
        resamples: of the bootstrap.
        seed: of the resampling.

    Raises:
        InputShapeError: as in `risk_coverage`.
        InputRangeError: as there.
        DatasetError: other scores, and not one lesion for each image, or only one lesion.
    """
    sure, hits = _checked(top_probability, right)

    def statistic(rows: npt.NDArray[np.int64]) -> Floats:
        own = _curve(sure[rows], ~hits[rows])
        return np.array([own.aurc, *(own.accuracy_at(coverage) for coverage in COVERAGES)])

    low, high = clustered_bootstrap(statistic, lesions, resamples=resamples, seed=seed)
    values = statistic(np.arange(len(hits)))
    figures = [Figure(*row) for row in np.stack([values, low, high], axis=1).tolist()]
    figures[0] = with_width(figures[0])
    order = np.argsort(-sure, kind="stable")
    for k, coverage in enumerate(COVERAGES, 1):
        own = order[: _answered(coverage, len(order))]
        figures[k] = with_width(figures[k], hits[own], [lesions[n] for n in own.tolist()])
    whole = _curve(sure, ~hits)
    shown = np.unique(np.linspace(0, len(hits) - 1, min(MOST_POINTS, len(hits))).astype(int))
    return SelectiveAnswers(
        curve=tuple(zip(whole.coverage[shown].tolist(), whole.risk[shown].tolist(), strict=True)),
        aurc=figures[0],
        accuracy_at={f"{c:.2f}": f for c, f in zip(COVERAGES, figures[1:], strict=True)},
        scores={
            name: better_than_top_probability(
                own, sure, hits, lesions, resamples=resamples, seed=seed
            )
            for name, own in scores.items()
        },
    )


def _answered(coverage: float, images: int) -> int:
    return math.ceil(coverage * images * (1 - 1e-12))


def _curve(sure: Floats, wrong: npt.NDArray[np.bool_]) -> RiskCoverage:
    order = np.argsort(-sure, kind="stable")
    ranked, errors = sure[order], wrong[order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    sizes = np.diff(np.r_[starts, len(ranked)])
    expected = np.repeat(np.add.reduceat(errors, starts) / sizes, sizes)  # within each tie
    answered = np.arange(1, len(ranked) + 1)
    return RiskCoverage(answered / len(ranked), np.cumsum(expected) / answered)


def _checked(scores: npt.ArrayLike, right: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.bool_]]:
    sure, hits = np.asarray(scores, np.float64), np.asarray(right)
    if sure.ndim != 1 or not len(sure) or sure.shape != hits.shape:
        raise InputShapeError(
            f"scores and right must have one value for each image, at least one, got the shapes "
            f"{sure.shape} and {hits.shape}."
        )
    if not np.isfinite(sure).all():
        place = int(np.flatnonzero(~np.isfinite(sure))[0])
        raise InputRangeError(f"scores must be finite, score {place} is {sure[place]}.")
    if hits.dtype != np.bool_:
        raise InputRangeError(f"right must be true or false for each image, got {hits.dtype}.")
    return sure, hits
