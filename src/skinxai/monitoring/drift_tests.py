"""`DriftTests`: every test of a window against a reference, with one rate of false alarms.

How large the statistics become while nothing drifts is measured: windows are drawn from the
reference itself, as whole lesions, and compared with the rest of it. The largest statistic over
all tests and looks of such a stretch gives one limit for all of them (Westfall & Young,
Resampling-based multiple testing, 1993, single step).
"""

import math

import numpy as np
import numpy.typing as npt

from skinxai.errors import OptionError
from skinxai.monitoring.drift_report import DriftRow
from skinxai.monitoring.measured_series import CLASSES, EMBEDDING, SERIES, TESTS, top_classes
from skinxai.monitoring.stretches import Plan, Stretches
from skinxai.monitoring.two_samples import (
    SMALLEST,
    ThreeMoments,
    chi_square_limit,
    chi_square_p_values,
    chi_squares,
    class_groups,
    gaussian_kernel,
    ks_distance,
    ks_limit,
    ks_p_values,
    median_distance,
    squared_mmd,
)
from skinxai.numeric import plain, whole_seed
from skinxai.trust.reference_sample import Columns, ReferenceSample

Doubles = npt.NDArray[np.float64]
LEAST_RATE = 0.001
TAIL = 20
"""Stretches of those that are drawn which raise a false alarm."""


class DriftTests:
    """Every test of a window against a reference; shared by threads, changed by none.

    Args:
        reference: what the images look like while nothing drifts.
        window: images in a window.
        false_alarms: probability that any test raises an alarm at any look while ``window``
            images come that are like the reference's, 0.001 to 0.5. It holds on average over
            references, and for images that are as clustered by lesion as the reference's.
        seed: of the windows that are drawn.

    Raises:
        OptionError: a window, a rate or a seed outside its range.
    """

    def __init__(
        self, reference: ReferenceSample, window: int = 100, false_alarms: float = 0.01, *,
        seed: int = 0,
    ) -> None:  # fmt: skip
        window, false_alarms, seed = plain(window), plain(false_alarms), whole_seed(seed)
        self.plan = Plan(window, len(reference))
        self.plan.check()
        if type(false_alarms) not in (int, float) or not LEAST_RATE <= false_alarms <= 0.5:
            raise OptionError(
                f"false_alarms must be from {LEAST_RATE:g} to 0.5, got {false_alarms!r}."
            )
        self.reference, self.false_alarms = reference, float(false_alarms)
        self._series = {name: each.values(reference) for name, each in SERIES.items()}
        self._sorted = {name: np.sort(values) for name, values in self._series.items()}
        self._classes = top_classes(reference)
        shares = np.bincount(self._classes, minlength=reference.classes) / len(reference)
        self._groups = class_groups(shares, window)
        self._points = reference.embeddings.astype(np.float64)
        self._width = median_distance(self._points)
        kernel = gaussian_kernel(self._points, self._points, self._width)
        self._within = float(kernel.sum())
        self._moments = ThreeMoments(0.0, 1.0, 0.0)
        self._most = self._drawn(kernel, np.random.default_rng(seed))

    @property
    def draws(self) -> int:
        """Stretches that are drawn from the reference."""
        return max(199, math.ceil(TAIL / self.false_alarms) - 1)

    def rows(self, seen: Columns) -> tuple[DriftRow, ...]:
        """Every test of a window.

        Args:
            seen: as many images as the window has.

        Raises:
            OptionError: another number of images, or images of another model.
        """
        window, images = self.plan.window, self.plan.images
        if len(seen.novelty) != window:
            raise OptionError(f"a window must have {window} images, got {len(seen.novelty)}.")
        found = self._statistics(seen)
        values = np.array([[found[name] for name in TESTS]])
        scores = self._scores(values, images)[0]
        threshold = self._most[self._place()]
        limits = self._limits(10.0 ** -float(threshold))
        above = len(self._most) - np.searchsorted(self._most, scores, side="left")
        p_values = (1 + above) / (len(self._most) + 1)
        series = {name: SERIES[name].values(seen) for name in SERIES}
        return tuple(
            DriftRow(
                name, words, found[name], limits[name], float(p_value),
                bool(p_value <= self.false_alarms and np.isfinite(limits[name])),
                float(series[name].mean()) if name in series else None,
                float(self._series[name].mean()) if name in series else None,
            )
            for (name, words), p_value in zip(TESTS.items(), p_values, strict=True)
        )  # fmt: skip

    def _place(self) -> int:
        """Of the limit among the sorted largest scores: above it the p-value is small enough."""
        return math.ceil(round((len(self._most) + 1) * (1 - self.false_alarms), 9)) - 1

    def _statistics(self, seen: Columns) -> dict[str, float]:
        window, images = self.plan.window, self.plan.images
        points = self.reference.along(seen.embeddings)
        found = {
            EMBEDDING: float(
                squared_mmd(
                    gaussian_kernel(points, points, self._width).sum(), self._within,
                    gaussian_kernel(points, self._points, self._width).sum(), window, images,
                )
            ),
            CLASSES: float(
                chi_squares(self._counts(top_classes(seen)), self._counts(self._classes))[0]
            ),
        }  # fmt: skip
        return found | {
            name: ks_distance(SERIES[name].values(seen), known)
            for name, known in self._sorted.items()
        }

    def _counts(self, classes: npt.NDArray[np.intp]) -> Doubles:
        groups = int(self._groups.max()) + 1
        return np.bincount(self._groups[classes], minlength=groups)[None].astype(np.float64)

    def _drawn(self, kernel: Doubles, draws: np.random.Generator) -> Doubles:
        """The largest score of each stretch that is drawn, sorted."""
        stretches = Stretches(
            self.plan, self.reference.lesions, kernel, self._groups[self._classes], self._series
        )
        found = stretches.drawn(self.draws, draws)  # (draws, LOOKS, tests)
        rest = self.plan.rest
        self._moments = ThreeMoments.of(self._scale(rest) * found[..., 0].ravel())
        return np.sort(self._scores(found, rest).max(axis=(1, 2)))

    def _scale(self, images: int) -> float:
        window = self.plan.window
        return window * images / (window + images)

    def _scores(self, found: Doubles, images: int) -> Doubles:
        """Statistics ``(…, tests)`` as ``-log10`` of p-values, which can be compared."""
        window = self.plan.window
        p_values = ks_p_values(found, window, images)
        p_values[..., 0] = self._moments.p_values(self._scale(images) * found[..., 0])
        groups = int(self._groups.max()) + 1
        p_values[..., 1] = chi_square_p_values(found[..., 1], groups)
        return -np.log10(p_values)

    def _limits(self, p_value: float) -> dict[str, float]:
        window, images = self.plan.window, self.plan.images
        p_value = max(p_value, SMALLEST)
        return dict.fromkeys(SERIES, ks_limit(p_value, window, images)) | {
            EMBEDDING: self._moments.limit(p_value) / self._scale(images),
            CLASSES: chi_square_limit(p_value, int(self._groups.max()) + 1),
        }
