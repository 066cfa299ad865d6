"""Metrics against scikit-learn and torchmetrics, intervals against what they promise."""

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torchmetrics.functional.classification import multiclass_calibration_error

from skinxai.assessment.evaluation import evaluate_probabilities
from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.assessment.metrics import (
    brier_score,
    confusion_matrix,
    expected_calibration_error,
    metrics_of,
    one_vs_rest_auc,
)
from skinxai.errors import DatasetError
from skinxai.labels import HAM10000_LABELS, LabelSet


@pytest.fixture
def answers():
    draws = np.random.default_rng(7)
    target = draws.choice(7, 500, p=[0.05, 0.05, 0.1, 0.02, 0.1, 0.65, 0.03])
    scores = draws.normal(size=(500, 7)).round(1)  # rounded: ties
    scores[np.arange(500), target] += 1
    return target, np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def test_against_scikit_learn(answers) -> None:
    target, probabilities = answers
    guesses = probabilities.argmax(1)
    confusion = confusion_matrix(target, guesses, 7)
    found = metrics_of(confusion)
    np.testing.assert_array_equal(confusion, reference.confusion_matrix(target, guesses))
    assert found.accuracy == pytest.approx(reference.accuracy_score(target, guesses))
    assert found.balanced_accuracy == pytest.approx(
        reference.balanced_accuracy_score(target, guesses)
    )
    assert found.macro_f1 == pytest.approx(reference.f1_score(target, guesses, average="macro"))
    for name in ("precision", "recall", "f1"):
        own = getattr(reference, f"{name}_score")
        np.testing.assert_allclose(getattr(found, name), own(target, guesses, average=None))
    expected = [reference.roc_auc_score(target == k, probabilities[:, k]) for k in range(7)]
    np.testing.assert_allclose(one_vs_rest_auc(target, probabilities), expected)


def test_calibration_against_torchmetrics(answers) -> None:
    target, probabilities = answers
    expected = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(target), 7, n_bins=15
    )
    assert expected_calibration_error(target, probabilities) == pytest.approx(float(expected))


def test_by_hand() -> None:
    # Two images of class 0, one of class 1, none of class 2; one image is called 2.
    found = metrics_of(confusion_matrix([0, 0, 1], [0, 2, 1], 3))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.balanced_accuracy == pytest.approx((1 / 2 + 1) / 2)
    np.testing.assert_allclose(found.recall, [1 / 2, 1, np.nan])
    np.testing.assert_allclose(found.f1, [2 / 3, 1, np.nan])
    assert brier_score([0, 1], [[0.8, 0.2], [0.6, 0.4]]) == pytest.approx((0.08 + 0.72) / 2)
    assert expected_calibration_error([0, 1], [[0.8, 0.2], [0.6, 0.4]]) == pytest.approx(0.4)
    np.testing.assert_allclose(one_vs_rest_auc([0, 1], [[0.5, 0.5], [0.5, 0.5]]), [0.5, 0.5])


def test_interval_of_a_mean_matches_its_standard_error() -> None:
    draws = np.random.default_rng(0)
    values = draws.normal(size=800)
    low, high = clustered_bootstrap(
        lambda rows: np.array([values[rows].mean()]), [str(n) for n in range(800)]
    )
    half = 1.96 * values.std() / np.sqrt(800)
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)


def test_copies_of_a_lesion_do_not_narrow_the_interval() -> None:
    # Each value four times: images one by one would halve the width, lesions keep it.
    values = np.random.default_rng(1).normal(size=300)
    copies, lesions = np.repeat(values, 4), [str(n // 4) for n in range(1200)]

    def width(rows, clusters):
        low, high = clustered_bootstrap(lambda r: np.array([rows[r].mean()]), clusters, seed=3)
        return float((high - low)[0])

    single = width(values, [str(n) for n in range(300)])
    assert width(copies, lesions) == pytest.approx(single, rel=0.1)
    assert width(copies, [str(n) for n in range(1200)]) == pytest.approx(single / 2, rel=0.1)


def test_evaluation(answers) -> None:
    target, probabilities = answers
    lesions = [f"lesion {n // 2}" for n in range(500)]
    found = evaluate_probabilities(
        target, probabilities, lesions, HAM10000_LABELS, model="m@1", data="made up", resamples=200
    )
    assert found.images == 500 and found.lesions == 250
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    assert found.accuracy.value == pytest.approx((probabilities.argmax(1) == target).mean())
    assert found.recall["mel"].value == found.confusion[4][4] / sum(found.confusion[4])
    assert found.to_dict()["macro_f1"]["value"] == found.macro_f1.value
    assert "| mel |" in found.to_markdown()


def test_wrong_lengths_are_refused() -> None:
    with pytest.raises(DatasetError, match="one length > 0, got 1, 1 and 2"):
        evaluate_probabilities(
            [0], np.array([[0.5, 0.5]]), ["a", "b"], LabelSet(("x", "y")), model="", data=""
        )
