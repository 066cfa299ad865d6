"""How far probabilities are from shares that come true, over bins: three calibration errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import Floats, cluster_weights
from skinxai.results import Figure

BINS = 15


@dataclass(frozen=True)
class BinnedGaps:
    """Gaps between probabilities and what came true, each in a bin.

    Args:
        bins: int ``(N, M)``, the bin of each gap; of different columns different bins.
        probabilities: float ``(N, M)``.
        came: bool ``(N, M)``, whether each came true; no gap tells it where a probability of 1 did.
    """

    bins: npt.NDArray[np.int64]
    probabilities: Floats
    came: npt.NDArray[np.bool_]

    @property
    def gaps(self) -> Floats:
        """Probability minus 1 where it came true, else minus 0, ``(N, M)``."""
        return self.probabilities - self.came

    @property
    def error(self) -> float:
        """Sum over bins of the share of images times the mean gap's size, mean over columns."""
        return float(np.abs(np.bincount(self.bins.ravel(), self.gaps.ravel())).sum() / self._all)

    @property
    def _all(self) -> int:
        return self.bins.size

    def resampled(self, lesions: Sequence[str], resamples: int, seed: int) -> tuple[Floats, Floats]:
        """The mean gap of each bin as it is, ``(B,)``, and in each resample of lesions, ``(R, B)``.

        Both are weighted by the bin's share of images; the bins stay. Where all outcomes in a bin
        are alike, resamples have no others: there, outcomes are drawn from the probabilities, the
        same for all images of a lesion.
        """
        weights, member = cluster_weights(lesions, resamples, seed)
        columns, place = self.bins.shape[1], self.bins.ravel()
        sums = np.zeros((weights.shape[1], int(self.bins.max()) + 1))
        np.add.at(sums, (np.repeat(member, columns), place), self.gaps.ravel())
        counts = weights @ np.bincount(member)
        own, drawn = sums.sum(axis=0) / self._all, (weights @ sums) / (counts[:, None] * columns)
        images, hits = np.bincount(place), np.bincount(place, self.came.ravel())
        alike = (images > 0) & ((hits == 0) | (hits == images))
        some = alike[self.bins].any(axis=1)
        rows, bins, member = self.probabilities[some], self.bins[some].ravel(), member[some]
        ends, draws = np.cumsum(rows, axis=1), np.random.default_rng([seed, 1])
        for found in drawn if some.any() else ():
            level = draws.random(len(sums))[member][:, None]
            chance = rows - ((level < ends) & (level >= ends - rows))
            sizes = np.bincount(bins, chance.ravel(), len(own))
            found[alike] = own[alike] + sizes[alike] / self._all
        return own, drawn

    def figure(self, lesions: Sequence[str], *, resamples: int = 2000, seed: int = 0) -> Figure:
        """The error with a 95 % interval that covers what the error would be of many images.

        Few images make an error of their own, also of a model whose probabilities are exactly
        right, and a resample adds as much again, so that a percentile interval is too high. Here
        the low end is the error minus the 97.5th percentile of the sum of the bins' chance
        deviations, which is the most that chance can add (triangle inequality); the high end is
        that of the basic bootstrap (Davison & Hinkley, 1997, section 5.2). A low end of 0 means
        that chance alone may explain the error. With one lesion both ends are NaN.

        Args:
            lesions: each image's lesion, the unit of the bootstrap.
            resamples: of the bootstrap.
            seed: of the resampling.
        """
        own, drawn = self.resampled(lesions, resamples, seed)
        value = float(np.abs(own).sum())
        if len(set(lesions)) < 2:  # all resamples are alike
            return Figure(value, float("nan"), float("nan"))
        chance = np.percentile(np.abs(drawn - own).sum(axis=1), 97.5)
        low = np.percentile(np.abs(drawn).sum(axis=1), 2.5)
        high = min(1.0, 2 * value - float(low))  # no error is larger
        return Figure(value, max(0.0, value - float(chance)), max(value, high))


def equal_width(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = BINS
) -> BinnedGaps:
    """The top class's probability in bins of equal width over (0, 1] (Guo et al., ICML 2017).

    Args:
        target: int ``(N,)``.
        probabilities: float ``(N, K)``, rows sum to 1.
        bins: number of bins.
    """
    confidence, hit, place = calibration_bins(target, probabilities, bins)
    return BinnedGaps(place[:, None], confidence[:, None], hit[:, None])


def equal_mass(target: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = BINS) -> BinnedGaps:
    """The top class's probability in bins of equal numbers of images (Nixon et al., CVPRW 2019).

    Images of equal probability share a bin, so that their order decides nothing; bins differ in
    size by more than one image only where there are such.

    Args:
        target: int ``(N,)``.
        probabilities: float ``(N, K)``, rows sum to 1.
        bins: number of bins.
    """
    confidence, hit = _top(target, probabilities)
    below = np.searchsorted(np.sort(confidence), confidence)  # images that are less sure
    place = below * bins // len(below)
    return BinnedGaps(place[:, None], confidence[:, None], hit[:, None])


def classwise(target: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = BINS) -> BinnedGaps:
    """Each class's probability in bins of equal width, mean over classes (Kull et al., 2019).

    Args:
        target: int ``(N,)``.
        probabilities: float ``(N, K)``, rows sum to 1.
        bins: number of bins of each class.
    """
    scores = np.asarray(probabilities, np.float64)
    classes = np.arange(scores.shape[1])
    came = np.asarray(target)[:, None] == classes
    return BinnedGaps(_width_bins(scores, bins) + bins * classes, scores, came)


def expected_calibration_error(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = BINS
) -> float:
    """Mean gap between confidence and accuracy of the top class, 0–1, as `equal_width` bins it.

    Args:
        target: int ``(N,)``.
        probabilities: float ``(N, K)``, rows sum to 1.
        bins: number of bins.
    """
    return equal_width(target, probabilities, bins).error


def calibration_bins(
    target: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = BINS
) -> tuple[Floats, npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """What a reliability diagram of bins of equal width shows, image by image.

    Args:
        target: int ``(N,)``.
        probabilities: float ``(N, K)``, rows sum to 1.
        bins: number of bins.

    Returns:
        Each image's confidence, whether its answer is right, and its bin, each ``(N,)``.
    """
    confidence, hit = _top(target, probabilities)
    return confidence, hit, _width_bins(confidence, bins)


def _top(
    target: npt.ArrayLike, probabilities: npt.ArrayLike
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    scores = np.asarray(probabilities, np.float64)
    return scores.max(axis=1), scores.argmax(axis=1) == np.asarray(target)


def _width_bins(values: Floats, bins: int) -> npt.NDArray[np.int64]:
    return np.clip(np.ceil(values * bins).astype(np.int64) - 1, 0, bins - 1)
