"""Metrics against scikit-learn, intervals against what they promise."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as reference

from skinxai import Evaluation
from skinxai.assessment.calibration_errors import expected_calibration_error
from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.assessment.metrics import brier_score, confusion_matrix, metrics_of, one_vs_rest_auc
from skinxai.assessment.roc import rate_at, roc_curve, thinned
from skinxai.assessment.subgroups import subgroups
from skinxai.errors import DatasetError, OptionError
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
    guesses = probabilities.argmax(1)
    for name, expected in {
        "balanced_accuracy": reference.balanced_accuracy_score(target, guesses),
        "macro_f1": reference.f1_score(target, guesses, average="macro"),
        "expected_calibration_error": expected_calibration_error(target, probabilities),
        "brier_score": brier_score(target, probabilities),
    }.items():
        assert getattr(found, name).value == pytest.approx(expected), name
    for name, function in {
        "precision": reference.precision_score, "recall": reference.recall_score,
        "f1": reference.f1_score,
    }.items():  # fmt: skip
        figures = [figure.value for figure in getattr(found, name).values()]
        np.testing.assert_allclose(figures, function(target, guesses, average=None))
    areas = [reference.roc_auc_score(target == k, probabilities[:, k]) for k in range(7)]
    np.testing.assert_allclose([figure.value for figure in found.auc.values()], areas)
    np.testing.assert_array_equal(found.confusion, reference.confusion_matrix(target, guesses))
    assert found.to_dict()["macro_f1"]["value"] == found.macro_f1.value
    assert "| mel |" in found.to_markdown()


def judged(answers, **more) -> Evaluation:
    target, probabilities = answers
    lesions = [f"lesion {n // 2}" for n in range(len(target))]
    options = {"labels": HAM10000_LABELS, "model": "m@1", "data": "made up", "resamples": 100}
    return evaluate_probabilities(target, probabilities, lesions, **options | more)


def test_roc_against_scikit_learn(answers) -> None:
    target, probabilities = answers
    for k, code in enumerate(HAM10000_LABELS):
        own = roc_curve(target == k, probabilities[:, k])
        expected = reference.roc_curve(target == k, probabilities[:, k], drop_intermediate=False)
        np.testing.assert_allclose(np.array(own), np.array(expected[:2]))
        points = np.array(judged(answers).roc[code])
        corners = reference.roc_curve(target == k, probabilities[:, k])[:2]
        assert len(points) <= 200
        np.testing.assert_allclose(points, np.stack(corners, 1)[_turns(*corners)])


def _turns(x: np.ndarray, y: np.ndarray) -> list[int]:
    """Corners of a curve: where three points are not on one line."""
    right, up = np.diff(x), np.diff(y)
    inner = [
        n for n in range(1, len(x) - 1) if abs(right[n - 1] * up[n] - right[n] * up[n - 1]) > 1e-12
    ]
    return [0, *inner, len(x) - 1]


def test_a_long_curve_is_thinned_and_stays_the_curve() -> None:
    draws = np.random.default_rng(0)
    own = draws.random(5000) < 0.4
    curve = roc_curve(own, draws.normal(size=5000) + own)
    points = thinned(*curve)
    assert 150 < len(points) <= 200 and points[0] == (0, 0) and points[-1] == (1, 1)
    assert set(points) <= set(zip(*(rates.tolist() for rates in curve), strict=True))
    x, y = np.array(points).T
    assert reference.auc(x, y) == pytest.approx(reference.auc(*curve), abs=2e-3)


def test_a_thinned_curve_has_no_point_twice() -> None:
    """After twenty small steps one leap is nearly all of the way, so that its end is met often."""
    way = np.arange(21) * 0.002
    rates = np.append(np.repeat(way, 2)[1:], 1.0), np.append(np.repeat(way, 2)[:-1], 1.0)
    points = thinned(*rates, most=30)
    # A step of 2 / 29 along the way leads to 0.036 + 0.034, the next ones to the end.
    np.testing.assert_allclose(points, [(0, 0), (0.036, 0.034), (1, 1)])


def test_points_of_the_curve_against_scikit_learn(answers) -> None:
    target, probabilities = answers
    false_positive, true_positive, _ = reference.roc_curve(target == 4, probabilities[:, 4])
    found = judged(answers).roc_points
    assert list(found) == [
        "specificity 0.80", "specificity 0.90", "specificity 0.95", "sensitivity 0.95",
    ]  # fmt: skip
    for point in found.values():
        if point.held == "specificity":
            expected = true_positive[1 - false_positive >= point.at_least].max()
        else:
            expected = 1 - false_positive[true_positive >= point.at_least].min()
        assert point.figure.value == pytest.approx(expected)
        assert point.figure.low < point.figure.value < point.figure.high
        assert f"| {point} | {point.figure} |" in judged(answers).to_markdown()
    assert str(found["specificity 0.90"]) == "mel sensitivity at specificity ≥ 0.90"
    other = LabelSet(tuple("abcdefg"))
    assert judged(answers, labels=other).roc_points == {}


def test_rates_by_hand() -> None:
    # Scores 0.9 0.8 0.7 0.6 0.5, of which the first, third and fifth are of the class.
    curve = roc_curve([1, 0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.5])
    assert rate_at("specificity", 0.5, *curve) == pytest.approx(2 / 3)
    assert rate_at("specificity", 0.51, *curve) == pytest.approx(1 / 3)
    assert rate_at("sensitivity", 2 / 3, *curve) == pytest.approx(0.5)
    assert rate_at("sensitivity", 1, *curve) == 0
    # One of ten others is above the threshold: a specificity of 0.9 is at least 0.9.
    curve = roc_curve([1, *[0] * 10], [0.5, 0.6, *[0.1] * 9])
    assert rate_at("specificity", 0.9, *curve) == 1
    assert math.isnan(rate_at("specificity", 0.9, *roc_curve([1, 1], [0.1, 0.2])))


def test_the_threshold_is_chosen_anew_in_each_resample(answers) -> None:
    target, probabilities = answers
    draws = np.random.default_rng(0)  # as the bootstrap draws, with each image its own lesion
    names = [f"{n:04d}" for n in range(500)]
    expected = []
    for _ in range(50):
        rows = draws.integers(0, 500, 500)
        x, y, _ = reference.roc_curve(target[rows] == 4, probabilities[rows, 4])
        expected.append(y[x <= 0.1 + 1e-12].max())
    found = evaluate_probabilities(
        target, probabilities, names, HAM10000_LABELS, model="", data="", resamples=50
    ).roc_points["specificity 0.90"].figure  # fmt: skip
    np.testing.assert_allclose((found.low, found.high), np.percentile(expected, [2.5, 97.5]))


def test_subgroups_by_hand() -> None:
    # 20 men (15 of 15 nevi and 1 of 5 melanomas right), 30 women, all right, and what has no group.
    target = np.array([0] * 15 + [1] * 5 + [0] * 30 + [1] * 9)
    guesses = np.array([0] * 19 + [1] + [0] * 30 + [0] * 9)
    rows = [{"sex": "male", "age": "29.9"}] * 20 + [{"sex": "female", "age_approx": "30.0"}] * 30
    rows += [{"sex": "", "age": "", "localization": "back"}, {"age": "nan"}, {"age": "old"}]
    rows += [{"localization": "unknown"}] * 6
    lesions = [str(n // 2) for n in range(59)]
    found = subgroups(target, guesses, lesions, rows, 2)
    named = {(group.attribute, group.value): group for group in found}
    assert list(named) == [
        ("sex", "female"), ("sex", "male"), ("age", "0–29"), ("age", "30–49"),
    ]  # fmt: skip
    men = named["sex", "male"]
    assert (men.images, men.lesions, men.classes) == (20, 10, 2)
    assert men.accuracy.value == pytest.approx(16 / 20)
    assert men.balanced_accuracy.value == pytest.approx((1 + 1 / 5) / 2)
    assert men.macro_f1.value == pytest.approx((30 / 34 + 2 / 6) / 2)
    assert men.accuracy.low < 0.8 < men.accuracy.high
    women = named["sex", "female"]
    alone = binomtest(15, 15).proportion_ci(method="wilson").low  # 15 lesions, all right
    for figure in (women.accuracy, women.balanced_accuracy, women.macro_f1):
        assert (figure.value, figure.low, figure.high) == pytest.approx((1, alone, 1))
    assert women.classes == 1
    assert replace(named["age", "0–29"], attribute="sex", value="male") == men
    assert subgroups(target[:19], guesses[:19], lesions[:19], rows[:19], 2) == ()
    assert subgroups(target, guesses, lesions, (), 2) == ()


def test_a_subgroup_is_judged_like_its_images_alone(answers) -> None:
    target, probabilities = answers
    rows = [{"localization": "back" if n < 200 else "face"} for n in range(500)]
    face, back = judged(answers, attributes=rows).subgroups
    alone = judged((target[:200], probabilities[:200]))
    assert (back.value, back.images, back.lesions) == ("back", 200, 100)
    assert (back.accuracy, back.macro_f1) == (alone.accuracy, alone.macro_f1)
    assert (face.value, face.images) == ("face", 300)
    assert (
        f"| site face | 300 | 7 | {face.accuracy} |"
        in judged(answers, attributes=rows).to_markdown()
    )


def test_each_age_is_in_one_band() -> None:
    ends = {"0": "0–29", "29.9": "0–29", "30": "30–49", "49.5": "30–49", "50": "50–69",
            "69.9": "50–69", "70": "70+", "70.5": "70+", "120": "70+"}  # fmt: skip
    for age, band in ends.items():
        truth = np.zeros(20, np.int64)
        (found,) = subgroups(truth, truth, [""] * 20, [{"age": age}] * 20, 2)
        assert (found.attribute, found.value) == ("age", band)


@pytest.mark.parametrize(("resamples", "used"), [(50, 50), (600, 500)])
def test_subgroups_have_the_resamples_asked_for_and_at_most_500(answers, resamples, used) -> None:
    target, guesses = np.array(answers[0]), answers[1].argmax(1)
    rows = [{"localization": "back"}] * len(target)
    lesions = [f"lesion {n // 2}" for n in range(len(target))]
    found = judged(answers, attributes=rows, resamples=resamples).subgroups
    assert found == subgroups(target, guesses, lesions, rows, 7, resamples=used)
    assert found != subgroups(target, guesses, lesions, rows, 7, resamples=used + 1)


def test_a_class_without_images_has_no_figures(answers) -> None:
    target, probabilities = answers
    some = target != 4
    found = judged((target[some], probabilities[some]))
    assert found.roc["mel"] == () and str(found.recall["mel"]) == "–"
    for figure in (found.recall["mel"], found.roc_points["specificity 0.90"].figure):
        assert all(math.isnan(v) for v in (figure.value, figure.low, figure.high))
    assert found.balanced_accuracy.value == pytest.approx(
        reference.recall_score(
            target[some], probabilities[some].argmax(1), labels=[0, 1, 2, 3, 5, 6], average="macro"
        )
    )


def test_to_dict_and_back(answers) -> None:
    rows = [{"sex": "male"}] * 500
    found = judged(answers, attributes=rows, leaked=True)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Evaluation.from_dict(values) == found
    assert values["labels"]["malignant"] == ["akiec", "bcc", "mel"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("roc"), r"evaluation must have the keys .* \['roc'\] missing"),
        (lambda v: v.update(kappa=1), r"must only have the keys .*, got \['kappa'\]"),
        (lambda v: v.update(images="many"), "evaluation.images must be of type int"),
        (lambda v: v.update(images=True), "evaluation.images must be of type int"),
        (lambda v: v["f1"]["mel"].pop("low"), "evaluation.f1.mel must have the keys"),
        (lambda v: v["accuracy"].update(value="1"), "accuracy.value must be of type int or float"),
        (lambda v: v.update(confusion=[[0.5]]), r"confusion\[0\]\[0\] must be of type int"),
        (lambda v: v["labels"].update(codes="mel"), "labels.codes must be of type list"),
        (lambda v: v["roc_points"]["specificity 0.90"].pop("held"), "must have the keys"),
    ],
)
def test_from_dict_is_strict(answers, change, message) -> None:
    values = json.loads(json.dumps(judged(answers).to_dict()))
    change(values)
    with pytest.raises(OptionError, match=message):
        Evaluation.from_dict(values)
    with pytest.raises(OptionError, match="evaluation must be of type dict"):
        Evaluation.from_dict([])


def test_attributes_of_other_images_are_refused(answers) -> None:
    with pytest.raises(DatasetError, match="one row for each of 500 images, got 1"):
        judged(answers, attributes=[{}])


def test_wrong_lengths_are_refused() -> None:
    with pytest.raises(DatasetError, match="one length > 0, got 1, 1 and 2"):
        evaluate_probabilities(
            [0], np.array([[0.5, 0.5]]), ["a", "b"], LabelSet(("x", "y")), model="", data=""
        )
