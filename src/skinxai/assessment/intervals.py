"""Bootstrap intervals that draw whole lesions, not images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def clustered_bootstrap(
    statistic: Callable[[npt.NDArray[np.int64]], Floats],
    clusters: Sequence[str],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Percentile intervals of a statistic when images of one lesion depend on each other.

    Each resample draws as many clusters as there are, with replacement, and takes all images of
    each (Field & Welsh, J. R. Stat. Soc. B 69, 2007: the randomised cluster bootstrap).

    Args:
        statistic: image positions ``(n,)`` → values ``(S,)``; NaN where it is not defined.
        clusters: each image's cluster, ``(N,)``.
        resamples: number of resamples.
        level: confidence level of the interval, 0–1.
        seed: seed of the draws.

    Returns:
        Low and high end, each ``(S,)``. Resamples whose value is NaN are left out; if all are
        NaN, both ends are NaN.
    """
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.argsort(member, kind="stable")
    starts = np.searchsorted(member[order], np.arange(member.max() + 2))
    sizes = np.diff(starts)
    draws = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = draws.integers(0, len(sizes), len(sizes))
        ends = np.cumsum(sizes[drawn])
        shift = np.repeat(starts[drawn] - ends + sizes[drawn], sizes[drawn])
        values.append(statistic(order[shift + np.arange(ends[-1])]))
    found, tail = np.stack(values), 100 * (1 - level) / 2
    low, high = np.full((2, found.shape[1]), np.nan)
    known = ~np.isnan(found).all(axis=0)
    low[known], high[known] = np.nanpercentile(found[:, known], [tail, 100 - tail], axis=0)
    return low, high
