"""Metrics of a few answers that are worked out by hand, and what they refuse."""

import math

import numpy as np
import pytest

from skinxai.assessment.calibration_errors import expected_calibration_error
from skinxai.assessment.metrics import brier_score, confusion_matrix, metrics_of, one_vs_rest_auc
from skinxai.assessment.roc import roc_curve
from skinxai.errors import DatasetLabelError, InputRangeError


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


def test_no_image_has_no_accuracy() -> None:
    found = metrics_of(np.zeros((3, 3), np.int64))
    assert np.isnan([found.accuracy, found.balanced_accuracy, found.macro_f1]).all()


def test_macro_f1_averages_over_the_classes_that_occur() -> None:
    # As above: F1 of 2/3 and 1, and class 2 has no image.
    assert metrics_of(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]])).macro_f1 == pytest.approx(5 / 6)


def test_a_class_that_is_never_predicted_has_an_f1_of_0() -> None:
    # Class 0: precision 5/8, recall 1, so 2 · 5 / (5 + 8).
    found = metrics_of(np.array([[5, 0], [3, 0]]))
    np.testing.assert_allclose(found.f1, [10 / 13, 0])
    np.testing.assert_allclose(found.precision, [5 / 8, 0])
    assert found.macro_f1 == pytest.approx(5 / 13)


def test_a_class_that_is_predicted_once_has_its_precision() -> None:
    found = metrics_of(np.array([[1, 1], [0, 2]]))
    np.testing.assert_allclose(found.precision, [1, 2 / 3])
    np.testing.assert_allclose(found.f1, [2 / 3, 4 / 5])
    assert found.macro_f1 == pytest.approx(11 / 15)


@pytest.mark.parametrize("wrong", [[0, -1], [0, 2], [0, 0.9], [0, math.nan]])
def test_a_position_that_is_none_counts_for_no_other_class(wrong) -> None:
    rows = [[0.9, 0.1], [0.2, 0.8]]
    for call in (
        lambda: confusion_matrix(wrong, [0, 1], 2),
        lambda: confusion_matrix([0, 1], wrong, 2),
        lambda: brier_score(wrong, rows),
        lambda: one_vs_rest_auc(wrong, rows),
    ):
        with pytest.raises(DatasetLabelError, match="whole numbers from 0 to 1"):
            call()


def test_what_is_not_known_has_no_place_among_scores() -> None:
    """Else an image without a probability would be the surest, or the least sure."""
    with pytest.raises(InputRangeError, match=r"NaN in 1 place\."):
        roc_curve([True, True, False], [math.nan, 0.5, 0.6])
    with pytest.raises(InputRangeError, match="NaN in 2 places"):
        one_vs_rest_auc([0, 1], [[0.9, 0.1], [math.nan, math.nan]])
