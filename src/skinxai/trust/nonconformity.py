"""Nonconformity scores: how badly a class fits an image's probabilities. Higher fits worse."""

import numpy as np
import numpy.typing as npt

from skinxai.trust.probability_rows import Floats

METHODS = ("lac", "aps", "raps")
MILLION = 1_000_000
"""Scores are whole millionths: small in JSON, and equal wherever rounding errors differ."""


def nonconformity(
    probabilities: Floats, method: str, penalty: float = 0.0, free_classes: int = 0
) -> npt.NDArray[np.int64]:
    """Score of every class for every image, in millionths.

    * ``"lac"``: ``1 − p_y`` (Sadinle, Lei & Wasserman, J. Am. Stat. Assoc. 114, 2019).
    * ``"aps"``: the sum of all probabilities above ``p_y`` (Romano, Sesia & Candès, NeurIPS 2020,
      with its random variable fixed at 0, so that one image has one answer and the top class has
      the score 0). Fixed at 1, which adds ``p_y``, the surest images would have empty sets.
    * ``"raps"``: that, plus ``penalty`` for each class beyond the ``free_classes`` most probable
      (Angelopoulos et al., ICLR 2021, with the random variable fixed at 0 as well).

    Classes of equal probability have equal scores: the order of the classes changes nothing.
    A score is rounded to the nearest millionth, for calibration and for new images alike. So it is
    still one fixed function of image and class, which is all that the guarantee asks of it.

    Returns:
        ``(N, K)``, ≥ 0.
    """
    if method == "lac":
        return np.rint((1 - probabilities) * MILLION).astype(np.int64)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ranked = np.take_along_axis(probabilities, order, axis=1)
    starts = np.zeros(ranked.shape, np.int64)
    starts[:, 1:] = np.where(ranked[:, 1:] < ranked[:, :-1], np.arange(1, ranked.shape[1]), 0)
    more_probable = np.maximum.accumulate(starts, axis=1)  # how many classes, (N, K)
    sums = np.cumsum(np.pad(ranked, ((0, 0), (1, 0))), axis=1)
    scores = np.take_along_axis(sums, more_probable, axis=1)
    if method == "raps":
        scores = scores + penalty * np.maximum(more_probable + 1 - free_classes, 0)
    found = np.empty(ranked.shape, np.int64)
    np.put_along_axis(found, order, np.rint(scores * MILLION).astype(np.int64), axis=1)
    return found
