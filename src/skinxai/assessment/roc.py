"""ROC curves of one class against all others, and points on them."""

import numpy as np
import numpy.typing as npt

from skinxai.errors import InputRangeError
from skinxai.plain_text import counted

Floats = npt.NDArray[np.float64]


def roc_curve(positive: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both rates at every threshold, from the highest on; equal scores share one threshold.

    Args:
        positive: bool ``(N,)``, whether each image is of the class.
        scores: float ``(N,)``; a higher score speaks for the class.

    Returns:
        False and true positive rate, each ``(T + 1,)`` for T different scores, from 0 to 1; NaN
        if there are no images of the class, or no others.

    Raises:
        InputRangeError: a score that is NaN.
    """
    own = np.asarray(positive, np.bool_)
    _, place = np.unique(-known(scores), return_inverse=True)
    hits = np.concatenate([[0.0], np.cumsum(np.bincount(place, own))])
    alarms = np.concatenate([[0.0], np.cumsum(np.bincount(place, ~own))])
    with np.errstate(divide="ignore", invalid="ignore"):
        return alarms / alarms[-1], hits / hits[-1]


def known(scores: npt.ArrayLike) -> Floats:
    """Scores as float64, of which none is NaN, which has no place in any order."""
    found = np.asarray(scores, np.float64)
    if np.isnan(found).any():
        raise InputRangeError(
            f"scores must be numbers, got NaN in {counted(int(np.isnan(found).sum()), 'place')}."
        )
    return found


def rate_at(held: str, at_least: float, false_positive: Floats, true_positive: Floats) -> float:
    """The highest sensitivity (specificity) with at least this specificity (sensitivity).

    Args:
        held: the rate that is held, ``"specificity"`` or ``"sensitivity"``.
        at_least: the lowest value of that rate, 0–1.
        false_positive: false positive rate from `roc_curve`.
        true_positive: true positive rate from `roc_curve`.

    Returns:
        The other rate, 0–1; NaN where the curve is not defined.
    """
    if np.isnan(false_positive[-1]) or np.isnan(true_positive[-1]):
        return float("nan")
    specificity = 1 - false_positive
    if held == "specificity":
        return float(true_positive[specificity >= at_least].max())
    return float(specificity[true_positive >= at_least].max())


def area(false_positive: Floats, true_positive: Floats) -> float:
    """Area under the curve, 0–1; ties count half. NaN where the curve is not defined.

    Args:
        false_positive: false positive rate from `roc_curve`.
        true_positive: true positive rate from `roc_curve`.
    """
    return area_above(0.0, false_positive, true_positive)


def area_above(at_least: float, false_positive: Floats, true_positive: Floats) -> float:
    """Area between the curve and a sensitivity below it, as the ISIC 2024 challenge defines it.

    Args:
        at_least: the sensitivity, 0–1.
        false_positive: false positive rate from `roc_curve`.
        true_positive: true positive rate from `roc_curve`.

    Returns:
        0 to ``1 − at_least``; half the square of that by chance; NaN where the curve is not
        defined.
    """
    if np.isnan(false_positive[-1]) or np.isnan(true_positive[-1]):
        return float("nan")
    x, y = false_positive, true_positive
    rises = np.diff(y)
    left_out = np.clip((at_least - y[:-1]) / np.where(rises > 0, rises, 1.0), 0.0, 1.0)
    start = x[:-1] + left_out * np.diff(x)  # where each piece crosses the sensitivity
    return float((rises * (1 - left_out) * (1 - (start + x[1:]) / 2)).sum())


def thinned(
    false_positive: Floats, true_positive: Floats, most: int = 200
) -> tuple[tuple[float, float], ...]:
    """Points of a curve for drawing: its corners, or evenly spread ones of them if too many.

    Args:
        false_positive: false positive rate from `roc_curve`.
        true_positive: true positive rate from `roc_curve`.
        most: largest number of points, >= 2.

    Returns:
        Points of the curve, including both ends; empty where it is not defined.
    """
    points = np.stack([false_positive, true_positive], axis=1)  # (T + 1, 2)
    if np.isnan(points).any():
        return ()
    before, after = np.diff(points[:-1], axis=0), np.diff(points[1:], axis=0)
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    points = points[np.concatenate([[True], turns, [True]])]
    if len(points) > most:  # evenly along the way, which has length 2
        wanted = np.searchsorted(points.sum(axis=1), np.linspace(0, 2, most))
        points = points[np.unique(wanted)]
    return tuple((float(x), float(y)) for x, y in points)
