"""Views of a known relief: the windows and small rotations that a copy of the image may show.

A relief is the cosine transform of an image's texture. What is seen of it through each of 49 views
is computed at a low resolution; a copy agrees with one of them in one of its eight orientations.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import numpy as np
import numpy.typing as npt

from skinxai.interruption import mapped
from skinxai.model_folders.reliefs import ORDERS, SPECTRUM, Reliefs, cosines

Floats = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]
"""``(2, 3)``: (x, y, 1) in the asked image → (x, y) in the known one, both from 0 to 1."""

WINDOW_SIDES = (1.0, 0.92, 0.84, 0.76)
MIN_AREA, OFFSET = 0.69, 0.06
ROTATIONS, ROTATED_SIDES = (-14.0, -7.0, 7.0, 14.0), (1.0, 0.84)
ASPECT = 4 / 3
"""Of photographs: a relief is square, and a rotation is not a rotation there."""
BLOCK = 32
"""Known reliefs that are compared at once.

The products in this module are so small that the linear algebra library starts no threads of its
own: on a busy machine they wait for each other and take ten times the processor time.
"""


@dataclass(frozen=True)
class Level:
    """A low-resolution copy of what is seen through each view.

    Args:
        chosen: which coefficients of a view are kept, ``(orders, orders)``.
        operators: from a relief's first coefficients to those, ``(49, D, inner * inner)``.
        inner: how many orders of the relief are used.
    """

    chosen: npt.NDArray[np.bool_]
    operators: Floats
    inner: int

    def asked(self, reliefs: Floats) -> Floats:
        """Of whole reliefs ``(..., 20, 20)``: unit vectors ``(..., D)``."""
        orders = len(self.chosen)
        return unit(reliefs[..., :orders, :orders][..., self.chosen])

    def known(self, reliefs: Floats) -> Floats:
        """What must be multiplied by `operators`, ``(N, inner * inner)``."""
        return reliefs[:, : self.inner, : self.inner].reshape(len(reliefs), -1)

    def views(self, reliefs: Floats) -> Floats:
        """Of known reliefs ``(N, 20, 20)`` through each view: unit vectors ``(49, N, D)``."""
        seen = self.operators @ self.known(reliefs).T  # (49, D, N)
        return unit(seen.transpose(0, 2, 1))


@cache
def _level(orders: int, highest: int, inner: int) -> Level:
    sums = np.add.outer(np.arange(orders), np.arange(orders))
    chosen = (sums > 2) & (sums <= highest)  # below is shading
    grid = (np.arange(32) + 0.5) / 32
    x, y = (each.ravel() for each in np.meshgrid(grid, grid))
    own, seen = cosines(grid, orders) / len(grid), SPECTRUM[:inner, :inner]
    project = np.einsum("iu,jv->uvij", own, own)[chosen].reshape(int(chosen.sum()), -1)
    project /= SPECTRUM[:orders, :orders][chosen][:, None]
    parts = project.reshape(len(project), -1, 16).swapaxes(0, 1)  # (64, D, 16)
    operators = []
    for view in affines():
        there = view[:, :2] @ np.stack([x, y]) + view[:, 2:]
        waves = np.einsum("pu,pv->puv", cosines(there[1], inner), cosines(there[0], inner))
        waves = (waves * seen).reshape(len(parts), 16, -1)  # (64, 16, inner * inner)
        operators.append((parts @ waves).sum(axis=0))
    return Level(chosen, np.asarray(operators, np.float32), inner)


@cache
def affines() -> tuple[Affine, ...]:
    """Windows of at least 69 % of the area, and rotations about the middle."""
    found = [
        np.array([[width, 0, left], [0, height, top]])
        for height, width in product(WINDOW_SIDES, WINDOW_SIDES)
        if height * width >= MIN_AREA
        for top, left in product(_offsets(height), _offsets(width))
    ]
    for angle, side in product(np.radians(ROTATIONS), ROTATED_SIDES):
        cosine, sine = np.cos(angle), np.sin(angle)
        turn = side * np.array([[cosine, -sine / ASPECT], [sine * ASPECT, cosine]])
        found.append(np.column_stack([turn, 0.5 - turn @ (0.5, 0.5)]))
    return tuple(found)


def _offsets(side: float) -> list[float]:
    count = max(1, round((1 - side) / OFFSET))
    return [(place + 0.5) * (1 - side) / count for place in range(count)]


@dataclass(frozen=True)
class Views:
    """Known reliefs through each view, as unit vectors in two halves by what a flip does to them.

    Args:
        even: coefficients whose two orders are both even or both odd, ``(49, N, d)``.
        mixed: the others, ``(49, N, D - d)``.
    """

    even: Floats
    mixed: Floats

    @classmethod
    def of(cls, known: Floats, pool: Executor | None = None) -> "Views":
        """Of known reliefs ``(N, 20, 20)``, by the threads of a pool or by this one."""
        level = coarse()
        is_even = _is_even(level)
        even, mixed = (
            np.empty((len(level.operators), len(known), int(half.sum())), np.float32)
            for half in (is_even, ~is_even)
        )

        def fill(start: int) -> None:
            block = slice(start, start + BLOCK)
            seen = level.views(known[block])  # (49, BLOCK, D)
            even[:, block], mixed[:, block] = seen[..., is_even], seen[..., ~is_even]

        each = map if pool is None else partial(mapped, pool)
        list(each(fill, range(0, len(known), BLOCK)))
        return cls(even, mixed)

    def in_any_orientation(
        self, asked: Reliefs, square: npt.NDArray[np.bool_], pool: Executor
    ) -> Floats:
        """Similarity of N known and M asked reliefs in the best view and orientation, ``(N, M)``.

        Rows and columns are exchanged where one of both images is about square; ``square`` says
        which of the known ones are.
        """
        found = self._flipped(asked.values, pool)
        turned = asked.values.transpose(0, 2, 1)
        if (own := asked.square).any():
            found[:, own] = np.maximum(found[:, own], self._flipped(turned[own], pool))
        if square.any() and not own.all():
            cells = np.ix_(square, ~own)
            part = Views(self.even[:, square], self.mixed[:, square])
            found[cells] = np.maximum(found[cells], part._flipped(turned[~own], pool))
        return found

    def _flipped(self, asked: Floats, pool: Executor) -> Floats:
        """Similarity in the best view and of the four flips, ``(N, M)``.

        A flip changes the signs of the odd orders of one direction. The four similarities are
        therefore ``ee + oo ± (eo + oe)`` and ``ee − oo ± (eo − oe)``, from half the products.
        """
        level = coarse()
        is_even = _is_even(level)
        signs = np.asarray((-1.0) ** np.nonzero(level.chosen)[0], np.float32)
        rows = level.asked(asked)
        rows = np.concatenate([rows, rows * signs])  # (2 M, D)
        even, mixed = (np.ascontiguousarray(rows[:, half].T) for half in (is_even, ~is_even))
        found = np.empty((self.even.shape[1], len(asked)), np.float32)

        def fill(start: int) -> None:
            block = slice(start, start + BLOCK)
            alike = np.abs(self.mixed[:, block] @ mixed)  # (49, BLOCK, 2 M)
            alike += self.even[:, block] @ even
            best = alike.max(axis=0)
            np.maximum(best[:, : len(asked)], best[:, len(asked) :], out=found[block])

        list(mapped(pool, fill, range(0, len(found), BLOCK)))
        return found

    def best(self, places: npt.NDArray[np.intp], turned: Floats) -> tuple[list[int], list[int]]:
        """Orientation and view in which each of some known reliefs, ``(C,)``, is most alike.

        ``turned`` is one relief in eight orientations.
        """
        level = coarse()
        is_even, rows = _is_even(level), level.asked(turned)
        alike = (
            self.even[:, places] @ rows[:, is_even].T + self.mixed[:, places] @ rows[:, ~is_even].T
        )
        flat = alike.transpose(1, 2, 0).reshape(len(places), -1).argmax(axis=1)  # (C, 8 * 49)
        orientation, view = np.divmod(flat, len(alike))
        return orientation.tolist(), view.tolist()


def coarse() -> Level:
    """What all pairs are compared by."""
    return _level(8, 10, 12)


def fine() -> Level:
    """What the most alike are compared by again."""
    return _level(11, 11, 12)


def _is_even(level: Level) -> npt.NDArray[np.bool_]:
    rows, columns = np.nonzero(level.chosen)
    return np.asarray((rows + columns) % 2 == 0)


def orientations(reliefs: Floats) -> Iterator[Floats]:
    """Reliefs ``(..., 20, 20)`` in eight orientations; rows and columns change in the last four."""
    signs = np.asarray((-1.0) ** np.arange(ORDERS), np.float32)
    exchanged = reliefs.swapaxes(-1, -2)
    for turned, up, across in product((reliefs, exchanged), (False, True), (False, True)):
        flipped = turned * signs[:, None] if up else turned
        yield flipped * signs if across else flipped


def unit(rows: Floats) -> Floats:
    """Rows of length 1, or of zeros."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)
