"""Risk–coverage curves: by hand, by a slow implementation, and by what a perfect score gives."""

import itertools
import math

import numpy as np
import pytest

from skinxai.assessment.selective import (
    better_than_top_probability,
    risk_coverage,
    selective_answers,
)
from skinxai.errors import DatasetError, InputRangeError, InputShapeError, OptionError


def test_curve_by_hand():
    found = risk_coverage([0.9, 0.8, 0.7, 0.6], [True, False, True, True])
    assert found.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert found.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 4])
    assert found.aurc == pytest.approx(13 / 48)
    assert found.excess_aurc == pytest.approx(13 / 48 - 1 / 16)  # best: the wrong one last
    assert found.accuracy_at(0.5) == 0.5
    assert found.accuracy_at(0.51) == pytest.approx(2 / 3)
    assert found.accuracy_at(1) == 0.75


def test_order_of_images_changes_nothing():
    draws = np.random.default_rng(0)
    scores, right = draws.random(50).round(1), draws.random(50) < 0.7
    order = draws.permutation(50)
    found, other = risk_coverage(scores, right), risk_coverage(scores[order], right[order])
    np.testing.assert_allclose(other.risk, found.risk, atol=1e-15)


def test_ties_are_the_mean_over_all_their_orders():
    scores, right = np.array([3, 2, 2, 2, 1, 1]), np.array([1, 0, 1, 0, 1, 0], bool)
    curves = []
    for middle, last in itertools.product(
        itertools.permutations([1, 2, 3]), itertools.permutations([4, 5])
    ):
        wrong = ~right[[0, *middle, *last]]
        curves.append([wrong[:n].mean() for n in range(1, 7)])
    np.testing.assert_allclose(risk_coverage(scores, right).risk, np.mean(curves, axis=0))


def test_a_score_that_says_nothing_has_one_risk():
    found = risk_coverage(np.zeros(40), np.arange(40) % 4 > 0)
    np.testing.assert_allclose(found.risk, 0.25)
    assert found.aurc == pytest.approx(0.25)


@pytest.mark.parametrize("errors", [0, 1, 200, 999, 1000])
def test_a_perfect_score_has_no_excess(errors):
    right = np.arange(1000) >= errors
    found = risk_coverage(right.astype(float) + np.arange(1000) / 1e6, right)
    assert found.excess_aurc == pytest.approx(0, abs=1e-15)
    risk = errors / 1000
    limit = risk + ((1 - risk) * math.log(1 - risk) if risk < 1 else 0)
    assert found.aurc == pytest.approx(limit, abs=0.005)  # Geifman et al., of many images


def test_the_worst_score_by_a_loop():
    right = np.arange(30) >= 12
    slow = [min(n, 12) / n for n in range(1, 31)]
    assert risk_coverage(-right.astype(float), right).aurc == pytest.approx(np.mean(slow))


def test_coverage_is_not_lifted_by_floating_point():
    """0.07 · 100 is 7.000000000000001: seven images are 7 % of a hundred."""
    right = np.arange(100) != 7
    found = risk_coverage(-np.arange(100.0), right)
    assert 0.07 * 100 > 7
    assert found.accuracy_at(0.07) == 1
    assert found.accuracy_at(0.08) == 7 / 8


def answers(lesions=150, each=2, seed=0):
    """A top probability that knows something, and which answers are right."""
    draws = np.random.default_rng(seed)
    sure = np.repeat(draws.random(lesions), each)
    right = np.repeat(draws.random(lesions), each) < 0.4 + 0.5 * sure
    return sure, right, [f"HAM_{n // each}" for n in range(lesions * each)]


def test_a_score_that_knows_the_answers_is_better():
    top, right, lesions = answers()
    found = better_than_top_probability(right.astype(float), top, right, lesions, resamples=200)
    assert found.better
    assert found.note("Mutual information") == ""
    assert found.difference.value == found.aurc - found.top_aurc
    assert found.difference.low < found.difference.value < found.difference.high < 0


def test_the_top_probability_is_not_better_than_itself():
    top, right, lesions = answers()
    found = better_than_top_probability(3 * top - 1, top, right, lesions, resamples=50)
    assert (found.difference.value, found.difference.low, found.difference.high) == (0, 0, 0)
    assert not found.better
    assert found.note("Entropy") == (
        f"Entropy is not shown to be better than the top probability at telling wrong answers from "
        f"right ones: AURC {found.aurc:.4f} against {found.aurc:.4f}, difference +0.0000 (+0.0000 "
        f"to +0.0000)."
    )


