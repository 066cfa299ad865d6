"""Gaps between groups, groups that are too small, and the groups of skin tone."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from skinxai.assessment.gaps import gaps
from skinxai.assessment.subgroups import small_groups, subgroups
from skinxai.labels import LabelSet

LABELS = LabelSet(("mel", "nv"), {}, frozenset({"mel"}))


def named(found):
    return {(gap.attribute, gap.figure): gap for gap in found}


def test_gaps_by_hand() -> None:
    # 40 women (20 mel, 15 found; 20 nv, 18 found), 60 men (20 mel, 10 found; 40 nv, all found).
    target = np.array([0] * 20 + [1] * 20 + [0] * 20 + [1] * 40)
    guesses = np.array([0] * 15 + [1] * 5 + [1] * 18 + [0] * 2 + [0] * 10 + [1] * 10 + [1] * 40)
    rows = [{"sex": "female"}] * 40 + [{"sex": "male"}] * 60
    found = named(gaps(target, guesses, [str(n) for n in range(100)], rows, LABELS))
    assert list(found) == [
        ("sex", "accuracy"), ("sex", "malignant recall"), ("sex", "benign recall"),
    ]  # fmt: skip
    malignant = found["sex", "malignant recall"]
    assert malignant.difference.value == pytest.approx(0.75 - 0.5)
    assert (malignant.best, malignant.worst) == ("female", "male")
    assert 0 == malignant.difference.low < 0.25 < malignant.difference.high  # 20 against 20
    accuracy = found["sex", "accuracy"]
    assert accuracy.difference.value == pytest.approx(50 / 60 - 33 / 40)
    benign = found["sex", "benign recall"]
    assert (benign.best, benign.difference.value) == ("male", pytest.approx(0.1))


def test_a_group_needs_twenty_images_that_the_figure_is_of() -> None:
    """A group with three melanomas, all missed, would make a gap of 1 that is certain."""
    target = np.array([0] * 30 + [1] * 30 + [0] * 3 + [1] * 57)
    guesses = np.where(np.arange(120) >= 60, 1, target)
    rows = [{"sex": "female"}] * 60 + [{"sex": "male"}] * 60
    found = named(gaps(target, guesses, [str(n) for n in range(120)], rows, LABELS))
    assert ("sex", "malignant recall") not in found
    assert found["sex", "benign recall"].difference.value == 0


def test_a_large_gap_is_certain_and_one_by_chance_is_not() -> None:
    draws = np.random.default_rng(0)
    rows = [{"localization": f"site {n % 5}"} for n in range(500)]
    lesions = [str(n // 2) for n in range(500)]
    target = np.ones(500, int)
    even = np.where(draws.random(500) < 0.8, 1, 0)
    (found, _) = gaps(target, even, lesions, rows, LABELS)
    assert found.difference.low == 0 < found.difference.value
    torn = np.where(np.arange(500) % 5 == 0, 0, 1)
    (found, _) = gaps(target, torn, lesions, rows, LABELS)
    assert found.difference.value == 1 and found.difference.low > 0.9
    assert found.worst == "site 0"


def test_the_interval_covers_a_gap_of_nothing() -> None:
    covered = 0
    rows = [{"localization": f"site {n // 2 % 4}"} for n in range(320)]
    lesions = [str(n // 2) for n in range(320)]
    for seed in range(100):
        right = np.repeat(np.random.default_rng(seed).random(160) < 0.8, 2)
        (found, _) = gaps(
            np.ones(320, int), right.astype(int), lesions, rows, LABELS, resamples=200
        )
        covered += found.difference.low == 0
    assert covered >= 92


def test_without_groups_there_is_no_gap() -> None:
    assert gaps(np.ones(50, int), np.ones(50, int), ["a"] * 50, (), LABELS) == ()
    alone = [{"sex": "male"}] * 50
    assert gaps(np.ones(50, int), np.ones(50, int), ["a"] * 50, alone, LABELS) == ()
    plain = gaps(
        np.ones(50, int), np.ones(50, int), [str(n) for n in range(50)],
        [{"sex": ("male", "female")[n % 2]} for n in range(50)], LabelSet(("a", "b")),
    )  # fmt: skip
    assert [gap.figure for gap in plain] == ["accuracy"]  # nothing is declared malignant


def test_small_groups_and_unknown_values_are_named() -> None:
    rows = [{"sex": "male", "localization": "back"}] * 30 + [{"sex": "female"}] * 19
    rows += [{"sex": "unknown", "localization": "ear"}, {"sex": "NaN"}]
    assert small_groups(rows) == (
        "sex: no figures of groups with fewer than 20 images, which are female (19)",
        "sex: not known of 2 of 51 images, which are in no group",
        "site: no figures of groups with fewer than 20 images, which are ear (1)",
        "site: not known of 20 of 51 images, which are in no group",
    )
    assert small_groups([{"sex": "male"}] * 20) == () == small_groups(())
    assert small_groups([{"sex": ""}] * 20) == ()  # nobody said anything: there are no groups


@pytest.mark.parametrize(
    ("row", "attribute", "group"),
    [
        ({"dataset": "vidir_modern"}, "source", "vidir_modern"),
        ({"fitzpatrick_skin_type": "IV"}, "Fitzpatrick type", "IV"),
        ({"fitzpatrick": "2"}, "Fitzpatrick type", "2"),
        ({"ita": "55"}, "skin tone (ITA)", "very light"),
        ({"ita": "54.99"}, "skin tone (ITA)", "light"),
        ({"ita": "28"}, "skin tone (ITA)", "intermediate"),
        ({"ita": "10"}, "skin tone (ITA)", "tan"),
        ({"ita": "-30"}, "skin tone (ITA)", "brown"),
        ({"ita": "-30.01"}, "skin tone (ITA)", "dark"),
    ],
)
def test_groups_by_source_and_skin(row, attribute, group) -> None:
    truth = np.zeros(20, np.int64)
    (found,) = subgroups(truth, truth, [""] * 20, [row] * 20, 2)
    assert (found.attribute, found.value) == (attribute, group)


def test_values_that_differ_by_case_or_blanks_alone_are_one_group() -> None:
    names = ["Back"] * 15 + ["back"] * 16 + ["lower  extremity "] * 5 + ["lower extremity"] * 15
    truth, rows = np.zeros(len(names), np.int64), [{"localization": name} for name in names]
    lesions = [str(n) for n in range(len(names))]
    found = subgroups(truth, truth, lesions, rows, 2)
    assert [(each.value, each.images) for each in found] == [("back", 31), ("lower extremity", 20)]
    assert small_groups(rows) == ()
    assert small_groups(rows[:16]) == (
        "site: no figures of groups with fewer than 20 images, which are Back (16)",
    )


def test_skin_tones_are_in_order() -> None:
    angles = [60.0] * 20 + [-50.0] * 20 + [20.0] * 30 + [math.nan] * 5
    truth = np.zeros(75, np.int64)
    rows = [{"ita": str(angle)} for angle in angles]
    found = subgroups(truth, truth, [str(n) for n in range(75)], rows, 2)
    assert [group.value for group in found] == ["dark", "tan", "very light"]


@pytest.mark.parametrize(
    ("row", "group"),
    [
        ({"age": 50, "sex": "male"}, ("50–69", "male")),
        ({"age": 0}, ("0–29", None)),  # which is known
        ({"age": np.float64(29.5), "sex": math.nan}, ("0–29", None)),
        ({"age": math.nan, "age_approx": "70"}, ("70+", None)),  # the other column knows it
        ({"age": "unknown", "age_approx": 30, "sex": None}, ("30–49", None)),
        ({"age": "nan", "age_approx": "", "sex": " female "}, (None, "female")),
        ({"AGE": 50, "Sex": "male", 0: "a column without a name"}, ("50–69", "male")),
    ],
)
def test_attributes_of_records_made_in_a_program(row, group) -> None:
    """Rows of a pandas table have numbers, and NaN for what is not known."""
    truth = np.zeros(20, np.int64)
    found = {
        each.attribute: each.value for each in subgroups(truth, truth, [""] * 20, [row] * 20, 2)
    }
    assert (found.get("age"), found.get("sex")) == group


def test_groups_that_are_all_right_may_differ_all_the_same() -> None:
    rows = [{"sex": "female"}] * 20 + [{"sex": "male"}] * 30
    lesions = [str(n) for n in range(50)]
    for wrong in (0, 20):  # of the women
        right = np.where(np.arange(50) < wrong, 0, 1)
        found = named(gaps(np.ones(50, int), right, lesions, rows, LABELS))["sex", "accuracy"]
        wide, narrow = (1 - binomtest(n, n).proportion_ci(method="wilson").low for n in (20, 30))
        own = found.difference
        expected = (1, 1 - math.hypot(wide, narrow), 1) if wrong else (0, 0, wide)
        assert (own.value, own.low, own.high) == pytest.approx(expected)
