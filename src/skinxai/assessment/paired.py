"""Two models on the same images: paired differences, and McNemar's test on lesions."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.calibration_errors import BinnedGaps, classwise, equal_mass, equal_width
from skinxai.assessment.evaluating import checked
from skinxai.assessment.figure_rows import FigureRows
from skinxai.assessment.intervals import clustered_bootstrap, with_width
from skinxai.errors import DatasetError
from skinxai.labels import LabelSet
from skinxai.results import Comparison, Figure, McNemar, PairedFigure, SeenImages

COMPARED = (
    "accuracy", "balanced accuracy", "macro-F1", "Brier score", "malignant AUC",
    "malignant partial AUC", "recall", "precision", "F1", "AUC",
)  # fmt: skip
ERRORS = {
    "calibration error": equal_width,
    "calibration error, equal-mass bins": equal_mass,
    "calibration error, class-wise": classwise,
}


def compare_probabilities(
    target: Sequence[int], probabilities: npt.ArrayLike, against: npt.ArrayLike,
    lesions: Sequence[str], labels: LabelSet, *, name: str, leaked: bool = False,
    seen: SeenImages | None = None, resamples: int = 2000, seed: int = 0,
) -> Comparison:  # fmt: skip
    """Compare the answers of two models to the same images.

    Args:
        target: ``(N,)``, class positions.
        probabilities: ``(N, K)`` of the model that is judged.
        against: ``(N, K)`` of the other one.
        lesions: each image's lesion, the unit of the bootstrap, which draws the same for both.
        labels: the label set.
        name: of the other model.
        leaked: whether the other one was trained on these images.
        seen: which of them it was trained on.
        resamples: of the bootstrap.
        seed: of the resampling.

    Returns:
        Percentile intervals of the differences; of calibration errors, whose few images add to
        both, intervals of the basic bootstrap, widened to the difference itself where chance adds
        more to one of them. NaN where a figure is not defined, and NaN ends where a bootstrap over
        lesions knows none, see `FigureRows.figure`; without a difference 0 for equal answers.

    Raises:
        DatasetError: arguments of different lengths, or one lesion, which has no interval.
        DatasetLabelError: a class position that is none.
        InputShapeError: probabilities that are not ``(N, K)``.
        InputRangeError: a row of probabilities that is not finite, or no distribution.
    """
    truth, own = checked(target, probabilities, lesions, labels)
    other = checked(target, against, lesions, labels)[1]
    if len(set(lesions)) < 2:
        raise DatasetError("a comparison needs images of at least two lesions, got one.")
    both = FigureRows(truth, own, labels), FigureRows(truth, other, labels)
    low, high = clustered_bootstrap(
        lambda rows: both[0](rows) - both[1](rows), lesions, resamples=resamples, seed=seed
    )
    everything, names = np.arange(len(truth)), np.asarray(lesions)
    found, nan = {}, float("nan")
    rows = np.stack([both[0](everything), both[1](everything), low, high], axis=1).tolist()
    for key, (first, second, *ends) in zip(both[0].names, rows, strict=True):
        if key[0] in COMPARED:
            gap = Figure(first - second, *ends)
            if any(each.lone(key, names) for each in both):
                gap = Figure(gap.value, nan, nan)
            elif not np.array_equal(own, other):
                gap = with_width(gap)
            found[" of ".join(filter(None, key))] = PairedFigure(first, second, gap)
    for shown, sort in ERRORS.items():
        pair = (sort(truth, own), sort(truth, other))
        found[shown] = _errors(pair, lesions, resamples, seed)
    order = sorted(found, key=lambda shown: " of " in shown)
    return Comparison(
        against=name,
        figures={shown: found[shown] for shown in order},
        mcnemar=mcnemar(own.argmax(axis=1) == truth, other.argmax(axis=1) == truth, lesions),
        leaked=leaked,
        seen=seen or SeenImages(),
    )


def mcnemar(right: npt.ArrayLike, against: npt.ArrayLike, lesions: Sequence[str]) -> McNemar:
    """Exact McNemar test on lesions; see `skinxai.results.McNemar`.

    Args:
        right: bool ``(N,)``, whether the model that is judged has each image right.
        against: bool ``(N,)``, of the other one.
        lesions: each image's.

    Raises:
        DatasetError: no image, or arguments of different lengths.
    """
    first, second = np.asarray(right, np.int64), np.asarray(against, np.int64)
    if not len(first) or not len(first) == len(second) == len(lesions):
        raise DatasetError(
            f"right, against and lesions must have one length > 0, got {len(first)}, "
            f"{len(second)} and {len(lesions)}."
        )
    member = np.unique(np.asarray(lesions), return_inverse=True)[1]
    lead = np.zeros(int(member.max()) + 1, np.int64)
    np.add.at(lead, member, first - second)
    better, worse = int((lead > 0).sum()), int((lead < 0).sum())
    fewer, count = min(better, worse), better + worse
    tail = sum(math.comb(count, k) for k in range(fewer + 1))
    return McNemar(better, worse, min(1.0, 2 * tail / 2**count))


def _errors(
    pair: tuple[BinnedGaps, BinnedGaps], lesions: Sequence[str], resamples: int, seed: int
) -> PairedFigure:
    sums = []
    for each in pair:
        own, drawn = each.resampled(lesions, resamples, seed)  # the same lesions for both
        sums.append((float(np.abs(own).sum()), np.abs(drawn).sum(axis=1)))
    (first, firsts), (second, seconds) = sums
    value, differences = first - second, np.asarray(firsts - seconds, np.float64)
    low, high = (2 * value - float(np.percentile(differences, end)) for end in (97.5, 2.5))
    ends = max(-1.0, min(value, low)), min(1.0, max(value, high))
    return PairedFigure(first, second, Figure(value, *ends))
