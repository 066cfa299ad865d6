"""`Stretches`: windows drawn from the reference itself, as if images came and nothing drifted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.errors import OptionError
from skinxai.monitoring.two_samples import chi_squares, squared_mmd

Doubles = npt.NDArray[np.float64]
LOOKS = 4
"""Looks at the window while as many images come as it holds."""
SMALLEST_WINDOW = 8
CHUNK = 50


@dataclass(frozen=True)
class Plan:
    """Sizes of a window.

    Args:
        window: images in it.
        images: in the reference.
    """

    window: int
    images: int

    @property
    def stride(self) -> int:
        """Images from one look to the next."""
        return math.ceil(self.window / LOOKS)

    @property
    def stretch(self) -> int:
        """Images that all looks of a stretch together see."""
        return self.window + (LOOKS - 1) * self.stride

    @property
    def rest(self) -> int:
        """Images of the reference that are in no stretch."""
        return self.images - self.stretch

    @property
    def looks(self) -> npt.NDArray[np.float64]:
        """Which images of a stretch each look sees, 0 or 1, ``(LOOKS, stretch)``."""
        places = np.arange(self.stretch) - np.arange(LOOKS)[:, None] * self.stride
        return ((places >= 0) & (places < self.window)).astype(np.float64)

    def check(self) -> None:
        """Refuse a window that the reference is too small for.

        Raises:
            OptionError: another window.
        """
        largest = largest_window(self.images)
        if not largest:
            raise OptionError(
                f"drift needs a reference of at least 28 images, got {self.images}; calibrate the "
                f"model on more images, or make a reference of your own with with_reference()."
            )
        if type(self.window) is not int or not SMALLEST_WINDOW <= self.window <= largest:
            raise OptionError(
                f"window must be an integer from {SMALLEST_WINDOW} to {largest} for a reference "
                f"of {self.images} images, got {self.window!r}."
            )


def largest_window(images: int) -> int:
    """Of a reference, half of which is left beside a stretch; 0 where it is too small for any.

    Args:
        images: in the reference.
    """
    windows = range(SMALLEST_WINDOW, images)
    return max((w for w in windows if Plan(w, images).stretch <= images // 2), default=0)


class Stretches:
    """Stretches of the reference's images, whole lesions in random order, against the rest of it.

    Args:
        plan: sizes.
        lesions: numbers that images of one lesion share, ``(n,)``.
        kernel: of the embeddings, ``(n, n)``.
        groups: group of each image's top class, ``(n,)``.
        series: name → values ``(n,)``.
    """

    def __init__(
        self, plan: Plan, lesions: npt.NDArray[np.int32], kernel: Doubles,
        groups: npt.NDArray[np.intp], series: Mapping[str, npt.NDArray[np.float32]],
    ) -> None:  # fmt: skip
        self._plan, self._kernel = plan, kernel
        self._lesions = np.unique(lesions, return_inverse=True)[1]
        self._totals = kernel.sum(axis=1)
        self._groups = np.eye(int(groups.max()) + 1)[groups]  # (n, G)
        self._ranks = []  # of each series: how many values are at most, and below, each
        for values in series.values():
            known = np.sort(values)
            self._ranks.append(
                np.stack([np.searchsorted(known, values, side) for side in ("right", "left")])
            )

    def drawn(self, count: int, draws: np.random.Generator) -> Doubles:
        """Statistics ``(count, LOOKS, tests)``, in the order of `TESTS`.

        Args:
            count: of stretches.
            draws: gives the order of the lesions.
        """
        found = []
        for start in range(0, count, CHUNK):
            keys = draws.random((min(CHUNK, count - start), int(self._lesions.max()) + 1))
            order = np.argsort(keys[:, self._lesions], axis=1, kind="stable")
            found.append(self.statistics(order[:, : self._plan.stretch]))
        return np.concatenate(found)

    def statistics(self, chosen: npt.NDArray[np.intp]) -> Doubles:
        """Statistics ``(count, LOOKS, tests)`` of stretches.

        Args:
            chosen: images of each stretch in order, ``(count, stretch)``.
        """
        found = [self._mmd(chosen), self._chi_squares(chosen)]
        found += [self._ks(ranks[:, chosen]) for ranks in self._ranks]
        return np.stack(found, axis=-1)

    def _mmd(self, chosen: npt.NDArray[np.intp]) -> Doubles:
        plan, looks = self._plan, self._plan.looks
        inside = self._kernel[chosen[:, :, None], chosen[:, None, :]]  # (count, L, L)
        seen = looks @ inside  # (count, LOOKS, L)
        totals = self._totals[chosen]
        across = totals @ looks.T - seen.sum(axis=2)
        others = self._totals.sum() - 2 * totals.sum(axis=1) + inside.sum(axis=(1, 2))
        within = (seen * looks).sum(axis=2)
        return squared_mmd(within, others[:, None], across, plan.window, plan.rest)

    def _chi_squares(self, chosen: npt.NDArray[np.intp]) -> Doubles:
        counts = self._groups[chosen]  # (count, L, G)
        seen = self._plan.looks @ counts
        rest = self._groups.sum(axis=0) - counts.sum(axis=1, keepdims=True)
        wide = seen.shape[2]
        found = chi_squares(
            seen.reshape(-1, wide), np.broadcast_to(rest, seen.shape).reshape(-1, wide)
        )
        return found.reshape(seen.shape[:2])

    def _ks(self, ranks: npt.NDArray[np.intp]) -> Doubles:
        """Distances ``(count, LOOKS)``, by the ranks ``(2, count, L)`` of the stretches' images.

        The largest gap is at a value of the stretch or just below one; see `ks_distance`.
        """
        plan = self._plan
        order = np.argsort(ranks[0], axis=1, kind="stable")
        at, below = (np.take_along_axis(each, order, axis=1) for each in ranks)
        seen = np.cumsum(plan.looks[:, order].transpose(1, 0, 2), axis=2) / plan.window
        places = np.arange(1, plan.stretch + 1)
        last = np.ones(at.shape, bool)  # of its ties
        last[:, :-1] = at[:, 1:] != at[:, :-1]
        first = np.roll(last, 1, axis=1)
        rest_at = (at - places) / plan.rest  # right where a value is the last of its ties
        rest_below = (below - (places - 1)) / plan.rest  # right where it is the first
        seen_below = np.concatenate([np.zeros_like(seen[:, :, :1]), seen[:, :, :-1]], axis=2)
        gaps = np.where(last[:, None], np.abs(seen - rest_at[:, None]), 0)
        earlier = np.where(first[:, None], np.abs(seen_below - rest_below[:, None]), 0)
        return np.asarray(np.maximum(gaps.max(axis=2), earlier.max(axis=2)), np.float64)
