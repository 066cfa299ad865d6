"""Calibration errors against torchmetrics and plain loops, and the coverage of their intervals."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from skinxai.assessment.calibration_errors import (
    calibration_bins,
    classwise,
    equal_mass,
    equal_width,
    expected_calibration_error,
)
from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.intervals import clustered_share
from skinxai.labels import LabelSet

LABELS = LabelSet(("x", "y"))


def drawn(images=500, classes=7, temperature=1.0, seed=7, each=1):
    """Probabilities, true classes that follow them before the temperature, and lesions."""
    draws = np.random.default_rng(seed)
    lesions = images // each
    scores = np.repeat(2 * draws.normal(size=(lesions, classes)), each, axis=0)
    exact = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    level = np.repeat(draws.random(lesions), each)[:, None]
    target = (exact.cumsum(1) < level).sum(1).clip(max=classes - 1)
    shown = exact ** (1 / temperature)
    names = [f"{n // each}" for n in range(len(target))]
    return target, shown / shown.sum(1, keepdims=True), names


def test_equal_width_against_torchmetrics() -> None:
    target, rows, _ = drawn()
    expected = multiclass_calibration_error(
        torch.from_numpy(rows), torch.from_numpy(target), 7, n_bins=15
    )
    assert equal_width(target, rows).error == pytest.approx(float(expected), abs=1e-6)
    assert expected_calibration_error(target, rows) == equal_width(target, rows).error


@pytest.mark.parametrize("bins", [5, 15])
def test_classwise_is_the_mean_of_torchmetrics_binary_errors(bins) -> None:
    target, rows, _ = drawn(seed=1)
    errors = [
        float(binary_calibration_error(
            torch.tensor(rows[:, k]), torch.tensor((target == k).astype(int)), n_bins=bins
        ))
        for k in range(7)
    ]  # fmt: skip
    assert classwise(target, rows, bins).error == pytest.approx(np.mean(errors), abs=1e-6)


def by_a_loop(target, rows, bins) -> float:
    """Equal-mass error from a sorted list: image number n of N is in bin ⌊n · bins / N⌋."""
    ranked = sorted(
        (max(row), float(int(np.argmax(row)) == true))
        for row, true in zip(rows, target, strict=True)
    )
    sums: dict[int, list[tuple[float, float]]] = {}
    for n, pair in enumerate(ranked):
        sums.setdefault(n * bins // len(ranked), []).append(pair)
    total = 0.0
    for own in sums.values():
        confidence = math.fsum(c for c, _ in own) / len(own)
        accuracy = math.fsum(h for _, h in own) / len(own)
        total += len(own) / len(ranked) * abs(confidence - accuracy)
    return total


@pytest.mark.parametrize(("images", "bins"), [(500, 15), (499, 10), (7, 15), (1, 15)])
def test_equal_mass_against_a_loop(images, bins) -> None:
    target, rows, _ = drawn(images, seed=2)
    found = equal_mass(target, rows, bins)
    assert found.error == pytest.approx(by_a_loop(target, rows, bins))
    sizes = np.bincount(found.bins.ravel())
    assert sizes[sizes > 0].max() - sizes[sizes > 0].min() <= 1


def test_images_of_equal_confidence_share_a_bin_in_any_order() -> None:
    """A saturated model says 1.0 of many images; which of them are right must not sort them."""
    rows = np.array([[1.0, 0.0]] * 20 + [[0.7, 0.3]] * 10)
    target = np.array([0] * 15 + [1] * 5 + [0] * 7 + [1] * 3)
    found = equal_mass(target, rows)
    assert len(set(found.bins[:20].ravel())) == 1
    assert found.error == pytest.approx((5 + 0) / 30)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(30)
        assert equal_mass(target[order], rows[order]).error == pytest.approx(found.error)


def test_bins_by_hand() -> None:
    # Bins of width 1/15: 0.6 is the upper end of the ninth, 0.61 and 0.65 are in the tenth.
    scores = np.array([[0.6, 0.4], [0.39, 0.61], [0.65, 0.35], [1.0, 0.0]])
    confidence, hits, place = calibration_bins([0, 1, 1, 0], scores)
    np.testing.assert_allclose(confidence, [0.6, 0.61, 0.65, 1.0])
    assert hits.tolist() == [True, True, False, True] and place.tolist() == [8, 9, 9, 14]
    found = evaluate_probabilities(
        [0, 1, 1, 0], scores, list("abcd"), LABELS, model="", data="", resamples=5
    ).calibration
    assert [each.count for each in found] == [1, 2, 1]
    assert [each.confidence for each in found] == pytest.approx([0.6, 0.63, 1.0])
    assert [each.accuracy for each in found] == [
        clustered_share([True], ["a"]), clustered_share([True, False], ["b", "c"]),
        clustered_share([True], ["d"]),
    ]  # fmt: skip


def test_the_bins_add_up_to_the_error() -> None:
    target, rows, names = drawn()
    found = evaluate_probabilities(
        target, rows, names, LabelSet(tuple("abcdefg")), model="", data="", resamples=20
    )
    gaps = [each.count * abs(each.confidence - each.accuracy.value) for each in found.calibration]
    assert sum(gaps) / 500 == pytest.approx(found.expected_calibration_error.value)


@pytest.mark.parametrize("sort", [equal_width, equal_mass, classwise])
@pytest.mark.parametrize("temperature", [1.0, 1.6])
def test_the_interval_covers_the_error_of_many_images(sort, temperature) -> None:
    """A percentile interval covers a calibrated model's error in none of these repetitions."""
    many = drawn(200_000, temperature=temperature, seed=100)
    exact = sort(many[0], many[1]).error
    covered = percentile = 0
    for seed in range(60):
        target, rows, names = drawn(400, temperature=temperature, seed=seed, each=2)
        found = sort(target, rows)
        figure = found.figure(names, resamples=200)
        assert figure.low <= figure.value <= figure.high
        covered += figure.low <= exact <= figure.high
        low, high = np.percentile(np.abs(found.resampled(names, 200, 0)[1]).sum(1), [2.5, 97.5])
        percentile += low <= exact <= high
    assert covered >= 51  # of 60: 85 %, the lowest of benchmarks/evaluation_intervals.py
    assert percentile == 0 or temperature > 1


