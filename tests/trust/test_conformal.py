"""Conformal sets against MAPIE and crepes, against slow code, and by what they promise."""

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from skinxai.trust.conformal import Conformal
from skinxai.trust.nonconformity import nonconformity

marginal = partial(Conformal.fit, class_conditional=False)
LABELS = ("akiec", "bcc", "mel", "nv")


def made(images, start):
    """Probabilities of four classes, and true classes, by a formula."""
    n = np.arange(start, start + images)
    waves = np.exp(2.5 * np.sin(np.outer(n, [1.3, 2.1, 0.7, 3.9]) + np.arange(4)))
    rows = waves / waves.sum(axis=1, keepdims=True)
    flat = rows**0.7 / (rows**0.7).sum(axis=1, keepdims=True)
    target = ((n * 0.6180339887498949 % 1)[:, None] > np.cumsum(flat, axis=1)).sum(axis=1)
    return rows, np.minimum(target, 3)


def two_classes(true_probabilities):
    """Rows whose true class is 0 and has these probabilities."""
    own = np.asarray(true_probabilities, float)
    return np.column_stack([own, 1 - own]), np.zeros(len(own), int)


# Images whose set has each class. Marginal: by MAPIE 1.6.0; LAC as it is, APS by its cumulative
# scores minus the class's own probability. Class-conditional: by crepes 0.9.1 without smoothing.
# Sets that they leave empty have got the top class.
BY_OTHERS = [
    ("lac", False, 0.6, [71, 59, 65, 67]),
    ("aps", False, 0.6, [71, 67, 68, 65]),
    ("lac", True, 0.6, [71, 56, 69, 58]),
    ("aps", True, 0.6, [79, 43, 80, 63]),
    ("lac", False, 0.8, [96, 98, 93, 91]),
    ("aps", False, 0.8, [96, 96, 97, 96]),
    ("lac", True, 0.8, [85, 118, 95, 91]),
    ("aps", True, 0.8, [90, 119, 97, 96]),
    ("lac", False, 0.9, [112, 122, 111, 110]),
    ("aps", False, 0.9, [111, 123, 117, 113]),
    ("lac", True, 0.9, [107, 144, 114, 110]),
    ("aps", True, 0.9, [111, 134, 118, 114]),
    ("lac", False, 0.95, [126, 140, 133, 130]),
    ("aps", False, 0.95, [132, 139, 140, 131]),
    ("lac", True, 0.95, [123, 156, 141, 133]),
    ("aps", True, 0.95, [133, 150, 153, 132]),
]


@pytest.mark.parametrize(("method", "each", "coverage", "counts"), BY_OTHERS)
def test_sets_are_those_of_mapie_and_crepes(method, each, coverage, counts):
    rows, target = made(120, 0)
    fitted = Conformal.fit(rows, target, method=method, class_conditional=each)
    assert fitted.sets(made(200, 1000)[0], coverage).sum(axis=0).tolist() == counts


