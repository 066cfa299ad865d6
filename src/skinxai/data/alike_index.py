"""Candidates for near duplicates among many images, from trees in place of all comparisons.

A comparison of every image with every other one grows with the square of their number. Here each
image asks trees for the textures and keypoints nearest to its own, so that time grows like n log n
and memory like n. Textures, whose views ask for whole images, are in randomised k-d trees (Muja and
Lowe, "Scalable nearest neighbor algorithms for high dimensional data", IEEE TPAMI 2014; OpenCV's
FLANN). Keypoints, which ask for each other, are in a `skinxai.data.point_forest`: each search of
FLANN clears a list of all its points. Both are approximate: docs/explanation/splits.md says which
share of planted copies they lose.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt

from skinxai.data import point_forest
from skinxai.data.claims import ordered
from skinxai.data.point_forest import Progress
from skinxai.data.textures import COARSE, Floats, Pixels, details, views

Ints = npt.NDArray[np.int32]

AXES, STRONGEST, KEYPOINT_AXES = 64, 40, 24
"""Principal axes of textures, keypoints of each image, principal axes of their descriptors."""
NEAREST, CHECKS, TREES = 6, 32, 4
MIN_VOTES = 2
"""Of the keypoints of one image for another one, which makes three from both sides."""
SAMPLE, ROWS = 5_000, 100


@dataclass(frozen=True)
class Candidates:
    """Pairs of images that are worth a closer look, each once, in ascending order.

    Args:
        pairs: places of both images, the smaller first, int32 ``(C, 2)``.
        whole: similarity in the best orientation, float32 ``(C,)``; -1 where it is not known.
    """

    pairs: Ints
    whole: Floats

    @classmethod
    def of(cls, pairs: npt.ArrayLike, whole: npt.ArrayLike) -> Self:
        """Make them from pairs in any order; of those that are there again, the most alike."""
        both = np.sort(np.asarray(pairs, np.int32).reshape(-1, 2), axis=1)
        alike = np.asarray(whole, np.float32)
        order = np.lexsort((-alike, both[:, 1], both[:, 0]))
        both, alike = both[order], alike[order]
        first = np.append(True, (both[1:] != both[:-1]).any(axis=1))[: len(both)]
        return cls(both[first], alike[first])


def partners(
    thumb: Callable[[int], Pixels], group: Ints, *, count: int, least: float, progress: Progress
) -> Candidates:
    """The most alike images of other groups, with the similarity in the best orientation.

    ``thumb`` gives the grey uint8 ``(64, 64)`` of an image, and ``group`` the number of the group
    of each, ``(N,)``. At most ``count`` partners of an image have at least the similarity
    ``least``, −1 to 1, in any view.
    """
    rows = np.empty((len(group), COARSE * COARSE), np.float16)
    for place in progress(range(len(rows)), "texture", len(rows)):
        rows[place] = details(thumb(place))
    axes = _Axes(rows, AXES)
    low = axes.of(rows)
    trees = _trees(low)

    def ask(start: int) -> list[tuple[int, int, float]]:
        found = []
        for own in range(start, min(start + ROWS, len(rows))):
            seen = views(thumb(own))
            others = np.unique(_nearest(trees, axes.of(seen), len(rows)))
            others = others[group[others] != group[own]]
            alike = seen @ rows[others].astype(np.float32).T  # (v, others)
            best, turned = alike.max(axis=0), alike[:8].max(axis=0)
            for row in np.argsort(-best, kind="stable")[:count].tolist():
                if best[row] >= least:
                    found.append((own, int(others[row]), float(turned[row])))
        return found

    starts = range(0, len(rows), ROWS)
    found = ordered(ask, starts, workers=os.cpu_count() or 1)
    blocks = [np.array(b, np.float64) for b in progress(found, "compare", len(starts)) if b]
    each = np.concatenate([np.empty((0, 3)), *blocks])
    return Candidates.of(each[:, :2], each[:, 2])


def voted(
    descriptors: Callable[[int], Pixels], group: Ints, *, distance: float, progress: Progress
) -> Candidates:
    """Pairs of images of which one has several strong keypoints near to keypoints of the other.

    ``descriptors`` gives those of an image's keypoints, uint8 ``(n, 128)``, strongest first, which
    are near up to ``distance``; ``group`` is the number of the group of each image, ``(N,)``.
    """
    points, ends, step = _points(descriptors, len(group), progress)
    owner = np.repeat(np.arange(len(group), dtype=np.int32), np.diff(ends))
    places, squares = point_forest.nearest(points, group[owner], NEAREST, progress)
    blocks = [np.empty((0, 2), np.int32)]
    starts = range(0, len(group), ROWS)
    for start in progress(starts, "votes", len(starts)):
        asked = slice(ends[start], ends[min(start + ROWS, len(group))])
        other = owner[np.maximum(places[asked], 0)]
        mine = np.broadcast_to(owner[asked][:, None], other.shape)
        point = np.broadcast_to(np.arange(len(other))[:, None], other.shape)
        near = squares[asked] < (distance / step) ** 2
        once = np.unique(np.stack([point[near], mine[near], other[near]], axis=1), axis=0)
        pairs, votes = np.unique(once[:, 1:], axis=0, return_counts=True)
        blocks.append(pairs[votes >= MIN_VOTES])
    pairs = np.concatenate(blocks)
    return Candidates.of(pairs, np.full(len(pairs), -1.0))


def _points(
    descriptors: Callable[[int], Pixels], count: int, progress: Progress
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.intp], float]:
    """Coordinates of all strong keypoints, where those of each image end, and their unit."""
    some = [descriptors(place)[:STRONGEST] for place in range(0, count, -(-count // SAMPLE) or 1)]
    sample = np.concatenate([np.empty((0, 128), np.uint8), *some])
    ends = np.zeros(count + 1, np.intp)
    if not len(sample):
        return np.empty((0, KEYPOINT_AXES), np.int8), ends, 1.0
    axes = _Axes(sample, KEYPOINT_AXES)
    step = float(np.abs(axes.of(sample)).max() or 1) / 127
    blocks = []
    for place in progress(range(count), "keypoints", count):
        own = axes.of(descriptors(place)[:STRONGEST])
        ends[place + 1] = ends[place] + len(own)
        blocks.append(np.rint(own / step).clip(-127, 127).astype(np.int8))
    return np.concatenate(blocks), ends, step


class _Axes:
    """The principal axes of rows, found on a sample of them."""

    def __init__(self, rows: npt.NDArray[Any], count: int) -> None:
        step = -(-len(rows) // SAMPLE)
        some = np.asarray(rows[::step], np.float64)
        self._mean = some.mean(axis=0)
        values, vectors = np.linalg.eigh((some - self._mean).T @ (some - self._mean))
        self._turn = np.asarray(vectors[:, np.argsort(-values)[:count]], np.float32)
        self._offset = np.asarray(self._mean @ self._turn, np.float32)

    def of(self, rows: npt.NDArray[Any]) -> Floats:
        """Coordinates of rows, float32 ``(N, count)``."""
        found = np.empty((len(rows), self._turn.shape[1]), np.float32)
        for start in range(0, len(rows), 20_000):
            block = slice(start, start + 20_000)
            found[block] = rows[block].astype(np.float32) @ self._turn - self._offset
        return found


def _trees(rows: Floats) -> Any:
    cv2.setRNGSeed(0)  # the trees are built at random
    return cv2.flann.Index(rows, {"algorithm": 1, "trees": TREES})


def _nearest(trees: Any, asked: Floats, known: int) -> npt.NDArray[np.intp]:
    """Places of the nearest of the ``known`` rows, ``(M, k)``; all of few."""
    if known <= CHECKS:  # a search would look at all of them
        return np.broadcast_to(np.arange(known), (len(asked), known))
    places, _ = trees.knnSearch(asked, NEAREST, params={"checks": CHECKS})
    return np.asarray(places, np.intp)