def test_an_interval_stays_among_the_errors_that_there_are() -> None:
    """Eleven of twelve sure answers are wrong: twice the error less the lowest resample is 1.05."""
    rows = np.array([[0.97, 0.03]] * 12)
    figure = equal_width([0] + [1] * 11, rows).figure([str(n) for n in range(12)])
    assert figure.value == pytest.approx(0.97 - 1 / 12) and figure.low > 0.5
    assert figure.high == 1


def test_lesions_with_copies_do_not_narrow_the_interval() -> None:
    target, rows, names = drawn(300, temperature=1.6)
    one = equal_width(target, rows).figure(names, resamples=500)
    copies = equal_width(np.repeat(target, 4), np.repeat(rows, 4, axis=0))
    four = copies.figure(np.repeat(names, 4).tolist(), resamples=500)
    assert (four.value, four.low, four.high) == pytest.approx((one.value, one.low, one.high))
    alone = copies.figure([str(n) for n in range(1200)], resamples=500)
    assert alone.high - alone.low < 0.7 * (one.high - one.low)


def test_a_share_of_single_images_has_the_wilson_interval() -> None:
    # 8 of 10: Wilson's interval, as statsmodels and R's prop.test without correction give it.
    found = clustered_share([True] * 8 + [False] * 2, [str(n) for n in range(10)])
    assert (found.low, found.high) == pytest.approx((0.49016, 0.94331), abs=2e-3)
    nothing = clustered_share([False] * 10, [str(n) for n in range(10)])
    assert (nothing.value, nothing.low) == (0, 0) and nothing.high == pytest.approx(
        0.2775, abs=1e-4
    )
    assert math.isnan(clustered_share([], []).value) and math.isnan(clustered_share([], []).low)


def test_images_of_one_lesion_count_as_one_where_they_agree() -> None:
    hits = [True] * 6 + [False] * 4
    one = clustered_share(hits, [str(n) for n in range(10)])
    five = clustered_share(np.repeat(hits, 5), np.repeat(np.arange(10), 5).astype(str).tolist())
    assert (five.low, five.high) == pytest.approx((one.low, one.high), abs=0.02)
    single = clustered_share([True] * 5, ["a"] * 5)
    assert single.low == pytest.approx(clustered_share([True], ["a"]).low)


def test_the_interval_of_a_share_covers_it() -> None:
    draws, covered = np.random.default_rng(0), 0
    for _ in range(400):
        sizes = draws.integers(1, 5, 60)
        rates = draws.beta(4, 1, 60)  # of each lesion; their mean is 0.8
        hits = np.concatenate([draws.random(n) < p for n, p in zip(sizes, rates, strict=True)])
        found = clustered_share(hits, np.repeat(np.arange(60), sizes).astype(str).tolist())
        covered += found.low <= 0.8 <= found.high
    assert 0.93 * 400 <= covered <= 0.985 * 400


@pytest.mark.parametrize(("images", "sure"), [(20, 0.97), (40, 0.99), (100, 0.99)])
@pytest.mark.parametrize("sort", [equal_width, equal_mass, classwise])
def test_all_right_answers_of_a_sure_model_are_no_error(sort, images, sure) -> None:
    """Of each number of right answers, as often as it comes: chance alone explains the error."""
    rows, names = np.tile([sure, 1 - sure], (images, 1)), [str(n) for n in range(images)]
    by_chance = 0.0
    for wrong in range(12):
        found = sort([1] * wrong + [0] * (images - wrong), rows).figure(names, resamples=200)
        by_chance += binom.pmf(wrong, images, 1 - sure) * (found.low == 0)
        assert found.low <= found.value <= found.high
    assert by_chance > 0.93
    right = sort([0] * images, rows).figure(names, resamples=200)
    assert right.value == pytest.approx(1 - sure) and right.high > right.value


@pytest.mark.parametrize("sort", [equal_width, equal_mass, classwise])
def test_answers_with_the_probability_1_have_the_interval_of_nearly_sure_ones(sort) -> None:
    """Right ones have the gap 0, as what did not come true with the probability 0."""
    target = np.repeat([0, 1, 2], 30)
    guesses = np.where(np.arange(90) % 4, target, (target + 1) % 3)
    sure, names = np.eye(3)[guesses], [str(n) for n in range(90)]
    found, nearly = (
        sort(target, rows).figure(names, resamples=200) for rows in (sure, 1e-7 + sure * (1 - 3e-7))
    )
    assert (found.value, found.low, found.high) == pytest.approx(
        (nearly.value, nearly.low, nearly.high), abs=1e-5
    )
    assert found.low < found.value < found.high
