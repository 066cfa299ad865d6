"""Decision curves: what referring by a model is worth against referring all or nobody."""

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import Floats

THRESHOLDS = tuple(round(0.02 * k, 2) for k in range(1, 26))
"""Malignant probabilities from which on somebody may want to refer: 0.02 to 0.50."""


def net_benefit(
    positive: npt.NDArray[np.bool_], referred: npt.NDArray[np.bool_], threshold: float
) -> float:
    """Net benefit of referring some images (Vickers & Elkin, Med. Decis. Making 26, 2006).

    A false alarm costs ``threshold / (1 − threshold)`` of what a hit is worth.
    """
    odds = threshold / (1 - threshold)
    return float(((positive & referred).mean() - odds * (~positive & referred).mean()).item())


def worth_of(positive: npt.NDArray[np.bool_], scores: Floats) -> Floats:
    """What each image adds to the net benefit at each of `THRESHOLDS`, ``(N, T)``.

    The mean over images is the net benefit of referring from each threshold on.
    """
    limits = np.asarray(THRESHOLDS)
    odds = limits / (1 - limits)
    referred = scores[:, None] >= limits
    return np.asarray(referred * np.where(positive[:, None], 1.0, -odds), np.float64)
