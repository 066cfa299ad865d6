"""Which reliefs of images show one image: turned, flipped, cropped or slightly rotated.

A relief is the cosine transform of an image's texture. Each known one is looked at through 49
views, the windows and rotations that a copy may show; a copy agrees with one of them in one of its
eight orientations. The most alike are then laid over each other by an affine transform (Evangelidis
and Psarakis, "Parametric image alignment using enhanced correlation coefficient maximization",
IEEE TPAMI 2008), and their correlation is the answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt

from skinxai.model_folders.reliefs import ORDERS, SPECTRUM, Reliefs, cosines

Floats = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]
"""``(2, 3)``: (x, y, 1) in the asked image → (x, y) in the known one, both from 0 to 1."""

WINDOW_SIDES = (1.0, 0.92, 0.84, 0.76)
MIN_AREA, OFFSET = 0.69, 0.06
ROTATIONS, ROTATED_SIDES = (-14.0, -7.0, 7.0, 14.0), (1.0, 0.84)
ASPECT = 4 / 3
"""Of photographs: a relief is square, and a rotation is not a rotation there."""
MANY, FEW, STEPS = 10, 3, 3
"""Known reliefs looked at again and laid over, and steps of an alignment at each resolution."""
MIN_SEEN, MIN_ALIKE, MARGIN, MIN_ALIGNED = 0.70, 0.64, 0.05, 0.65
"""Least similarity through a view, and of a pair to be aligned; most below the best pair; least at
half resolution.

These and the numbers above were chosen with 3,200 copies of training images, of which one in
a thousand is lost by these limits, and with the validation images, where they save time.
"""
BATCH, BLOCK = 64, 32
"""Asked and known reliefs that are compared at once.

