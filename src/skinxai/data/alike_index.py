"""Candidates for near duplicates among many images, from trees in place of all comparisons.

A comparison of every image with every other one grows with the square of their number. Here each
image asks randomised k-d trees (Muja and Lowe, "Scalable nearest neighbor algorithms for high
dimensional data", IEEE TPAMI 2014; OpenCV's FLANN) for its nearest neighbours instead, so that time
grows like n log n and memory like n. The trees are approximate: docs/explanation/splits.md says
which share of planted copies they lose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]

AXES, STRONGEST, KEYPOINT_AXES = 64, 40, 24
"""Principal axes of textures, keypoints of each image, principal axes of their descriptors."""
NEAREST, CHECKS = 6, 32
TREES, KEYPOINT_TREES = 4, 2
MIN_VOTES = 2
"""Of the keypoints of one image for another one, which makes three from both sides."""
SAMPLE, ROWS = 5_000, 100


def partners(
    rows: npt.NDArray[np.float16], views: Callable[[int], Floats], group: Places, *,
    count: int, least: float, progress: Progress,
) -> dict[tuple[int, int], float]:  # fmt: skip
    """The most alike images of other groups, with the similarity in the best orientation.

    Args:
        rows: texture of each image, unit vectors ``(N, D)``.
        views: place of an image → its textures in eight orientations and then in crops, ``(v, D)``.
        group: number of the group of each image, ``(N,)``.
        count: most partners of an image.
        least: least similarity of partners in any view, −1 to 1.
        progress: as in `skinxai.data.near_duplicates.find_pairs`.
    """
    axes = _Axes(rows, AXES)
    trees = _trees(axes.of(rows), TREES)
    found: dict[tuple[int, int], float] = {}
    starts = range(0, len(rows), ROWS)
    for start in progress(starts, "compare", len(starts)):
        for own in range(start, min(start + ROWS, len(rows))):
            seen = views(own)
            others = np.unique(_nearest(trees, axes.of(seen), len(rows))[0])
            others = others[(others >= 0) & (group[others] != group[own])]
            alike = seen @ rows[others].astype(np.float32).T  # (v, others)
            best, turned = alike.max(axis=0), alike[:8].max(axis=0)
            for row in np.argsort(-best, kind="stable")[:count].tolist():
                if best[row] >= least:
                    other = int(others[row])
                    pair = (min(own, other), max(own, other))
                    found[pair] = max(found.get(pair, -1.0), float(turned[row]))
    return found


def voted(
    descriptors: Sequence[npt.NDArray[np.uint8]], group: Places, *, distance: float,
    progress: Progress,
) -> list[tuple[int, int]]:  # fmt: skip
    """Pairs of images of which one has several strong keypoints near to keypoints of the other.

    Args:
        descriptors: of each image's keypoints, uint8 ``(n, 128)``, strongest first.
        group: number of the group of each image, ``(N,)``.
        distance: largest distance of two descriptors.
        progress: as in `skinxai.data.near_duplicates.find_pairs`.
    """
    own = [each[:STRONGEST] for each in descriptors]
    ends = np.cumsum([0, *map(len, own)])
    owner = np.repeat(np.arange(len(own)), np.diff(ends))
    if len(owner) < 2:
        return []
    points = np.concatenate(own)
    axes = _Axes(points, KEYPOINT_AXES)
    low = axes.of(points)
    trees = _trees(low, KEYPOINT_TREES)
    found: set[tuple[int, int]] = set()
    starts = range(0, len(own), ROWS)
    for start in progress(starts, "keypoints", len(starts)):
        asked = slice(ends[start], ends[min(start + ROWS, len(own))])
        if asked.start == asked.stop:
            continue
        places, squares = _nearest(trees, low[asked], len(low))
        other = owner[np.maximum(places, 0)]
        mine = np.broadcast_to(owner[asked][:, None], other.shape)
        point = np.broadcast_to(np.arange(len(places))[:, None], other.shape)
        near = (places >= 0) & (squares < distance**2) & (group[other] != group[mine])
        once = np.unique(np.stack([point[near], mine[near], other[near]], axis=1), axis=0)
        pairs, votes = np.unique(once[:, 1:], axis=0, return_counts=True)
        found |= {(min(a, b), max(a, b)) for a, b in pairs[votes >= MIN_VOTES].tolist()}
    return sorted(found)


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


def _trees(rows: Floats, count: int) -> Any:
    cv2.setRNGSeed(0)  # the trees are built at random
    return cv2.flann.Index(rows, {"algorithm": 1, "trees": count})


def _nearest(trees: Any, asked: Floats, known: int) -> tuple[Places, Floats]:
    """Places of the nearest of the ``known`` rows and squares of their distances, ``(M, k)``."""
    places, squares = trees.knnSearch(asked, min(NEAREST, known), params={"checks": CHECKS})
    return np.asarray(places, np.intp), np.asarray(squares, np.float32)
