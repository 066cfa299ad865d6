"""The nearest neighbours of each of many points, from trees that split them at random.

Each tree halves the points again and again at the median along a random direction, until about
`LEAF` are left; the points of such a leaf are compared with each other (random projection trees:
Dasgupta and Freund, "Random projection trees and low dimensional manifolds", STOC 2008). Time grows
like n log n and memory like n. Neighbours that no tree leaves together are not found.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.data.claims import ordered

Points = npt.NDArray[np.int8]
Owners = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Progress = Callable[[Iterable[Any], str, int], Iterable[Any]]

TREES, LEAF = 8, 64
LEAVES, ROWS = 256, 2**18
"""Leaves and rows that are worked on at once."""


def nearest(points: Points, owner: Owners, count: int, progress: Progress) -> tuple[Owners, Floats]:
    """Places of the nearest points of other owners and squares of their distances, ``(M, count)``.

    Places are -1, and squares infinite, where fewer were found. The result depends on nothing but
    the points: int8 ``(M, d)``, whose squares of distances are below 2²⁴, so that they are exact,
    and the owner of each, int32 >= 0 ``(M,)``.
    """
    draws = np.random.default_rng(0)
    places = np.full((len(points), count), -1, np.int32)
    squares = np.full((len(points), count), np.inf, np.float32)
    for _ in progress(range(TREES), "trees", TREES):
        leaves = _leaves(points, draws)

        def compare(start: int, leaves: Owners = leaves) -> None:
            block = leaves[start : start + LEAVES]
            own, others, far = _within(points, owner, block, count)
            places[own], squares[own] = _best(
                np.concatenate([places[own], others], axis=1),
                np.concatenate([squares[own], far], axis=1),
                count,
            )

        starts = range(0, len(leaves), LEAVES)
        for _ in ordered(compare, starts, workers=os.cpu_count() or 1):
            pass
    return places, squares


def _leaves(points: Points, draws: np.random.Generator) -> Owners:
    """Places of the points of each leaf of a tree, ``(leaves, n)``; -1 fills up."""
    depth = max(0, (len(points) - 1).bit_length() - LEAF.bit_length() + 1)
    size = -(-len(points) // 2**depth)
    order = np.full(size << depth, -1, np.int32)
    order[: len(points)] = np.arange(len(points))
    along = np.full(len(points) + 1, np.inf, np.float32)  # the last is that of -1
    for level in range(depth):
        direction = np.asarray(draws.normal(size=points.shape[1]), np.float32)
        for start in range(0, len(points), ROWS):
            rows = points[start : start + ROWS]
            along[start : start + len(rows)] = rows.astype(np.float32) @ direction
        nodes = order.reshape(2**level, -1)
        step = max(1, ROWS // nodes.shape[1])
        for start in range(0, len(nodes), step):
            some = nodes[start : start + step]
            parted = np.argpartition(along[some], some.shape[1] // 2, axis=1)
            nodes[start : start + step] = np.take_along_axis(some, parted, axis=1)
    return order.reshape(2**depth, -1)


def _within(
    points: Points, owner: Owners, leaves: Owners, count: int
) -> tuple[Owners, Owners, Floats]:
    """Places of points, the nearest of other owners in their leaf, squares of the distances."""
    rows = points[leaves].astype(np.float32)  # (leaves, n, d)
    lengths = np.einsum("lnd,lnd->ln", rows, rows)
    far = lengths[:, :, None] + lengths[:, None] - 2 * (rows @ rows.transpose(0, 2, 1))
    own = owner[leaves]
    far[(own[:, :, None] == own[:, None]) | (leaves < 0)[:, None]] = np.inf
    kept = min(count, leaves.shape[1])
    best = np.argpartition(far, kept - 1, axis=2)[:, :, :kept]
    others = np.take_along_axis(np.broadcast_to(leaves[:, None], far.shape), best, axis=2)
    squares = np.take_along_axis(far, best, axis=2)
    real = leaves >= 0
    return leaves[real], others[real], squares[real]


def _best(places: Owners, squares: Floats, count: int) -> tuple[Owners, Floats]:
    """The ``count`` nearest of each row, each place once."""
    order = np.lexsort((places, squares), axis=1)
    near = np.take_along_axis(places, order, axis=1)
    far = np.take_along_axis(squares, order, axis=1)
    far[:, 1:][near[:, 1:] == near[:, :-1]] = np.inf  # again, at the same distance
    order = np.argsort(far, axis=1, kind="stable")[:, :count]
    near, far = np.take_along_axis(near, order, axis=1), np.take_along_axis(far, order, axis=1)
    return np.where(np.isinf(far), np.int32(-1), near), far
