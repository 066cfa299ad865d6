"""Which reliefs of images show one image: turned, flipped, cropped or slightly rotated.

Each known relief is looked at through the views that a copy may show (`relief_views`). The most
alike are then laid over each other by an affine transform (`relief_overlay`), and their correlation
is the answer.
"""

import os
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from skinxai.interruption import mapped
from skinxai.model_folders.relief_overlay import overlaid
from skinxai.model_folders.relief_views import (
    BLOCK,
    Floats,
    Views,
    affines,
    coarse,
    fine,
    orientations,
    unit,
)
from skinxai.model_folders.reliefs import Reliefs

Ints = npt.NDArray[np.int32]

MANY, FEW = 10, 3
"""Known reliefs that are looked at again, and that are laid over."""
MIN_SEEN, MIN_ALIKE, MARGIN = 0.70, 0.64, 0.05
"""Least similarity through a view, and of a pair to be aligned; most below the best pair.

These, the numbers above and those of the alignment were chosen with 3,200 copies of training
images, of which one in a thousand is lost by these limits, and with the validation images, where
they save time.
"""
ALL_PAIRS, KNOWN = 4 * 10**9, 20_000
"""Pairs up to which all are compared, and reliefs that are worked on at once."""
TREES, NEAREST, CHECKS = 4, 8, 256
BATCH = 64
"""Asked reliefs that are compared at once."""


def best_similarities(
    known: Reliefs, asked: Reliefs, owners: tuple[Ints, Ints] | None = None,
    tell: Callable[[int], object] = lambda count: None,
) -> tuple[Floats, Ints]:  # fmt: skip
    """Correlation of each of M asked reliefs with the known one that fits best, and its place.

    Up to `ALL_PAIRS` pairs all are compared. Of more, trees choose which (`_from_trees`), so that
    time grows like n log n. Both results, ``(M,)``, are -1 where none of the N >= 1 known ones
    fits.

    Reliefs of one owner, of those of the known and of the asked ones, ``(N,)`` and ``(M,)``, are
    not compared. ``tell`` is told how many of the N * M pairs have been dealt with, again and
    again.
    """
    best = np.full(len(asked.values), -1, np.float32)
    place = np.full(len(asked.values), -1, np.int32)
    few = len(known.values) * len(asked.values) <= ALL_PAIRS
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(known.values), KNOWN if few else len(known.values)):
            some = known[start : start + KNOWN] if few else known
            own = None if owners is None else (owners[0][start:][: len(some.values)], owners[1])
            search = _from_all if few else _from_trees
            found, where = search(some, asked, own, pool, tell)
            better = found > best
            best[better], place[better] = found[better], where[better] + start
    return best, place


def _from_all(
    known: Reliefs, asked: Reliefs, owners: tuple[Ints, Ints] | None, pool: Executor,
    tell: Callable[[int], object],
) -> tuple[Floats, Ints]:  # fmt: skip
    best = np.empty(len(asked.values), np.float32)
    place = np.empty(len(asked.values), np.int32)
    count = min(MANY, len(known.values))
    views = Views.of(known.values, pool)
    for start in range(0, len(best), BATCH):
        some = slice(start, start + BATCH)
        batch = asked[some]
        alike = views.in_any_orientation(batch, known.square, pool)  # (N, m)
        if owners is not None:
            alike[owners[0][:, None] == owners[1][some]] = -1
        nearest = np.argpartition(alike, -count, axis=0)[-count:]
        enough = np.take_along_axis(alike, nearest, axis=0) >= MIN_SEEN
        places = [own[kept] for own, kept in zip(nearest.T, enough.T, strict=True)]
        confirm = partial(_confirmed, known.values, views)
        found = list(mapped(pool, confirm, batch.values, places))
        best[some], place[some] = zip(*found, strict=True)
        tell(len(batch.values) * len(known.values))
    return best, place


