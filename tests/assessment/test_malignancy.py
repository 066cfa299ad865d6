"""Partial AUC against scikit-learn and the challenge's own code, net benefit by hand."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.net_benefit import THRESHOLDS, net_benefit
from skinxai.assessment.roc import area, area_above, roc_curve
from skinxai.errors import DatasetLabelError, InputRangeError, InputShapeError
from skinxai.labels import HAM10000_LABELS, LabelSet

LABELS = LabelSet(("mel", "bcc", "nv"), {}, frozenset({"mel", "bcc"}))


def by_the_challenge(positive: np.ndarray, scores: np.ndarray, at_least: float) -> float:
    """The ISIC 2024 challenge's published formula, over scikit-learn."""
    most = 1 - at_least
    scaled = reference.roc_auc_score(1 - positive, -scores, max_fpr=most)
    return 0.5 * most**2 + (most - 0.5 * most**2) / (1.0 - 0.5) * (scaled - 0.5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("at_least", [0.5, 0.8, 0.95])
def test_the_partial_area_is_that_of_the_challenge(seed, at_least) -> None:
    draws = np.random.default_rng(seed)
    positive = draws.random(300) < (0.05, 0.4)[seed % 2]
    scores = draws.normal(size=300) + 1.5 * positive
    if seed > 3:
        scores = scores.round(1)  # ties
    curve = roc_curve(positive, scores)
    expected = by_the_challenge(positive.astype(int), scores, at_least)
    assert area_above(at_least, *curve) == pytest.approx(expected, abs=1e-12)
    assert area(*curve) == pytest.approx(reference.roc_auc_score(positive, scores))


def test_the_partial_area_of_known_curves() -> None:
    perfect = roc_curve([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])
    worst = roc_curve([0, 0, 1, 1], [0.9, 0.8, 0.2, 0.1])
    chance = roc_curve([1, 0], [0.5, 0.5])
    assert area_above(0.8, *perfect) == pytest.approx(0.2)
    assert area_above(0.8, *worst) == pytest.approx(0)
    assert area_above(0.8, *chance) == pytest.approx(0.02)
    assert math.isnan(area_above(0.8, *roc_curve([1, 1], [0.1, 0.2])))


def test_net_benefit_by_hand() -> None:
    # Of ten images two are malignant; one of them and two others are referred at 0.25.
    positive = np.array([True] * 2 + [False] * 8)
    referred = np.array([True, False, True, True] + [False] * 6)
    assert net_benefit(positive, referred, 0.25) == pytest.approx(0.1 - 0.2 / 3)
    everybody = np.ones(10, bool)
    assert net_benefit(positive, everybody, 0.2) == pytest.approx(0.2 - 0.8 / 4)  # the prevalence
    assert net_benefit(positive, ~everybody, 0.2) == 0


def rows(images=200, seed=0):
    draws = np.random.default_rng(seed)
    target = draws.choice(3, images, p=[0.2, 0.1, 0.7])
    scores = draws.normal(size=(images, 3))
    scores[np.arange(images), target] += 1.5
    return target, np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def judged(target, probabilities, labels=LABELS):
    lesions = [str(n // 2) for n in range(len(target))]
    return evaluate_probabilities(
        target, probabilities, lesions, labels, model="m@1", data="made up", resamples=60
    )


def test_the_decision_curve_is_that_of_its_thresholds() -> None:
    target, probabilities = rows()
    found = judged(target, probabilities).malignancy
    malignant, scores = target < 2, probabilities[:, :2].sum(1)
    assert found.images == malignant.sum()
    assert found.lesions == len({n // 2 for n in np.flatnonzero(malignant)})
    assert found.auc.value == pytest.approx(reference.roc_auc_score(malignant, scores))
    expected = by_the_challenge(malignant.astype(int), scores, 0.8)
    assert found.partial_auc.value == pytest.approx(expected)
    assert tuple(each.threshold for each in found.decision_curve) == THRESHOLDS
    share = malignant.mean()
    for each in found.decision_curve:
        odds = each.threshold / (1 - each.threshold)
        assert each.model.value == pytest.approx(
            net_benefit(malignant, scores >= each.threshold, each.threshold)
        )
        assert each.refer_all == pytest.approx(share - (1 - share) * odds)
        assert each.model.low <= each.model.value <= each.model.high


def test_where_nobody_is_referred_the_net_benefit_is_zero() -> None:
    """Also its interval: that is what referring nobody is worth, and not unknown."""
    target, probabilities = rows()
    halved = np.concatenate([probabilities[:, :2] / 4, 0 * probabilities[:, 2:]], axis=1)
    halved[:, 2] = 1 - halved.sum(axis=1)
    curve = judged(target, halved).malignancy.decision_curve
    nobody = [each.model for each in curve if each.threshold >= 0.25]
    assert len(nobody) == 13
    assert {(each.value, each.low, each.high) for each in nobody} == {(0, 0, 0)}


def test_one_malignant_lesion_leaves_the_other_figures_their_intervals() -> None:
    target, probabilities = rows()
    target = np.where(np.arange(len(target)) < 2, 0, 2)  # two images of the first lesion
    found = judged(target, probabilities)
    malignancy = found.malignancy
    assert math.isnan(malignancy.auc.low) and math.isnan(malignancy.partial_auc.low)
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    for each in malignancy.decision_curve[:5]:
        assert each.model.low < each.model.high


def test_without_malignant_or_other_images_there_is_no_curve() -> None:
    target, probabilities = rows()
    for kind in (target < 2, target == 2):
        found = judged(target[kind], probabilities[kind]).malignancy
        assert found.decision_curve == () and math.isnan(found.auc.value)
        assert math.isnan(found.partial_auc.value) and math.isnan(found.partial_auc.low)
    assert judged(target, probabilities, LabelSet(("mel", "bcc", "nv"))).malignancy is None


CHALLENGE = {
    "akiec": (0.87, 0.723333333333), "bcc": (0.82, 0.638333333333), "bkl": (0.896666666667, 0.815),
    "df": (0.895, 0.688333333333), "mel": (0.876666666667, 0.803333333333),
    "nv": (0.951666666667, 0.905), "vasc": (0.93, 0.908333333333),
}  # fmt: skip
"""What isic-challenge-scoring 5.6.0 gave for the answers below: `auc` and `auc_above_sensitivity`.

Its partial area (of 2018 and 2019) is the one under the curve right of a sensitivity of 0.8, down
to the axis; that of 2024 ends at the sensitivity.
"""


def test_agreement_with_isic_challenge_scoring() -> None:
    n, k = np.arange(70), np.arange(7)
    target = (3 * n + n // 7) % 7
    scores = ((n[:, None] * 37 + k * 61 + n[:, None] * k * 13) % 101) / 101
    scores += 0.45 * (target[:, None] == k)
    found = judged(target, scores / scores.sum(1, keepdims=True), HAM10000_LABELS)
    assert found.balanced_accuracy.value == pytest.approx(0.5857142857142856)
    for place, (code, (whole, right)) in enumerate(CHALLENGE.items()):
        assert found.auc[code].value == pytest.approx(whole, abs=1e-11)
        x, y = roc_curve(target == place, (scores / scores.sum(1, keepdims=True))[:, place])
        after = int(np.searchsorted(y, 0.8))
        start = np.interp(0.8, y[after - 1 : after + 1], x[after - 1 : after + 1])
        assert area_above(0.8, x, y) + 0.8 * (1 - start) == pytest.approx(right, abs=1e-11)


@pytest.mark.parametrize(
    ("target", "values", "error", "words"),
    [
        ([0, 7], np.eye(7)[:2], DatasetLabelError, "from 0 to 6, whole numbers, got 7"),
        ([0, -1], np.eye(7)[:2], DatasetLabelError, "got -1"),
        ([0, 0.5], np.eye(7)[:2], DatasetLabelError, "got 0.5"),
        (["nv", "mel"], np.eye(7)[:2], DatasetLabelError, "got nv"),
        ([0, 1], np.eye(6)[:2], InputShapeError, "a column for each of 7 labels, got 6"),
        ([0, 1], np.full((2, 7), np.nan), InputRangeError, "2 of 2 rows break this"),
        ([0, 1], np.ones((2, 7)), InputRangeError, "must be finite, in"),
        ([0, 1], [[0.5] * 2 + [-0.1, 0.1] + [0] * 3] * 2, InputRangeError, "must be finite, in"),
    ],
)
def test_what_is_no_label_or_no_probability_is_refused(target, values, error, words) -> None:
    with pytest.raises(error, match=words):
        judged(target, values, HAM10000_LABELS)
