"""Intervals for images of which some show the same lesion: whole lesions are drawn or counted."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from skinxai.numeric import whole, whole_seed
from skinxai.results import Figure
from skinxai.trust.operating_points import Rate

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
        resamples: number of resamples, >= 1.
        level: confidence level of the interval, 0–1.
        seed: seed of the draws, 0 to 2⁶³ − 1.

    Returns:
        Low and high end, each ``(S,)``. Resamples whose value is NaN are left out; if all are
        NaN, or there is one cluster, so that all resamples are alike, both ends are NaN.

    Raises:
        OptionError: resamples or a seed outside their ranges.
    """
    resamples, seed = whole("resamples", resamples), whole_seed(seed)
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
    known = ~np.isnan(found).all(axis=0) & (len(sizes) > 1)
    if known.any():
        low[known], high[known] = np.nanpercentile(found[:, known], [tail, 100 - tail], axis=0)
    return low, high


def with_width(figure: Figure, hits: npt.ArrayLike = (), clusters: Sequence[str] = ()) -> Figure:
    """A bootstrap's figure; if no resample had another value, of which it knows nothing.

    Args:
        figure: with an interval of `clustered_bootstrap`.
        hits: of a share, which then has the interval of `clustered_share`; none: NaN ends.
        clusters: each hit's.
    """
    if not figure.high - figure.low < 1e-12:
        return figure
    share = clustered_share(hits, clusters)
    return Figure(figure.value, share.low, share.high)


def mean_of_shares(
    figure: Figure, hits: npt.ArrayLike, classes: npt.ArrayLike, clusters: Sequence[str]
) -> Figure:
    """A mean over classes, of which a bootstrap takes some for certain.

    These are all right, all wrong, or of one lesion. The ends are moved by the widths of their
    `clustered_share`, as independent parts of the mean (Zou & Donner, Stat. Med. 27, 2008).

    Args:
        figure: with an interval of `clustered_bootstrap`.
        hits: bool ``(n,)``.
        classes: each image's, ``(n,)``.
        clusters: each image's.
    """
    own, place, names = np.asarray(hits), np.asarray(classes), np.asarray(clusters)
    kinds, down, up = np.unique(place), [figure.value - figure.low], [figure.high - figure.value]
    for kind in kinds:
        some = place == kind
        share = clustered_share(own[some], names[some].tolist())
        if share.value in (0, 1) or len(np.unique(names[some])) < 2:
            down.append((share.value - share.low) / len(kinds))
            up.append((share.high - share.value) / len(kinds))
    ends = figure.value - math.hypot(*down), figure.value + math.hypot(*up)
    return Figure(figure.value, *np.clip(ends, 0, 1).tolist())


def cluster_weights(
    clusters: Sequence[str], resamples: int, seed: int
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The draws of a bootstrap over clusters as numbers, for statistics that are sums.

    Args:
        clusters: each image's cluster, ``(N,)``.
        resamples: R.
        seed: of the draws.

    Returns:
        How often each of C clusters is drawn, ``(R, C)``, and each image's cluster, ``(N,)``.

    Raises:
        OptionError: resamples or a seed outside their ranges.
    """
    resamples, seed = whole("resamples", resamples), whole_seed(seed)
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(member.max()) + 1
    draws = np.random.default_rng(seed)
    drawn = draws.multinomial(count, np.full(count, 1 / count), size=resamples)
    return drawn.astype(np.float64), member


def clustered_share(hits: npt.ArrayLike, clusters: Sequence[str]) -> Figure:
    """The share of images that are hits, with a Wilson interval that minds the clusters.

    The interval is that of as many independent images as the clusters are worth: n divided by the
    design effect, the variance between clusters over that of independent images (Kish, 1965), at
    least as many as if all images of a cluster were equal, and at most n. Unlike a bootstrap it
    has a width where all images are hits, or none is.

    Args:
        hits: bool ``(n,)``.
        clusters: each image's cluster, ``(n,)``.

    Returns:
        NaN with NaN ends for no image.
    """
    own = np.asarray(hits, np.float64)
    if not len(own):
        return Figure(*[float("nan")] * 3)
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    share, sizes = float(own.mean()), np.bincount(member)
    least = len(own) ** 2 / float((sizes**2).sum())
    spread = share * (1 - share)
    worth = least
    if spread > 0 and len(sizes) > 1:
        between = float((np.bincount(member, own - share) ** 2).sum()) / len(own) ** 2
        between *= len(sizes) / (len(sizes) - 1)
        worth = float(np.clip(spread / between, least, len(own))) if between else float(len(own))
    rate = Rate.of(min(share * worth, worth), worth)
    return Figure(share, rate.low, rate.high)
