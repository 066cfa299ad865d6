"""Mahalanobis distances against numbers by hand and scikit-learn."""

import numpy as np
import pytest
from sklearn.covariance import ShrunkCovariance

from skinxai.errors import OptionError
from skinxai.trust.gaussians import Gaussians

CROSS = np.array([[2, 0], [-2, 0], [0, 1], [0, -1]], np.float32)  # variances 2 and 0.5
ONE_CLASS = np.zeros(4, int)


def drawn(count, wide, classes=1, seed=0):
    draws = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    spread = np.linspace(0.2, 3, wide)
    rows = draws.normal(size=(count, wide)) * spread + 4 * labels[:, None]
    return rows.astype(np.float32), labels


def fit(rows, labels, *, dimensions=128, shrinkage=0.1):
    return Gaussians.fit(rows, labels, dimensions=dimensions, shrinkage=shrinkage)


def test_a_distance_by_hand():
    known = fit(CROSS + 5, ONE_CLASS, shrinkage=0)
    asked = np.array([[5, 5], [9, 5], [5, 8], [9, 8]], np.float32)
    # sqrt((x² / 2 + y² / 0.5) / D)
    expected = [0, 2, 3, np.sqrt((16 / 2 + 9 / 0.5) / 2)]
    np.testing.assert_allclose(known.distance(asked), expected, rtol=1e-6)


def test_shrinkage_by_hand():
    known = fit(CROSS, ONE_CLASS, shrinkage=0.5)
    np.testing.assert_allclose(known.variances, [1.625, 0.875], rtol=1e-6)
    expected = [np.sqrt(16 / 1.625 / 2), np.sqrt(9 / 0.875 / 2)]
    found = known.distance(np.array([[4, 0], [0, 3]], np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_directions_that_are_not_kept_share_their_mean_variance():
    rows = np.array([[3, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]])
    known = fit(rows.astype(np.float32), np.zeros(6, int), dimensions=1, shrinkage=0)
    assert known.variances == pytest.approx([3])  # 18 / 6
    assert known.rest == pytest.approx([(8 / 6 + 2 / 6) / 2])
    found = known.distance(np.array([[3, 0, 0], [0, 1, 1]], np.float32))
    np.testing.assert_allclose(found, np.sqrt([3 / 3, 2 / (5 / 6) / 3]), rtol=1e-6)


def test_the_nearest_class_counts_and_its_mean_is_not_blurred():
    rows = np.concatenate([CROSS, CROSS + 100]).astype(np.float32)
    known = fit(rows, np.repeat([0, 6], 4), shrinkage=0)  # classes between are absent
    found = known.distance(np.array([[0, 0], [100, 100], [104, 100]], np.float32))
    np.testing.assert_allclose(found, [0, 0, 2], atol=1e-4)


@pytest.mark.parametrize("count", [400, 12], ids=["more than features", "fewer than features"])
def test_it_is_scikit_learns_mahalanobis_distance(count):
    rows, labels = drawn(count, 30, classes=3)
    means = np.stack([rows[labels == k].mean(axis=0, dtype=np.float64) for k in range(3)])
    shared = ShrunkCovariance(shrinkage=0.1, assume_centered=True).fit(rows - means[labels])
    asked, _ = drawn(50, 30, classes=3, seed=1)
    squares = np.stack([shared.mahalanobis(asked - mean) for mean in means]).min(axis=0)
    found = fit(rows, labels, dimensions=30, shrinkage=0.1).distance(asked)
    np.testing.assert_allclose(found, np.sqrt(squares / 30), rtol=1e-4)


def test_images_of_the_same_kind_have_a_distance_of_about_one():
    rows, labels = drawn(4000, 20)
    known = fit(rows[:2000], labels[:2000], shrinkage=0)
    assert (known.distance(rows[2000:]) ** 2).mean() == pytest.approx(1, abs=0.05)
    assert (known.distance(rows[2000:] + 60) > 5).all()


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (CROSS[:1], [3]),
        (np.repeat(CROSS[:1], 5, axis=0), [0, 0, 0, 1, 1]),
        (CROSS, [0, 1, 2, 3]),
    ],
    ids=["one vector", "all alike", "each its own class"],
)
def test_without_any_spread_the_distance_is_euclidean(rows, labels):
    known = fit(rows, labels)
    assert known.distance(rows).tolist() == [0] * len(rows)
    assert known.distance(CROSS[:1] + np.array([[3, 4]])) == pytest.approx([5 / np.sqrt(2)])


def test_few_vectors_of_many_features_give_finite_distances():
    rows, labels = drawn(20, 1280, classes=7)
    known = fit(rows, labels)
    near, far = (known.distance(rows + move).max() for move in (0, 50))
    assert 0 < near < far < np.inf
    assert len(known.components) <= 20 - 7  # more directions were not seen


@pytest.mark.parametrize(
    ("rows", "labels", "options", "message"),
    [
        (CROSS[:0], [], {}, "labels must be one integer for each of at least 1 vector"),
        (CROSS, [0, 0, 0], {}, "labels must be one integer"),
        (CROSS, [0.0] * 4, {}, "labels must be one integer"),
        (CROSS[0], [0], {}, "vectors must be floats (N, D), got float32 (2,)"),
        (CROSS.astype(int), ONE_CLASS, {}, "vectors must be floats (N, D), got int64 (4, 2)"),
        (np.full((4, 2), np.nan), ONE_CLASS, {}, "vectors must be finite"),
        (np.full((4, 2), -np.inf), ONE_CLASS, {}, "vectors must be finite"),
        (CROSS * 1e15, ONE_CLASS, {}, "vectors must be finite and smaller than 1e+15"),
        (CROSS, ONE_CLASS, {"dimensions": -1}, "dimensions must be an integer >= 0, got -1"),
        (CROSS, ONE_CLASS, {"shrinkage": 1.5}, "shrinkage must be from 0 to 1, got 1.5"),
        (CROSS, ONE_CLASS, {"shrinkage": np.nan}, "shrinkage must be from 0 to 1, got nan"),
    ],
)
def test_what_cannot_be_fitted_says_why(rows, labels, options, message):
    with pytest.raises(OptionError) as caught:
        fit(rows, labels, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("asked", [np.ones((2, 3), np.float32), np.full((1, 2), np.nan)])
def test_what_cannot_be_measured_says_why(asked):
    with pytest.raises(OptionError, match="vectors must"):
        fit(CROSS, ONE_CLASS).distance(asked)
