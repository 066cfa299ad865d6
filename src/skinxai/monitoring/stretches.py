"""`Stretches`: windows drawn from the reference itself, as if images came and nothing drifted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.errors import OptionError
from skinxai.monitoring.two_samples import chi_squares, squared_mmd
from skinxai.plain_text import counted

Doubles = npt.NDArray[np.float64]
LOOKS = 4
"""Looks at the window while as many images come as it holds."""
SMALLEST_WINDOW = 8
CHUNK = 50


@dataclass(frozen=True)
class Plan:
    """Sizes of a window, of so many images, of a reference of so many."""

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

    @property
    def pieces(self) -> npt.NDArray[np.intp]:
        """First places of the pieces of a stretch, in which no look begins or ends, ``(P,)``."""
        begins = np.arange(LOOKS) * self.stride
        return np.unique([*begins, *begins + self.window])[:-1]

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
                f"window must be an integer from {SMALLEST_WINDOW} to {largest} for a reference of "
                f"{counted(self.images, 'image')}, got {self.window!r}."
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
            ranks = [np.searchsorted(known, values, side) for side in ("right", "left")]
            # Integers of 16 bits are sorted by their digits, several times as fast.
            self._ranks.append(np.array(ranks, np.min_scalar_type(len(values))))

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
        plan, pieces = self._plan, self._plan.pieces
        inside = np.stack([self._sums(each, pieces) for each in chosen])  # (count, P, P)
        totals = np.add.reduceat(self._totals[chosen], pieces, axis=1)
        looks = plan.looks[:, pieces]
        seen = looks @ inside  # (count, LOOKS, P)
        across = totals @ looks.T - seen.sum(axis=2)
        others = self._totals.sum() - 2 * totals.sum(axis=1) + inside.sum(axis=(1, 2))
        within = (seen * looks).sum(axis=2)
        return squared_mmd(within, others[:, None], across, plan.window, plan.rest)

    def _sums(self, stretch: npt.NDArray[np.intp], pieces: npt.NDArray[np.intp]) -> Doubles:
        """The kernel's sums over each two pieces of a stretch, ``(P, P)``."""
        inside = self._kernel[stretch][:, stretch]
        rows = np.add.reduceat(inside, pieces, axis=0)
        return np.asarray(np.add.reduceat(rows, pieces, axis=1), np.float64)

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
        places = np.arange(plan.stretch)
        rest_at = (at - (places + 1.0)) / plan.rest  # right where a value is the last of its ties
        rest_below = (below - places) / plan.rest  # right where it is the first
        differs = at[:, 1:] != at[:, :-1]
        seen = np.cumsum(plan.looks.take(order, axis=1), axis=2) / plan.window  # (LOOKS, count, L)
        gaps = np.abs(seen - rest_at)
        gaps[:, :, :-1] *= differs
        earlier = np.abs(seen[:, :, :-1] - rest_below[:, 1:]) * differs
        largest = np.maximum(gaps.max(axis=2), earlier.max(axis=2))
        return np.asarray(np.maximum(largest, rest_below[:, 0]).T, np.float64)
