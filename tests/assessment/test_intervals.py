"""The clustered bootstrap against numbers worked out by hand and against a plain loop."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.assessment.selective import selective_answers
from skinxai.labels import LabelSet
from skinxai.results import Evaluation, Figure

VALUES = np.random.default_rng(5).normal(size=12)
SCATTERED = [f"lesion {n % 4}" for n in range(12)]  # no lesion's images stand together


def mean_of(values):
    return lambda rows: np.array([np.asarray(values)[rows].mean()])


def by_a_loop(
    values: np.ndarray, clusters: list[str], resamples: int, level: float, seed: int
) -> np.ndarray:
    """The interval of a mean, with the clusters as lists of values."""
    lists = [
        [value for value, own in zip(values, clusters, strict=True) if own == name]
        for name in sorted(set(clusters))
    ]
    draws, found = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = draws.integers(0, len(lists), len(lists))
        found.append(np.mean([value for n in drawn for value in lists[n]]))
    return np.quantile(found, [(1 - level) / 2, (1 + level) / 2])


def test_a_lesion_takes_its_own_images_where_they_do_not_stand_together() -> None:
    # "a" is 0 twice and "b" is 1 twice; of four resamples one has "a" alone, and one has "b".
    low, high = clustered_bootstrap(mean_of([0, 1, 0, 1]), ["a", "b", "a", "b"])
    assert (low.tolist(), high.tolist()) == ([0], [1])
    low, high = clustered_bootstrap(mean_of([0, 1, 1, 0]), ["b", "a", "b", "a"])
    assert (low.tolist(), high.tolist()) == ([0.5], [0.5])


@pytest.mark.parametrize(
    ("resamples", "level", "seed"), [(200, 0.95, 0), (200, 0.95, 1), (200, 0.5, 0), (3, 0.95, 0)]
)
@pytest.mark.parametrize(
    "clusters",
    [SCATTERED, sorted(SCATTERED), ["x", *"yyyyyyyyyy", "x"], [str(n) for n in range(12)]],
    ids=["scattered", "together", "of two sizes", "of one image"],
)
def test_the_interval_is_that_of_a_plain_loop(clusters, resamples, level, seed) -> None:
    found = clustered_bootstrap(
        mean_of(VALUES), clusters, resamples=resamples, level=level, seed=seed
    )
    expected = by_a_loop(VALUES, clusters, resamples, level, seed)
    np.testing.assert_allclose(np.concatenate(found), expected)


def test_the_seed_chooses_the_draws() -> None:
    first, again, other = (
        clustered_bootstrap(mean_of(VALUES), SCATTERED, resamples=50, seed=seed)
        for seed in (0, 0, 1)
    )
    assert first == again and first != other


def test_resamples_without_a_value_are_left_out() -> None:
    values = np.array([0.0, 1.0, 0.0, 1.0])

    def statistic(rows):
        """The mean where image 1 is drawn; one that is never defined; and the plain mean."""
        mean = values[rows].mean()
        return np.array([mean if 1 in rows else np.nan, np.nan, mean])

    low, high = clustered_bootstrap(statistic, ["a", "b", "c", "d"], resamples=200)
    np.testing.assert_array_equal(low, [0.25, np.nan, 0])
    np.testing.assert_array_equal(high, [1, np.nan, 1])


@pytest.mark.parametrize("images", [1, 4])
def test_one_lesion_has_no_interval(images) -> None:
    """All its resamples are alike: an interval without a width would promise certainty."""
    labels, lesions = LabelSet(("a", "b", "c", "d", "e", "f", "g")), ["one"] * images
    scores = np.full((images, 7), 0.1) + 0.3 * np.eye(7)[0]
    attributes = [{"sex": "female" if n % 2 else "male"} for n in range(images)]
    found = evaluate_probabilities(
        [0] * images, scores, lesions, labels, resamples=20, attributes=attributes, model="m",
        data="d",
    )  # fmt: skip
    figures = [
        found.accuracy, found.macro_f1, found.brier_score, found.expected_calibration_error,
        found.recall["a"], found.f1["a"],
    ]  # fmt: skip
    assert all(np.isnan([each.low, each.high]).all() for each in figures)
    assert str(found.accuracy) == "1.000 (–)"
    assert all(np.isnan(gap.difference.low) for gap in found.gaps)
    assert all(np.isnan(group.accuracy.low) for group in found.subgroups)
    assert repr(Evaluation.from_dict(found.to_dict())) == repr(found)


def test_figures_of_a_class_of_one_lesion_have_no_interval() -> None:
    """Its recall, and what tells it from the others: 14 of its 20 images are found."""
    labels = LabelSet(("nv", "mel", "bcc"), malignant=("mel", "bcc"))
    target = [0] * 30 + [1] * 20 + [2] * 8
    lesions = [str(n) for n in range(30)] + ["one"] * 20 + [f"bcc {n}" for n in range(8)]
    scores = 0.1 + 0.7 * np.eye(3)[[0] * 28 + [1] * 2 + [1] * 14 + [0] * 6 + [2] * 7 + [0]]
    found = evaluate_probabilities(
        target, scores, lesions, labels, resamples=50, model="m", data="d"
    )
    assert str(found.recall["mel"]) == "0.700 (–)" and str(found.auc["mel"]).endswith(" (–)")
    points = [point.figure for point in found.roc_points.values()]
    assert points and all(np.isnan([each.low, each.high]).all() for each in points)
    kept = [found.recall["nv"], found.recall["bcc"], found.auc["nv"], found.malignancy.auc]
    assert all(each.low < each.value <= each.high for each in kept)
    alone = [*target[:50], *[0] * 8]  # melanoma is the only malignant class now
    found = evaluate_probabilities(
        alone, scores, lesions, labels, resamples=50, model="m", data="d"
    )
    for figure in (found.malignancy.auc, found.malignancy.partial_auc):
        assert str(figure).endswith(" (–)")
    assert found.accuracy.low < found.accuracy.high
    pair = evaluate_probabilities(  # all others of nv are of one lesion
        target[:50], scores[:50], lesions[:50], labels, resamples=50, model="m", data="d"
    )
    assert str(pair.auc["nv"]).endswith(" (–)") and pair.recall["nv"].low < pair.recall["nv"].high


def wilson(hits: int, of: int) -> list[float]:
    found = binomtest(hits, of).proportion_ci(method="wilson")
    return [hits / of, found.low, found.high]


def test_what_is_all_right_is_not_certain() -> None:
    """All 11 lesions of one class and all 3 of another are right, and so they are in a resample."""
    labels, names = LabelSet(("a", "b", "c")), [str(n) for n in range(54)]
    target = np.repeat([0, 1, 2], [40, 11, 3])
    guesses = np.where(np.arange(54) < 5, 1, target)
    scores = 0.1 + 0.7 * np.eye(3)[guesses]
    found = evaluate_probabilities(target, scores, names, labels, model="m", data="d")
    for figure, count in ((found.recall["b"], 11), (found.precision["a"], 35)):
        assert [figure.value, figure.low, figure.high] == pytest.approx(wilson(count, count))
    assert str(found.recall["c"]) == "1.000 (0.439–1.000)"
    assert str(found.auc["c"]) == str(found.f1["c"]) == "1.000 (–)"
    assert found.auc["b"].low < found.auc["b"].high

    def statistic(rows):
        made = metrics_of(confusion_matrix(target[rows], guesses[rows], 3))
        return np.array([made.balanced_accuracy, made.macro_f1])

    plain, _ = clustered_bootstrap(statistic, names)
    more = [(1 - wilson(count, count)[1]) / 3 for count in (11, 3)]
    for figure, end in zip((found.balanced_accuracy, found.macro_f1), plain, strict=True):
        assert figure.low == pytest.approx(figure.value - math.hypot(figure.value - end, *more))
        assert figure.value < figure.high < 1
    right = evaluate_probabilities(
        target, np.eye(3)[target], names, labels, model="m", data="d", resamples=20
    )
    whole = [right.accuracy.value, right.accuracy.low, right.accuracy.high]
    assert whole == pytest.approx(wilson(54, 54))
    assert right.balanced_accuracy.low < 0.8 and str(right.brier_score) == "0.000 (–)"


def test_the_interval_of_a_recall_of_eleven_lesions_covers() -> None:
    """Over all numbers of right answers that there are, each as often as it comes."""
    labels, names = LabelSet(("a", "b")), [str(n) for n in range(41)]
    target, covered = np.repeat([0, 1], [30, 11]), np.zeros(4)
    shares = np.array([0.7, 0.9, 0.95, 0.97])
    for right in range(12):
        guesses = np.where(np.arange(41) < 30 + right, target, 0)
        scores = 0.1 + 0.8 * np.eye(2)[guesses]
        own = evaluate_probabilities(
            target, scores, names, labels, model="m", data="d", resamples=200
        ).recall["b"]
        covered += binom.pmf(right, 11, shares) * ((own.low <= shares) & (shares <= own.high))
    assert (covered > [0.85, 0.9, 0.9, 0.9]).all(), covered  # a percentile interval: 0.28 at 0.97


def test_the_surest_answers_are_all_right() -> None:
    right = np.arange(40) < 30
    found = selective_answers(np.linspace(1, 0.5, 40), right, [str(n) for n in range(40)], {})
    half = found.accuracy_at["0.50"]
    assert [half.value, half.low, half.high] == pytest.approx(wilson(20, 20))
    assert found.accuracy_at["0.95"].low < 30 / 38 < found.accuracy_at["0.95"].high


def test_figures_that_lack_the_same_are_equal() -> None:
    """As those of an evaluation that is written and read."""
    one, other = (Figure(1.0, float(text), float(text)) for text in ("nan", "-nan"))
    assert one == other and len({one, other}) == 1
    assert one != Figure(1.0, 0.5, 1.0)
