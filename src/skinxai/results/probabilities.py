"""Logits to probabilities, and their mean: the one place where that is computed."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt


def from_logits(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Softmax, float64.

    Args:
        logits: ``(N, K)``.

    Returns:
        ``(N, K)``; a row of NaN where one of its logits is not finite.
    """
    wide = np.asarray(logits, np.float64)
    finite = np.isfinite(wide).all(axis=1, keepdims=True)
    wide = np.where(finite, wide, 0.0)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.where(finite, powers / powers.sum(axis=1, keepdims=True), np.nan)


def weighted_mean(
    weights: Iterable[float], values: Iterable[npt.NDArray[Any]]
) -> npt.NDArray[np.float64]:
    """Sum of weight times array, float64, in order.

    Args:
        weights: at least one.
        values: one array for each, of one shape.
    """
    pairs = zip(weights, values, strict=True)
    first, *others = [weight * np.asarray(array, np.float64) for weight, array in pairs]
    return np.asarray(sum(others, start=first), np.float64)
