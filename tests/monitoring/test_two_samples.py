"""The statistics of drift beside scipy, beside sums over all pairs, and by hand."""

import numpy as np
import pytest
from scipy import stats

from skinxai.monitoring.two_samples import (
    ThreeMoments,
    chi_square_limit,
    chi_square_p_values,
    chi_squares,
    class_groups,
    gaussian_kernel,
    ks_distance,
    ks_limit,
    ks_p_values,
    median_distance,
    squared_mmd,
)

draws = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("shift", [0.0, 0.5, 9.0, -9.0])
def test_distances_and_p_values_are_scipys(ties: bool, shift: float) -> None:
    window, known = draws.normal(shift, 1, 60), draws.normal(size=211)
    if ties:
        window, known = np.round(window), np.round(known)
    found, scipys = ks_distance(window, np.sort(known)), stats.ks_2samp(window, known)
    assert found == pytest.approx(scipys.statistic, abs=1e-12)
    p_value = ks_p_values(found, 60, 211)
    effective = 60 * 211 / 271
    assert p_value == pytest.approx(stats.kstwobign.sf(np.sqrt(effective) * found), rel=1e-9)
    if 1e-12 < p_value < 1 - 1e-9:
        assert ks_limit(float(p_value), 60, 211) == pytest.approx(found, rel=1e-6)


def test_a_distance_by_hand() -> None:
    # F_w is 1 from 2 on, where F_r is 1/3; just below 1 both are 0.
    assert ks_distance(np.array([2.0, 1.0]), np.array([2.0, 3.0, 4.0])) == pytest.approx(2 / 3)
    # The largest gap is just below the window's value: F_r is 3/4 there and F_w still 0.
    assert ks_distance(np.array([5.0]), np.array([1.0, 2.0, 3.0, 9.0])) == 0.75


def test_the_mmd_is_the_mean_over_pairs() -> None:
    """Gretton et al. 2012, eq. 3, as three loops over pairs of different images."""
    x, y = draws.normal(size=(7, 3)), draws.normal(0.5, 1, (11, 3))

    def k(a, b):
        return np.exp(-np.sum((a - b) ** 2) / (2 * 1.7**2))

    own = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    other = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([k(a, b) for a in x for b in y])
    sums = [gaussian_kernel(a, b, 1.7).sum() for a, b in ((x, x), (y, y), (x, y))]
    assert squared_mmd(*sums, 7, 11) == pytest.approx(own + other - 2 * across, abs=1e-12)


def test_the_mmd_of_two_gaussians_is_near_its_closed_form() -> None:
    """E k(x, y) of two normals at a distance m is s^d exp(-m²/2(w²+2)), s = w / sqrt(w² + 2)."""
    width, shift, n = 2.0, 1.0, 3000
    x, y = draws.normal(size=(n, 2)), draws.normal((shift, 0), 1, (n, 2))
    sums = [gaussian_kernel(a, b, width).sum() for a, b in ((x, x), (y, y), (x, y))]
    height = width**2 / (width**2 + 2)
    expected = 2 * height * (1 - np.exp(-(shift**2) / (2 * (width**2 + 2))))
    assert squared_mmd(*sums, n, n) == pytest.approx(expected, abs=0.01)


def test_the_kernels_width_is_the_median_distance() -> None:
    points = np.array([[0.0, 0], [3, 4], [0, 1]])  # distances 5, 1 and sqrt(18)
    assert median_distance(points) == pytest.approx(np.sqrt(18))
    assert median_distance(np.zeros((5, 2))) == 1.0


def test_chi_squares_are_scipys() -> None:
    window = draws.integers(1, 30, (5, 4)).astype(float)
    known = draws.integers(1, 90, (5, 4)).astype(float)
    found = chi_squares(window, known)
    for row, (own, other) in enumerate(zip(window, known, strict=True)):
        scipys = stats.chi2_contingency([own, other], correction=False)
        assert found[row] == pytest.approx(scipys.statistic)
        p_value = chi_square_p_values(found[row], 4)
        assert p_value == pytest.approx(scipys.pvalue)
        assert chi_square_limit(float(p_value), 4) == pytest.approx(found[row])


def test_a_group_that_nobody_has_adds_nothing() -> None:
    with_empty = chi_squares(np.array([[3.0, 5, 0]]), np.array([[9.0, 4, 0]]))
    without = chi_squares(np.array([[3.0, 5]]), np.array([[9.0, 4]]))
    assert with_empty == pytest.approx(without) and np.isfinite(with_empty).all()


def test_rare_classes_count_together() -> None:
    # Of 100 images 1, 2, 3, 14 and 80 are expected: the first three together are 6.
    assert class_groups(np.array([0.01, 0.8, 0.03, 0.14, 0.02]), 100).tolist() == [0, 2, 0, 1, 0]
    # Of 20 images 16 and 4 in all: the rare ones are not 5 together, and one group is left.
    groups = class_groups(np.array([0.01, 0.8, 0.03, 0.14, 0.02]), 20)
    assert groups.tolist() == [0] * 5
    assert chi_square_p_values([3.0], 1) == 1 and chi_square_limit(0.01, 1) == np.inf


def test_three_moments_of_a_gamma_distribution() -> None:
    """Pearson's type III is the gamma distribution, moved."""
    values = draws.gamma(2.0, 3.0, 400_000) - 4
    found = ThreeMoments.of(values)
    expected = stats.gamma(2.0, loc=-4, scale=3.0)
    for place in (1.0, 8.0, 20.0):
        assert found.p_values(place) == pytest.approx(expected.sf(place), rel=0.15)
    assert found.limit(float(found.p_values(8.0))) == pytest.approx(8.0)
    assert ThreeMoments.of(np.ones(9)).deviation == 1