def test_a_score_upside_down_is_worse():
    top, right, lesions = answers()
    found = better_than_top_probability(-top, top, right, lesions, resamples=200)
    assert found.difference.low > 0
    assert found.note("Variation ratio").startswith("Variation ratio is worse than the top")


def test_the_seed_draws_every_interval():
    top, right, lesions = answers()
    noise = {"noise": top + np.random.default_rng(1).normal(0, 0.5, len(top))}
    one, again, other = (
        selective_answers(top, right, lesions, noise, resamples=50, seed=seed) for seed in (1, 1, 2)
    )
    assert one == again
    assert one.aurc.low != other.aurc.low
    assert one.scores["noise"].difference.low != other.scores["noise"].difference.low


def test_the_interval_is_of_lesions():
    """The same image five times is no more evidence: the interval stays as wide."""
    top, right, lesions = answers(each=1)
    noise = top + np.random.default_rng(1).normal(0, 0.5, len(top))
    one = better_than_top_probability(noise, top, right, lesions, resamples=300)
    copies = better_than_top_probability(
        np.repeat(noise, 5), np.repeat(top, 5), np.repeat(right, 5), np.repeat(lesions, 5).tolist(),
        resamples=300,
    )  # fmt: skip
    as_images = better_than_top_probability(
        np.repeat(noise, 5), np.repeat(top, 5), np.repeat(right, 5), [str(n) for n in range(750)],
        resamples=300,
    )  # fmt: skip

    def width(found):
        return found.difference.high - found.difference.low

    assert width(copies) == pytest.approx(width(one), rel=0.1)
    assert width(as_images) < 0.6 * width(one)


@pytest.mark.parametrize(
    ("scores", "right", "error", "words"),
    [
        ([0.5, np.nan], [True, False], InputRangeError, "score 1 is nan"),
        ([np.inf, 0.5], [True, False], InputRangeError, "score 0 is inf"),
        ([0.5, 0.5], [1, 0], InputRangeError, "true or false"),
        ([0.5, 0.5], [True], InputShapeError, "shapes"),
        ([], [], InputShapeError, "at least one"),
        ([[0.5]], [[True]], InputShapeError, "shapes"),
    ],
)
def test_what_is_no_score_or_no_answer_is_refused(scores, right, error, words):
    with pytest.raises(error, match=words):
        risk_coverage(scores, right)
    with pytest.raises(error, match=words):
        better_than_top_probability(scores, scores, right, ["a", "b"])


@pytest.mark.parametrize("coverage", [0, -0.5, 1.01, math.nan])
def test_coverage_outside_0_and_1_is_refused(coverage):
    with pytest.raises(OptionError, match="coverage must be in"):
        risk_coverage([0.1, 0.2], [True, False]).accuracy_at(coverage)


@pytest.mark.parametrize("lesions", [["a"], ["a", "a"], ["a", "b", "c"]])
def test_lesions_that_give_no_interval_are_refused(lesions):
    with pytest.raises(DatasetError, match="at least two different ones"):
        better_than_top_probability([0.1, 0.2], [0.1, 0.2], [True, False], lesions)


def test_selective_answers_are_points_of_the_curve():
    top, right, lesions = answers()
    found = selective_answers(top, right, lesions, {"noise": -top}, resamples=100)
    whole = risk_coverage(top, right)
    assert found.aurc.value == pytest.approx(whole.aurc)
    assert list(found.accuracy_at) == ["0.95", "0.90", "0.80", "0.70", "0.50"]
    for coverage, figure in found.accuracy_at.items():
        assert figure.value == pytest.approx(whole.accuracy_at(float(coverage)))
        assert figure.low <= figure.value <= figure.high
    points = dict(zip(whole.coverage.tolist(), whole.risk.tolist(), strict=True))
    assert len(found.curve) == 200 and found.curve[-1] == (1.0, points[1.0])
    assert all(points[coverage] == risk for coverage, risk in found.curve)
    assert found.scores == {
        "noise": better_than_top_probability(-top, top, right, lesions, resamples=100)
    }
    assert len(found.notes) == 1 and found.notes[0].startswith("Noise is worse than the top")
