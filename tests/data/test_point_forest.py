"""Nearest neighbours from trees, against all distances."""

import numpy as np
import pytest

from skinxai.data import point_forest
from skinxai.data.point_forest import LEAF, TREES, nearest

INFINITE = float("inf")


def found(points, owner, count):
    own = np.asarray(owner, np.int32)
    return nearest(np.asarray(points, np.int8), own, count, lambda loop, name, total: loop)


def all_distances(points, owner) -> np.ndarray:
    """Squares of distances, infinite within an owner, int64 arithmetic."""
    rows = np.asarray(points, np.int64)
    far = np.square(rows[:, None] - rows[None]).sum(axis=2).astype(float)
    far[np.equal.outer(owner, owner)] = INFINITE
    return far


@pytest.mark.parametrize("number", [1, 2, 5, 33, 64])
def test_of_one_leaf_the_neighbours_are_exact(number: int) -> None:
    draws = np.random.default_rng(number)
    points = draws.integers(-127, 128, (number, 24))
    owner = draws.integers(0, 4, number)
    places, squares = found(points, owner, 6)
    far = all_distances(points, owner)
    expected = np.pad(np.sort(far, axis=1), ((0, 0), (0, 6)), constant_values=INFINITE)[:, :6]
    np.testing.assert_array_equal(squares, expected)
    assert ((places == -1) == np.isinf(squares)).all()
    rows, columns = np.nonzero(places >= 0)
    np.testing.assert_array_equal(far[rows, places[rows, columns]], squares[rows, columns])
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in places)


def test_without_points_there_are_no_neighbours() -> None:
    places, squares = found(np.empty((0, 24)), [], 6)
    assert places.shape == squares.shape == (0, 6)


def test_near_twins_are_found_among_many_without_comparing_all(monkeypatch) -> None:
    draws = np.random.default_rng(0)
    points = draws.normal(0, 30, (6000, 24)).round().clip(-120, 120)
    twins = (points[:500] + draws.integers(-3, 4, (500, 24))).clip(-127, 127)
    together = np.concatenate([points, twins])
    compared = []
    within = point_forest._within

    def counted(points, owner, leaves, count):
        compared.append(leaves.size * leaves.shape[1])
        return within(points, owner, leaves, count)

    monkeypatch.setattr(point_forest, "_within", counted)
    places, squares = found(together, np.arange(6500), 3)
    twin = np.arange(6000, 6500)
    assert (places[:500] == twin[:, None]).any(axis=1).mean() > 0.99
    assert (places[6000:] == np.arange(500)[:, None]).any(axis=1).mean() > 0.99
    rows = np.repeat(np.arange(6500), 3)
    far = np.square(together[rows] - together[places.ravel()]).sum(axis=1)
    np.testing.assert_array_equal(squares.ravel(), far)
    assert (np.diff(squares, axis=1) >= 0).all()
    assert all(len(set(row)) == 3 for row in places.tolist())
    assert sum(compared) <= TREES * LEAF * 2 * 6500  # all would be 6500 a point, not 1024


def test_the_result_is_the_same_each_time() -> None:
    points = np.random.default_rng(0).integers(-127, 128, (1000, 8))
    np.random.seed(1)
    first = found(points, np.arange(1000), 4)
    np.random.seed(2)
    before = np.random.get_state()[1].copy()
    second = found(points, np.arange(1000), 4)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_many_points_at_one_place_are_no_trouble() -> None:
    points = np.zeros((1000, 24))
    points[:10] = 50
    places, squares = found(points, np.arange(1000), 5)
    assert (squares[10:] == 0).all() and (places[10:] >= 0).all()
    assert all(len(set(row)) == 5 for row in places.tolist())


def test_what_fills_a_leaf_up_is_nobodys_neighbour() -> None:
    places, squares = found(np.zeros((65, 4)), np.arange(65), 40)  # leaves of 33 hold 66
    assert ((places >= 0) == np.isfinite(squares)).all()
    assert (np.isfinite(squares).sum(axis=1) >= 31).all()
