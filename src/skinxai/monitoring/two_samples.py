"""Statistics of two samples, a window and a reference, and how likely each is by chance.

The p-values here take images for independent. They only put different statistics on one scale: an
alarm is raised by `skinxai.monitoring.drift_tests`, which draws windows from the reference.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import kolmogi, kolmogorov

Doubles = npt.NDArray[np.float64]
SMALLEST = 1e-300
"""The smallest p-value; below it only the statistics themselves tell two windows apart."""
FEWEST = 5.0
"""Images of a class that are expected in a window, at least; rarer classes count as one."""


def ks_distance(window: npt.NDArray[Any], reference: npt.NDArray[Any]) -> float:
    """Two-sample Kolmogorov-Smirnov distance ``max |F_w - F_r|``.

    Between two values of the window, F_w is constant and F_r rises: the largest gap is at one of
    these values, or just below it. The reference is sorted.
    """
    own = np.sort(window)
    at, below = (
        np.searchsorted(own, own, side) / len(own)
        - np.searchsorted(reference, own, side) / len(reference)
        for side in ("right", "left")
    )
    return float(max(np.abs(at).max(), np.abs(below).max()))


def ks_p_values(distances: npt.ArrayLike, window: int, reference: int) -> Doubles:
    """Asymptotic p-values of `ks_distance` (Smirnov, 1939), at least `SMALLEST`."""
    size = np.sqrt(window * reference / (window + reference))
    return np.asarray(
        np.maximum(kolmogorov(size * np.asarray(distances, np.float64)), SMALLEST), np.float64
    )


def ks_limit(p_value: float, window: int, reference: int) -> float:
    """The distance that has a p-value; the inverse of `ks_p_values`."""
    return float(kolmogi(p_value) / np.sqrt(window * reference / (window + reference)))


def squared_mmd(
    within_window: npt.ArrayLike, within_reference: npt.ArrayLike, across: npt.ArrayLike,
    window: int, reference: int,
) -> Doubles:  # fmt: skip
    """Unbiased estimate of the squared maximum mean discrepancy.

    Gretton et al., A kernel two-sample test, JMLR 13, 2012, eq. 3, of a kernel with k(x, x) = 1.

    Args:
        within_window: sums of the kernel over all pairs of a window's images, of an image with
            itself too.
        within_reference: the same of the reference.
        across: sums over pairs of one image of each.
        window: images in the window, at least 2.
        reference: images in the reference, at least 2.
    """
    own = (np.asarray(within_window) - window) / (window * (window - 1))
    other = (np.asarray(within_reference) - reference) / (reference * (reference - 1))
    return np.asarray(own + other - 2 * np.asarray(across) / (window * reference), np.float64)


def gaussian_kernel(first: Doubles, second: Doubles, width: float) -> Doubles:
    """``exp(-|x - y|² / (2 width²))``, ``(N, M)``."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1) - 2 * first @ second.T
    return np.asarray(np.exp(-np.maximum(squares, 0) / (2 * width**2)))


def median_distance(points: Doubles) -> float:
    """Median distance of two different points, the kernel's usual width; 1 where it is 0."""
    squares = (points**2).sum(axis=1)
    far = squares[:, None] + squares - 2 * points @ points.T
    above = far[np.triu_indices(len(points), 1)]
    return float(np.sqrt(max(np.median(above), 0))) or 1.0


@dataclass(frozen=True)
class ThreeMoments:
    """A distribution by its first three moments, Pearson's type III.

    Args:
        mean: of it.
        deviation: its standard deviation, > 0.
        skewness: of it.
    """

    mean: float
    deviation: float
    skewness: float

    @classmethod
    def of(cls, values: Doubles) -> Self:
        """Of a sample."""
        deviation = float(values.std())
        if deviation == 0:  # nothing differs
            return cls(float(values.mean()), 1.0, 0.0)
        return cls(float(values.mean()), deviation, float(stats.skew(values)))

    def p_values(self, values: npt.ArrayLike) -> Doubles:
        """How likely a value at least as large is, at least `SMALLEST`."""
        scaled = (np.asarray(values, np.float64) - self.mean) / self.deviation
        return np.asarray(
            np.maximum(stats.pearson3.sf(scaled, self.skewness), SMALLEST), np.float64
        )

    def limit(self, p_value: float) -> float:
        """The value that has a p-value."""
        return float(self.mean + self.deviation * stats.pearson3.isf(p_value, self.skewness))


def class_groups(shares: Doubles, window: int) -> npt.NDArray[np.intp]:
    """Group of each class, so that `FEWEST` images of each group are expected in a window.

    The rarest classes are put together until they are enough.

    Args:
        shares: of each class in the reference, ``(K,)``, sum 1.
        window: images in it.

    Returns:
        Numbers from 0 on, ``(K,)``; all 0 where the window is too small for two groups.
    """
    expected = shares * window
    groups = [[int(k)] for k in np.argsort(expected, kind="stable")]
    while len(groups) > 1 and expected[groups[0]].sum() < FEWEST:
        first = groups.pop(0)
        groups[0] = first + groups[0]
        groups.sort(key=lambda own: float(expected[own].sum()))
    found = np.zeros(len(shares), np.intp)
    for number, own in enumerate(groups):
        found[own] = number
    return found


def chi_squares(window: Doubles, reference: Doubles) -> Doubles:
    """Pearson's statistic of homogeneity, of the counts of two samples.

    Args:
        window: counts ``(B, G)`` of each window.
        reference: counts ``(B, G)`` of the sample each is compared with.

    Returns:
        float64 ``(B,)``; a group without any image adds nothing.
    """
    both = window + reference
    total = both.sum(axis=1, keepdims=True)
    found = np.zeros(len(both))
    for own in (window, reference):
        expected = both * own.sum(axis=1, keepdims=True) / total
        gaps = (own - expected) ** 2
        found += np.divide(gaps, expected, np.zeros_like(gaps), where=expected > 0).sum(axis=1)
    return found


def chi_square_p_values(statistics: npt.ArrayLike, groups: int) -> Doubles:
    """Asymptotic p-values of `chi_squares`, at least `SMALLEST`; 1 for a single group."""
    values = np.asarray(statistics, np.float64)
    if groups < 2:
        return np.ones_like(values)
    return np.asarray(np.maximum(stats.chi2.sf(values, groups - 1), SMALLEST), np.float64)


def chi_square_limit(p_value: float, groups: int) -> float:
    """The statistic that has a p-value; infinite for a single group."""
    return float(stats.chi2.isf(p_value, groups - 1)) if groups > 1 else float("inf")