def test_scores_by_hand():
    rows = np.array([[0.5, 0.3, 0.2], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
    assert nonconformity(rows, "lac").tolist() == [
        [500_000, 700_000, 800_000],
        [750_000, 750_000, 500_000],
        [0, 1_000_000, 1_000_000],
    ]
    assert nonconformity(rows, "aps").tolist() == [
        [0, 500_000, 800_000],
        [500_000, 500_000, 0],  # a tie: neither is beyond the other
        [0, 1_000_000, 1_000_000],
    ]
    assert nonconformity(rows, "raps", 0.1, 1).tolist() == [
        [0, 600_000, 1_000_000],
        [600_000, 600_000, 0],
        [0, 1_100_000, 1_100_000],
    ]


@pytest.mark.parametrize(("penalty", "free"), [(0.0, 0), (0.1, 2), (0.25, 1), (2.0, 0)])
def test_raps_is_what_a_loop_over_classes_computes(penalty, free):
    rows = np.round(made(60, 5)[0], 1)
    rows[:, -1] = 1 - rows[:, :-1].sum(axis=1)
    rows = np.clip(rows, 0, 1)
    slow = [
        [
            sum(p for p in row if p > own) + penalty * max(0, int((row > own).sum()) + 1 - free)
            for own in row
        ]
        for row in rows
    ]
    assert np.abs(nonconformity(rows, "raps", penalty, free) / 1e6 - slow).max() < 1e-6


@pytest.mark.parametrize("method", ["lac", "aps", "raps"])
@pytest.mark.parametrize("each", [False, True])
def test_order_of_classes_and_of_images_changes_nothing(method, each):
    rows, target = made(90, 0)
    new, order = made(50, 400)[0], np.array([2, 0, 3, 1])
    sets = Conformal.fit(rows, target, method=method, class_conditional=each).sets(new, 0.8)
    other = Conformal.fit(
        rows[::-1][:, order], np.argsort(order)[target[::-1]], method=method, class_conditional=each
    )
    assert (other.sets(new[:, order], 0.8) == sets[:, order]).all()


def test_sets_grow_with_the_coverage():
    fitted = Conformal.fit(*made(90, 0), method="aps")
    sizes = [fitted.sets(made(50, 400)[0], c).sum() for c in np.linspace(0.02, 0.98, 49)]
    assert sizes == sorted(sizes)


def test_threshold_is_the_score_of_rank_n_plus_1_times_coverage():
    """Nine images with scores 0.1 … 0.9: rank ⌈10 · 0.9⌉ = 9, rank ⌈10 · 0.7⌉ = 7 and no more."""
    rows, target = two_classes(np.arange(1, 10) / 10)
    fitted = marginal(rows, target, method="lac")
    new = two_classes([0.1, 0.09, 0.3, 0.29])[0]
    assert fitted.sets(new, 0.9)[:, 0].tolist() == [True, False, True, True]
    assert fitted.sets(new, 0.7)[:, 0].tolist() == [False, False, True, False]
    assert fitted.sets(new, 0.71)[:, 0].tolist() == [False, False, True, True]  # rank 8
    assert fitted.sets(new, 0.901).all()  # rank 10 of 9: all classes


def test_floating_point_does_not_lift_a_rank():
    """0.28 · 25 is 7.000000000000001 in binary; the rank is 7."""
    rows, target = two_classes(1 - np.arange(1, 25) / 100)
    fitted = marginal(rows, target, method="lac")
    assert 0.28 * 25 > 7
    assert fitted._thresholds(0.28).tolist() == [70_000, 70_000]


def test_sets_are_never_empty():
    rows, target = two_classes([0.999] * 30)
    sets = marginal(rows, target, method="lac").sets([[0.6, 0.4], [0.45, 0.55]], 0.5)
    assert sets.tolist() == [[True, False], [False, True]]


def test_sums_that_differ_by_rounding_are_one_score():
    """0.7 + 0.2 is below 0.5 + 0.4 in binary, and both are nine tenths."""
    rows = np.array([[0.1, 0.2, 0.7]] * 20)
    fitted = marginal(rows, np.zeros(20, int), method="aps")
    assert 0.7 + 0.2 < 0.5 + 0.4
    assert fitted.sets([[0.1, 0.4, 0.5]], 0.9).all()


def slow_threshold(scores, lesions, coverage):
    """Lee, Barber & Willett: mass 1/((L + 1) · size) at each score, 1/(L + 1) at infinity."""
    names = set(lesions)
    for limit in sorted(scores):
        mass = sum(
            Fraction(1, lesions.count(name) * (len(names) + 1))
            for score, name in zip(scores, lesions, strict=True)
            if score <= limit
        )
        if mass >= Fraction(str(coverage)):
            return limit
    return None


@pytest.mark.parametrize("coverage", [0.05, 0.3, 0.5, 0.75, 0.9, 0.96])
@pytest.mark.parametrize("seed", range(4))
def test_images_of_one_lesion_share_its_weight(coverage, seed):
    draws = np.random.default_rng(seed)
    rows, target = two_classes(np.round(draws.random(70), 3))
    lesions = [f"HAM_{n}" for n in draws.integers(0, 25, 70)]
    fitted = marginal(rows, target, method="lac", lesions=lesions)
    expected = slow_threshold([round(1e6 * (1 - row[0])) for row in rows], lesions, coverage)
    assert fitted.lesions == (len(set(lesions)),)
    if expected is None:
        assert fitted.always(coverage) == (0, 1)
    else:
        assert fitted._thresholds(coverage).tolist() == [expected, expected]


def test_a_lesion_photographed_often_does_not_stand_for_many():
    """14 lesions of 100 equal images: the 13th score covers 13/15 < 0.9, the 14th 14/15."""
    rows, target = two_classes(np.repeat(np.arange(14, 0, -1) / 20, 100))
    lesions = np.repeat(np.arange(14), 100).tolist()
    pooled = marginal(rows, target, method="lac")
    weighted = marginal(rows, target, method="lac", lesions=lesions)
    assert pooled._thresholds(0.9)[0] == 900_000
    assert weighted._thresholds(0.9)[0] == 950_000
    assert weighted.lesions == (14,)


def test_lesions_of_one_image_each_are_the_usual_quantile():
    rows, target = made(90, 0)
    for each in (False, True):
        plain = Conformal.fit(rows, target, class_conditional=each)
        named = Conformal.fit(rows, target, class_conditional=each, lesions=list(range(90)))
        assert named == plain


def test_coverage_of_new_lesions_lies_in_its_band():
    """500 draws of calibration and new lesions, with several images that resemble each other."""
    draws, covered, asked, trials = np.random.default_rng(3), 0, 0.8, 500
    for _ in range(trials):
        sizes = draws.integers(1, 7, 31)
        hardness = np.repeat(draws.random(31), sizes) * 0.9 + 0.1 * draws.random(sizes.sum())
        rows, target = two_classes(hardness)
        last = int(sizes[-1])
        lesions = np.repeat(np.arange(31), sizes)[:-last].tolist()
        fitted = marginal(rows[:-last], target[:-last], method="lac", lesions=lesions)
        new = two_classes([rows[-draws.integers(1, last + 1), 0]])[0]
        covered += bool(new[0, 0] >= 1 - fitted._thresholds(asked)[0] / 1e6 - 1e-9)
    spread = 4 * math.sqrt(asked * (1 - asked) / trials)
    assert asked - spread < covered / trials < asked + 1 / 31 + spread


def test_a_class_with_too_few_lesions_is_in_every_set():
    rows, target = made(120, 0)
    keep = (target != 2) | (np.cumsum(target == 2) <= 5)
    keep &= target != 0
    fitted = Conformal.fit(rows[keep], target[keep], method="lac", class_conditional=True)
    new = made(200, 1000)[0]
    assert fitted.always(0.9) == (0, 2)
    assert fitted.sets(new, 0.9)[:, [0, 2]].all()
    assert not fitted.sets(new, 0.9)[:, 1].all()
    assert fitted.always(0.8) == (0,)  # ⌈6 · 0.8⌉ = 5
    assert fitted.notes(LABELS, 0.9) == (
        "Every set contains 'akiec' (0), 'mel' (5), whatever the image shows: coverage 0.9 needs "
        "at least 9 calibration lesions of each class, and the numbers in brackets are what there "
        "is.",
    )
    assert Conformal.fit(*made(120, 0), class_conditional=True).notes(LABELS, 0.9) == ()


def test_too_few_lesions_of_all_classes():
    rows, target = made(18, 0)
    fitted = marginal(rows, target, method="aps")
    assert fitted.always(0.94) == ()
    assert fitted.always(0.95) == (0, 1, 2, 3)
    assert fitted.sets(rows, 0.95).all()
    assert "needs at least 19 calibration lesions, and" in fitted.notes(LABELS, 0.95)[0]


def test_a_class_that_calibration_has_not_is_said():
    rows, target = made(120, 0)
    fitted = marginal(rows[target != 2], target[target != 2], method="aps")
    assert fitted.notes(LABELS, 0.9) == (
        "No calibration image shows 'mel': how often sets contain such a class where it is the "
        "true one is not known.",
    )
