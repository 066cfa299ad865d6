"""Two models on the same images: paired differences and McNemar's test, against other routes."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.paired import compare_probabilities, mcnemar
from skinxai.errors import DatasetError, InputRangeError
from skinxai.labels import HAM10000_LABELS, LabelSet


def answers(images=400, skill=(1.0, 1.0), seed=0, each=2):
    """True classes, the probabilities of two models with a common difficulty, and lesions."""
    draws = np.random.default_rng(seed)
    target = np.repeat(draws.choice(7, images // each), each)
    common = draws.normal(size=(images, 7))
    rows = []
    for own in skill:
        scores = common + 0.7 * draws.normal(size=(images, 7))
        scores[np.arange(images), target] += own
        rows.append(np.exp(scores) / np.exp(scores).sum(1, keepdims=True))
    return target, *rows, [str(n // each) for n in range(images)]


def compared(target, first, second, lesions, **more):
    options = {"name": "other@1", "resamples": 100} | more
    return compare_probabilities(target, first, second, lesions, HAM10000_LABELS, **options)


def test_the_values_are_those_of_each_model_alone() -> None:
    target, first, second, lesions = answers(skill=(1.5, 0.5))
    found = compared(target, first, second, lesions)
    for rows, name in ((first, "model"), (second, "against")):
        alone = evaluate_probabilities(
            target, rows, lesions, HAM10000_LABELS, model="", data="", resamples=5
        )
        expected = {
            "accuracy": alone.accuracy, "balanced accuracy": alone.balanced_accuracy,
            "macro-F1": alone.macro_f1, "Brier score": alone.brier_score,
            "calibration error": alone.expected_calibration_error,
            "calibration error, equal-mass bins": alone.equal_mass_calibration_error,
            "calibration error, class-wise": alone.classwise_calibration_error,
            "malignant AUC": alone.malignancy.auc,
            "malignant partial AUC": alone.malignancy.partial_auc,
            "recall of mel": alone.recall["mel"], "AUC of nv": alone.auc["nv"],
        }  # fmt: skip
        for figure, own in expected.items():
            assert getattr(found.figures[figure], name) == pytest.approx(own.value), figure
    for pair in found.figures.values():
        assert pair.difference.value == pytest.approx(pair.model - pair.against)


def test_intervals_of_calibration_errors_contain_the_difference() -> None:
    """Chance adds more to the error of the model that is right, so that resamples lie beside it."""
    names = [str(n) for n in range(150)]
    beside = 0
    for seed in range(6):
        draws = np.random.default_rng(seed)
        scores = 2 * draws.normal(size=(150, 7))
        right, sure = (
            powers / powers.sum(1, keepdims=True) for powers in (np.exp(scores), np.exp(4 * scores))
        )
        target = [int(draws.choice(7, p=row)) for row in right]
        found = compared(target, right, sure, names)
        for name, pair in found.figures.items():
            own = pair.difference
            if "calibration error" in name:
                assert -1 <= own.low <= own.value <= own.high <= 1, name
                beside += own.value in (own.low, own.high)
    assert beside  # else the basic bootstrap's ends would do


def test_the_draws_are_paired() -> None:
    """Two models that err on the same images differ less surely apart than the images vary."""
    target, first, second, lesions = answers(images=400)
    pair = compared(target, first, second, lesions).figures["accuracy"].difference
    alone = evaluate_probabilities(
        target, first, lesions, HAM10000_LABELS, model="", data="", resamples=200
    ).accuracy
    assert pair.high - pair.low < 1.2 * (alone.high - alone.low)  # unpaired: 1.41 times
    same = compared(target, first, first, lesions)
    assert all(
        (p.difference.value, p.difference.low, p.difference.high) == (0, 0, 0)
        for p in same.figures.values()
    )
    assert (same.mcnemar.model, same.mcnemar.against, same.mcnemar.p_value) == (0, 0, 1)


def test_the_interval_covers_a_difference_of_nothing() -> None:
    covered = {"accuracy": 0, "calibration error": 0, "Brier score": 0}
    for seed in range(15):
        target, first, second, lesions = answers(240, seed=seed)
        found = compared(target, first, second, lesions, resamples=60)
        for name in covered:
            own = found.figures[name].difference
            covered[name] += own.low <= 0 <= own.high
    assert all(count >= 12 for count in covered.values()), covered  # of 15


@pytest.mark.parametrize(
    ("right", "against"),
    [
        ([1, 1, 1, 1, 1, 0, 1], [0, 0, 0, 0, 0, 1, 1]),
        ([1] * 9 + [0] * 3, [0] * 9 + [1] * 3),
        ([1, 0, 1], [1, 0, 1]),
        ([1] * 30, [0] * 30),
    ],
)
def test_mcnemar_of_single_images_against_scipy(right, against) -> None:
    found = mcnemar(right, against, [str(n) for n in range(len(right))])
    pairs = list(zip(right, against, strict=True))
    better, worse = pairs.count((1, 0)), pairs.count((0, 1))
    assert (found.model, found.against) == (better, worse)
    expected = binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert found.p_value == pytest.approx(expected)


def test_images_of_a_lesion_count_together() -> None:
    # One lesion with five images for the first model, and one whose images say both.
    right, against = [1] * 5 + [1, 0], [0] * 5 + [0, 1]
    found = mcnemar(right, against, ["a"] * 5 + ["b"] * 2)
    assert (found.model, found.against, found.p_value) == (1, 0, 1.0)
    as_images = mcnemar(right, against, [str(n) for n in range(7)])
    assert as_images.p_value == pytest.approx(binomtest(6, 7).pvalue)


def test_the_test_refuses_equal_models_as_rarely_as_it_says() -> None:
    refused = 0
    for seed in range(400):
        draws = np.random.default_rng(seed)
        level = np.repeat(draws.random(60), 3)  # three images that a model has all right or none
        wrong = np.repeat(draws.random(60), 3)
        lesions = np.repeat(np.arange(60), 3).astype(str).tolist()
        refused += mcnemar(level < 0.7, wrong < 0.7, lesions).p_value < 0.05
    assert refused <= 0.05 * 400 * 1.3


def test_a_difference_without_other_values_has_no_interval() -> None:
    """One model has the class right and the other not, of one lesion and of three."""
    for lesions in (1, 3):
        target = np.array([0] * 40 + [4] * 6)
        first = np.full((46, 7), 0.05) + 0.65 * np.eye(7)[target]
        second = np.full((46, 7), 0.05) + 0.65 * np.eye(7)[0]
        second[:4] = first[45]  # nor are both right of all others
        names = [str(n) if n < 40 else f"one {n % lesions}" for n in range(46)]
        found = compared(target, first, second, names).figures
        own = found[f"recall of {HAM10000_LABELS.codes[4]}"].difference
        assert own.value == 1 and math.isnan(own.low) and math.isnan(own.high)
        accuracy = found["accuracy"].difference
        assert accuracy.low < accuracy.value < accuracy.high
        assert math.isnan(found[f"AUC of {HAM10000_LABELS.codes[4]}"].difference.low) == (
            lesions == 1
        )


def test_what_is_not_defined_is_nan() -> None:
    target, first, second, lesions = answers()
    some = target != 4
    own = [lesion for lesion, keep in zip(lesions, some, strict=True) if keep]
    found = compared(target[some], first[some], second[some], own).figures["recall of mel"]
    assert math.isnan(found.model) and math.isnan(found.difference.low)


def test_what_cannot_be_compared_is_refused() -> None:
    target, first, second, lesions = answers()
    with pytest.raises(DatasetError, match="at least two lesions"):
        compared(target, first, second, ["a"] * len(target))
    with pytest.raises(DatasetError, match="one length > 0, got 400, 399 and 400"):
        compared(target, first, second[:-1], lesions)
    with pytest.raises(InputRangeError, match="400 of 400 rows"):
        compared(target, first, np.full_like(second, np.nan), lesions)
    with pytest.raises(DatasetError, match="got 2, 1 and 2"):
        mcnemar([True, False], [True], ["a", "b"])


def test_labels_without_malignant_classes_have_no_malignant_figures() -> None:
    target, first, second, lesions = answers()
    found = compare_probabilities(
        target, first, second, lesions, LabelSet(tuple("abcdefg")), name="m", resamples=5
    )
    assert not [name for name in found.figures if "malignant" in name]
