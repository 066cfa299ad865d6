"""Uncertainty of several passes: closed forms, numbers by hand, and a slow implementation."""

import math

import numpy as np
import pytest

from skinxai.errors import InputRangeError, InputShapeError
from skinxai.trust.uncertainty import entropy, uncertainty


def drawn(passes, images, classes, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), (passes, images))


def test_two_members_that_disagree_fully():
    found = uncertainty([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert found.total[0] == found.epistemic[0] == math.log(2)
    assert found.aleatoric[0] == 0
    assert found.variation_ratio[0] == 0.5
    assert found.passes == 2


def test_two_members_that_agree_that_it_could_be_any():
    found = uncertainty([[[0.25] * 4], [[0.25] * 4]])
    assert found.total[0] == pytest.approx(math.log(4), abs=1e-15)
    assert found.aleatoric[0] == pytest.approx(math.log(4), abs=1e-15)
    assert found.epistemic[0] == 0
    assert found.variation_ratio[0] == 0


def test_numbers_by_hand():
    """Means (0.7, 0.3) and, with weights 3 : 1, (0.8, 0.2)."""
    rows = [[[0.9, 0.1]], [[0.5, 0.5]]]

    def h(p):
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    found = uncertainty(rows)
    assert found.total[0] == pytest.approx(h(0.7), abs=1e-15)
    assert found.aleatoric[0] == pytest.approx((h(0.9) + math.log(2)) / 2, abs=1e-15)
    assert found.epistemic[0] == pytest.approx(0.10175, abs=5e-6)
    for weights in ([3, 1], [0.75, 0.25], [300.0, 100.0]):
        found = uncertainty(rows, weights)
        assert found.total[0] == pytest.approx(h(0.8), abs=1e-15)
        assert found.aleatoric[0] == pytest.approx(0.75 * h(0.9) + 0.25 * math.log(2), abs=1e-15)


def test_a_pass_of_no_weight_is_as_if_it_were_not_there():
    rows = drawn(4, 30, 5)
    without, with_it = uncertainty(rows[:3], [1, 2, 3]), uncertainty(rows, [1, 2, 3, 0])
    for name in ("total", "aleatoric", "epistemic", "variation_ratio"):
        np.testing.assert_allclose(getattr(with_it, name), getattr(without, name), atol=1e-15)


@pytest.mark.parametrize("weights", [None, [0.5, 0.1, 0.1, 0.3]])
def test_mutual_information_is_the_mean_divergence_from_the_mean(weights):
    rows = drawn(4, 50, 7)
    share = np.full(4, 0.25) if weights is None else np.array(weights)
    found = uncertainty(rows, weights)
    for n in range(50):
        mean = [sum(s * rows[p, n, k] for p, s in enumerate(share)) for k in range(7)]
        slow = sum(
            s * sum(q * math.log(q / m) for q, m in zip(rows[p, n], mean, strict=True))
            for p, s in enumerate(share)
        )
        assert found.epistemic[n] == pytest.approx(slow, abs=1e-12)


def test_parts_add_up_and_none_is_negative():
    for passes in (np.repeat(drawn(1, 500, 7), 5, axis=0), drawn(5, 500, 7)):
        found = uncertainty(passes)
        np.testing.assert_allclose(found.aleatoric + found.epistemic, found.total, atol=1e-15)
        assert found.epistemic.min() >= 0
    assert uncertainty(np.repeat(drawn(1, 500, 7), 5, axis=0)).epistemic.max() < 1e-14


def test_one_pass_cannot_disagree_with_itself():
    rows = drawn(1, 40, 3)
    found = uncertainty(rows)
    assert found.passes == 1
    np.testing.assert_array_equal(found.total, entropy(rows[0]))
    assert not found.epistemic.any()
    assert not found.variation_ratio.any()


def test_variation_ratio_counts_votes():
    a, b, c = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]
    rows = np.array([[a, a, a], [a, b, b], [a, a, c], [b, b, a], [b, c, b]])  # (5, 3, 3)
    assert uncertainty(rows).variation_ratio == pytest.approx([2 / 5, 3 / 5, 3 / 5])
    weighted = uncertainty(rows, [1, 1, 1, 3, 3]).variation_ratio
    assert weighted == pytest.approx([3 / 9, 5 / 9, 5 / 9])


def test_entropy_of_certainty_is_zero():
    assert entropy([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]).tolist() == [0.0, math.log(2)]


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        ([[[0.5, 0.5]], [[np.nan, 0.5]]], InputRangeError, r"row \(1, 0\) is \[nan, 0.5\]"),
        ([[[0.5, 0.6]]], InputRangeError, "sum 1"),
        ([[[3.0, -2.0]]], InputRangeError, "sum 1"),
        ([[0.5, 0.5]], InputShapeError, r"\(P, N, K\)"),
        (np.zeros((0, 2, 3)), InputShapeError, "at least one row"),
        ([[[1.0]]], InputShapeError, "two classes"),
    ],
)
def test_what_is_no_probability_is_refused(rows, error, words):
    with pytest.raises(error, match=words):
        uncertainty(rows)


@pytest.mark.parametrize(
    ("weights", "error"),
    [
        ([1], InputShapeError),
        ([[1, 1]], InputShapeError),
        ([0, 0], InputRangeError),
        ([2, -1], InputRangeError),
        ([np.nan, 1], InputRangeError),
        ([np.inf, 1], InputRangeError),
    ],
)
def test_what_are_no_weights_is_refused(weights, error):
    with pytest.raises(error, match="weights must be"):
        uncertainty(drawn(2, 3, 4), weights)