def _from_trees(
    known: Reliefs, asked: Reliefs, owners: tuple[Ints, Ints] | None, pool: Executor,
    tell: Callable[[int], object],
) -> tuple[Floats, Ints]:  # fmt: skip
    """The same where randomised k-d trees find which pairs are alike through a view.

    The trees (Muja and Lowe, IEEE TPAMI 2014; OpenCV's FLANN) hold the asked reliefs in eight
    orientations; each view of a known one looks for the most alike among them.
    """
    level, number = coarse(), len(asked.values)
    rows = np.empty((8, number, int(level.chosen.sum())), np.float32)
    for start in range(0, number, KNOWN):
        for row, turned in enumerate(orientations(asked.values[start : start + KNOWN])):
            rows[row, start : start + KNOWN] = level.asked(turned)
    cv2.setRNGSeed(0)  # the trees are built at random
    trees = cv2.flann.Index(rows.reshape(8 * number, -1), {"algorithm": 1, "trees": TREES})
    starts = range(0, len(known.values), BLOCK)

    def ask(start: int) -> Ints:
        """Asked and known ones that are alike, and how much in millionths, ``(H, 3)``."""
        block = slice(start, start + BLOCK)
        seen = level.views(known.values[block])  # (49, n, D)
        views = seen.reshape(-1, seen.shape[2])
        found, squares = trees.knnSearch(views, NEAREST, params={"checks": CHECKS})
        own = start + np.repeat(np.arange(views.shape[0]) % seen.shape[1], NEAREST)
        orientation, other = np.divmod(found.ravel(), number)
        alike = 1 - squares.ravel() / 2  # of unit vectors
        kept = alike >= MIN_SEEN
        kept &= (orientation < 4) | known.square[own] | asked.square[other]
        if owners is not None:
            kept &= owners[0][own] != owners[1][other]
        hits = np.stack([other, own, 1e6 * alike], axis=1)[kept]
        return np.asarray(hits, np.int32)

    blocks = []
    for start, block in zip(starts, mapped(pool, ask, starts), strict=True):
        blocks.append(block)
        tell(len(known.values[start : start + BLOCK]) * number)
    hits = np.concatenate(blocks)
    hits = hits[np.lexsort((hits[:, 1], -hits[:, 2], hits[:, 0]))]
    ends = np.searchsorted(hits[:, 0], np.arange(number + 1))

    def confirm(place: int) -> tuple[float, int]:
        each = hits[ends[place] : ends[place + 1], 1]
        first = np.sort(np.unique(each, return_index=True)[1])[:MANY]  # the most alike
        own = known.values[each[first]]
        best, row = _confirmed(own, Views.of(own), asked.values[place], np.arange(len(own)))
        return best, int(each[first][row]) if row >= 0 else -1

    best = np.full(number, -1, np.float32)
    place = np.full(number, -1, np.int32)
    some = np.unique(hits[:, 0])
    for at, (similarity, where) in zip(some, mapped(pool, confirm, some.tolist()), strict=True):
        best[at], place[at] = similarity, where
    return best, place


def _confirmed(
    known: Floats, views: Views, asked: Floats, places: npt.NDArray[np.intp]
) -> tuple[float, int]:
    """Correlation with the best of these known reliefs, and its place; -1 and -1: with none."""
    best, where = -1.0, -1
    if not len(places):
        return best, where
    turned = np.stack(list(orientations(asked)))
    orientation, view = views.best(places, turned)
    level = fine()
    seen = (level.operators[view] @ level.known(known[places])[..., None])[..., 0]  # (C, D)
    alike = np.einsum("cd,cd->c", unit(seen), level.asked(turned)[orientation])
    least = max(MIN_ALIKE, float(alike.max()) - MARGIN)
    for row in np.argsort(-alike)[:FEW]:
        if alike[row] >= least:
            pair = (turned[orientation[row]], known[places[row]])
            similarity = overlaid(*pair, affines()[view[row]])
            if similarity > best:
                best, where = similarity, int(places[row])
    return best, where