The products in this module are so small that the linear algebra library starts no threads of its
own: on a busy machine they wait for each other and take ten times the processor time.
"""


def best_similarities(known: Reliefs, asked: Reliefs) -> Floats:
    """Correlation of each asked relief with the known one that fits best, ``(M,)``; −1: none.

    Args:
        known: N >= 1 reliefs.
        asked: M reliefs.
    """
    found = np.empty(len(asked.values), np.float32)
    count = min(MANY, len(known.values))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        views = _Views.of(known.values, pool)
        for start in range(0, len(found), BATCH):
            batch = asked[start : start + BATCH]
            alike = views.in_any_orientation(batch, known.square, pool)  # (N, m)
            best = np.argpartition(alike, -count, axis=0)[-count:]
            enough = np.take_along_axis(alike, best, axis=0) >= MIN_SEEN
            places = [own[kept] for own, kept in zip(best.T, enough.T, strict=True)]
            confirm = partial(_confirmed, known.values, views)
            found[start : start + BATCH] = list(pool.map(confirm, batch.values, places))
    return found


@dataclass(frozen=True)
class _Level:
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
        return _unit(reliefs[..., :orders, :orders][..., self.chosen])

    def known(self, reliefs: Floats) -> Floats:
        """What must be multiplied by `operators`, ``(N, inner * inner)``."""
        return reliefs[:, : self.inner, : self.inner].reshape(len(reliefs), -1)


@cache
def _level(orders: int, highest: int, inner: int) -> _Level:
    sums = np.add.outer(np.arange(orders), np.arange(orders))
    chosen = (sums > 2) & (sums <= highest)  # below is shading
    grid = (np.arange(32) + 0.5) / 32
    x, y = (each.ravel() for each in np.meshgrid(grid, grid))
    own, seen = cosines(grid, orders) / len(grid), SPECTRUM[:inner, :inner]
    project = np.einsum("iu,jv->uvij", own, own)[chosen].reshape(int(chosen.sum()), -1)
    project /= SPECTRUM[:orders, :orders][chosen][:, None]
    parts = project.reshape(len(project), -1, 16).swapaxes(0, 1)  # (64, D, 16)
    operators = []
    for view in _affines():
        there = view[:, :2] @ np.stack([x, y]) + view[:, 2:]
        waves = np.einsum("pu,pv->puv", cosines(there[1], inner), cosines(there[0], inner))
        waves = (waves * seen).reshape(len(parts), 16, -1)  # (64, 16, inner * inner)
        operators.append((parts @ waves).sum(axis=0))
    return _Level(chosen, np.asarray(operators, np.float32), inner)


@cache
def _affines() -> tuple[Affine, ...]:
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
class _Views:
    """Known reliefs through each view, as unit vectors in two halves by what a flip does to them.

    Args:
        even: coefficients whose two orders are both even or both odd, ``(49, N, d)``.
        mixed: the others, ``(49, N, D - d)``.
    """

    even: Floats
    mixed: Floats

    @classmethod
    def of(cls, known: Floats, pool: Executor) -> _Views:
        level = _coarse()
        is_even = _is_even(level)
        even, mixed = (
            np.empty((len(level.operators), len(known), int(half.sum())), np.float32)
            for half in (is_even, ~is_even)
        )

        def fill(start: int) -> None:
            block = slice(start, start + BLOCK)
            seen = level.operators @ level.known(known[block]).T  # (49, D, BLOCK)
            seen = _unit(seen.transpose(0, 2, 1))
            even[:, block], mixed[:, block] = seen[..., is_even], seen[..., ~is_even]

        list(pool.map(fill, range(0, len(known), BLOCK)))
        return cls(even, mixed)

    def in_any_orientation(
        self, asked: Reliefs, square: npt.NDArray[np.bool_], pool: Executor
    ) -> Floats:
        """Similarity in the best view and orientation, ``(N, M)``.

        Rows and columns are exchanged where one of both images is about square.

        Args:
            asked: M reliefs.
            square: which of the N known ones are of such images.
            pool: of threads.
        """
        found = self._flipped(asked.values, pool)
        turned = asked.values.transpose(0, 2, 1)
        if (own := asked.square).any():
            found[:, own] = np.maximum(found[:, own], self._flipped(turned[own], pool))
        if square.any() and not own.all():
            cells = np.ix_(square, ~own)
            part = _Views(self.even[:, square], self.mixed[:, square])
            found[cells] = np.maximum(found[cells], part._flipped(turned[~own], pool))
        return found

    def _flipped(self, asked: Floats, pool: Executor) -> Floats:
        """Similarity in the best view and of the four flips, ``(N, M)``.

        A flip changes the signs of the odd orders of one direction. The four similarities are
        therefore ``ee + oo ± (eo + oe)`` and ``ee − oo ± (eo − oe)``, from half the products.
        """
        level = _coarse()
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

        list(pool.map(fill, range(0, len(found), BLOCK)))
        return found

    def best(self, places: npt.NDArray[np.intp], turned: Floats) -> tuple[list[int], list[int]]:
        """Orientation and view in which each known relief is most alike.

        Args:
            places: of the known reliefs, ``(C,)``.
            turned: one relief in eight orientations.
        """
        level = _coarse()
        is_even, rows = _is_even(level), level.asked(turned)
        alike = (
            self.even[:, places] @ rows[:, is_even].T + self.mixed[:, places] @ rows[:, ~is_even].T
        )
        flat = alike.transpose(1, 2, 0).reshape(len(places), -1).argmax(axis=1)  # (C, 8 * 49)
        orientation, view = np.divmod(flat, len(alike))
        return orientation.tolist(), view.tolist()


def _coarse() -> _Level:
    return _level(8, 10, 12)


def _fine() -> _Level:
    return _level(11, 11, 12)


def _is_even(level: _Level) -> npt.NDArray[np.bool_]:
    rows, columns = np.nonzero(level.chosen)
    return np.asarray((rows + columns) % 2 == 0)


def _confirmed(known: Floats, views: _Views, asked: Floats, places: npt.NDArray[np.intp]) -> float:
    if not len(places):
        return -1.0
    turned = np.stack(list(_orientations(asked)))
    orientation, view = views.best(places, turned)
    level = _fine()
    seen = (level.operators[view] @ level.known(known[places])[..., None])[..., 0]  # (C, D)
    alike = np.einsum("cd,cd->c", _unit(seen), level.asked(turned)[orientation])
    best = -1.0
    least = max(MIN_ALIKE, float(alike.max()) - MARGIN)
    for row in np.argsort(-alike)[:FEW]:
        if alike[row] >= least:
            pair = (turned[orientation[row]], known[places[row]])
            best = max(best, _overlaid(*pair, _affines()[view[row]]))
    return best


def _orientations(relief: Floats) -> Iterator[Floats]:
    signs = np.asarray((-1.0) ** np.arange(ORDERS), np.float32)
    for turned, up, across in product((relief, relief.T), (False, True), (False, True)):
        flipped = turned * signs[:, None] if up else turned
        yield flipped * signs if across else flipped


def _overlaid(asked: Floats, known: Floats, affine: Affine) -> float:
    """Correlation after alignment, first of the coarse half of the relief, then of all."""
    similarity = -1.0
    for orders, side in ((12, 24), (ORDERS, 40)):
        waves = _waves(orders, side)
        top = np.asarray(waves @ asked[:orders, :orders] @ waves.T, np.float32)
        below = np.asarray(waves @ known[:orders, :orders] @ waves.T, np.float32)
        matrix = _in_pixels(affine, side)
        try:
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, STEPS, 1e-3)
            _, found = cv2.findTransformECC(
                top, below, matrix, cv2.MOTION_AFFINE, criteria, np.ones((side, side), np.uint8), 1
            )
        except cv2.error:  # it does not converge: another image
            return -1.0
        matrix = np.asarray(found, np.float32)
        similarity = _correlation(top, below, matrix)
        if similarity < MIN_ALIGNED:
            return similarity if orders == ORDERS else -1.0
        affine = _from_pixels(matrix, side)
    return similarity


def _correlation(top: Floats, below: Floats, matrix: Floats) -> float:
    """Where both are, without a margin, over at least 40 % of the asked relief."""
    side, margin = len(top), len(top) // 20
    moved = cv2.warpAffine(
        below, matrix, (side, side), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    )
    inside = cv2.warpAffine(
        np.ones_like(below), matrix, (side, side), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST
    ).astype(bool)
    inside[:margin] = inside[-margin:] = inside[:, :margin] = inside[:, -margin:] = False
    if inside.mean() < 0.4:
        return -1.0
    first, second = top[inside] - top[inside].mean(), moved[inside] - moved[inside].mean()
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / length if length > 0 else -1.0


@cache
def _waves(orders: int, side: int) -> Floats:
    return np.asarray(cosines((np.arange(side) + 0.5) / side, orders), np.float32)


def _in_pixels(affine: Affine, side: int) -> Floats:
    turn, move = affine[:, :2], affine[:, 2:]
    return np.asarray(np.hstack([turn, move * side + turn @ [[0.5], [0.5]] - 0.5]), np.float32)


def _from_pixels(matrix: Floats, side: int) -> Affine:
    turn, move = matrix[:, :2].astype(np.float64), matrix[:, 2:]
    return np.hstack([turn, (move - turn @ [[0.5], [0.5]] + 0.5) / side])


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)
