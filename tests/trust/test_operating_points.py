"""Thresholds by hand, and by a search over all of them."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from skinxai.errors import CalibrationError, ModelConfigError, OptionError
from skinxai.trust.deciding import decide
from skinxai.trust.operating_points import MalignancyScores, OperatingPoint, Rate


def scores(pairs, lesions=None) -> MalignancyScores:
    values, kinds = zip(*pairs, strict=True)
    names = lesions or [f"lesion {k}" for k in range(len(values))]
    return MalignancyScores(np.array(values), np.array(kinds, bool), names)


BY_HAND = scores([(0.9, 1), (0.6, 1), (0.4, 1), (0.2, 1), (0.5, 0), (0.3, 0), (0.1, 0), (0.05, 0)])


def test_points_by_hand() -> None:
    screening = BY_HAND.screening()  # all four must be found
    assert (screening.threshold, screening.sensitivity.value) == (pytest.approx(0.15), 1)
    assert screening.specificity.value == 0.5
    three = BY_HAND.holding(sensitivity=0.75)
    assert (three.name, three.threshold, three.specificity.value) == (
        "sensitivity 0.75",
        0.35,
        0.75,
    )
    whole = BY_HAND.holding(specificity=0.99)
    assert (whole.threshold, whole.specificity.value, whole.sensitivity.value) == (0.55, 1, 0.5)
    assert BY_HAND.balanced().threshold == pytest.approx(0.15)  # of three equal sums: 1 + 0.5


def test_of_equal_sums_the_highest_sensitivity_is_taken() -> None:
    """1 + 1/3 and 2/3 + 2/3 are equal, though the second is larger in its last bit."""
    ties = scores([(0.05, 0), (0.22, 1), (0.39, 0), (0.56, 1), (0.73, 1), (0.9, 0)])
    point = ties.balanced()
    assert point.sensitivity.value == 1 and point.specificity.value == pytest.approx(1 / 3)
    assert 0.05 < point.threshold < 0.22


def test_a_points_name_says_its_rate_and_no_rounder_one() -> None:
    """A sensitivity of 0.999 is not one of 1.00, nor 0.975 one of 0.97."""
    for rate, shown in (
        (0.9, "0.90"),
        (0.975, "0.975"),
        (0.999, "0.999"),
        (0.9999999, "0.9999999"),
    ):
        for name in ("sensitivity", "specificity"):
            point = BY_HAND.holding(**{name: rate})
            assert point.name == f"{name} {shown}"
            assert point.rule == f"{name} of at least {shown} on the calibration lesions"


def test_a_specificity_that_no_threshold_holds() -> None:
    """Half of the benign lesions have the malignant probability 1, so that all thresholds refer."""
    sure = scores([(1.0, 1), (0.5, 1), (1.0, 0), (0.2, 0)])
    assert sure.holding(specificity=0.5).specificity.value == 0.5
    with pytest.raises(CalibrationError, match=r"a specificity of 0\.6 needs a threshold below"):
        sure.holding(specificity=0.6)


@pytest.mark.parametrize(
    ("threshold", "shown"),
    [(0.25, "0.250"), (0.0003, "0.0003"), (0.99996, "0.99996"), (0.0, "0.000"), (1.0, "1.000")],
)
def test_a_threshold_is_not_rounded_to_all_or_to_none(threshold: float, shown: str) -> None:
    point = OperatingPoint("x", "chosen", threshold, Rate.of(9, 10), Rate.of(5, 10))
    assert f"{point}".startswith(f"x: refer from {shown} on; sensitivity 0.900 (")


def test_an_interval_of_a_rate_contains_it() -> None:
    """Of none or all of them, Wilson's formula ends at 0 or 1, but for its rounding errors."""
    for lesions in range(1, 400):
        for hits in {0, 1, lesions // 2, lesions}:
            rate, known = Rate.of(hits, lesions), binomtest(hits, lesions)
            assert 0 <= rate.low <= rate.value <= rate.high <= 1, (hits, lesions)
            assert (rate.low, rate.high) == pytest.approx(
                known.proportion_ci(method="wilson"), abs=1e-9
            )


def test_each_lesion_counts_once() -> None:
    """Nine images of one lesion are no more than the one image of another."""
    pairs = [(0.1, 1)] * 9 + [(0.8, 1), (0.2, 0)]
    point = scores(pairs, ["a"] * 9 + ["b", "c"]).holding(sensitivity=0.5)
    assert point.threshold == 0.5 and point.sensitivity.value == 0.5
    assert point.sensitivity == Rate.of(1, 2)


def test_against_all_thresholds() -> None:
    draws = np.random.default_rng(1)
    kinds = draws.random(300) < 0.3
    values = np.round(np.clip(draws.normal(0.3 + 0.3 * kinds, 0.2), 0, 1), 2)  # with ties
    lesions = [str(k) for k in draws.integers(0, 150, 300)]
    kinds = np.array([int(name) % 3 == 0 for name in lesions])
    own = MalignancyScores(values, kinds, lesions)
    weight = np.array([1 / lesions.count(name) for name in lesions])

    def rates(threshold):
        referred = values >= threshold
        return (
            weight[kinds & referred].sum() / weight[kinds].sum(),
            weight[~kinds & ~referred].sum() / weight[~kinds].sum(),
        )

    ends = sorted({0.0, *values.tolist(), 1.0})
    every = [(a + b) / 2 for a, b in itertools.pairwise(ends)]
    held = max(t for t in every if rates(t)[0] >= 0.95)
    assert own.screening().threshold == held
    assert own.screening().sensitivity.value == pytest.approx(rates(held)[0])
    assert own.screening().specificity.value == pytest.approx(rates(held)[1])
    assert sum(rates(own.balanced().threshold)) == pytest.approx(max(sum(rates(t)) for t in every))
    low = min(t for t in every if rates(t)[1] >= 0.8)
    assert own.holding(specificity=0.8).threshold == low


@pytest.mark.parametrize(("hits", "lesions"), [(0, 5), (5, 5), (37, 40), (1, 1000)])
def test_intervals_against_scipy(hits: int, lesions: int) -> None:
    expected = binomtest(hits, lesions).proportion_ci(method="wilson")
    found = Rate.of(hits, lesions)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_what_cannot_be_had() -> None:
    for kinds, words in (([1, 1], "no benign"), ([0, 0], "no malignant")):
        with pytest.raises(CalibrationError, match=words):
            scores(list(zip([0.1, 0.2], kinds, strict=True)))
    for rates in ({}, {"sensitivity": 0.5, "specificity": 0.5}, {"sensitivity": 1.0}):
        with pytest.raises(OptionError, match="in \\(0, 1\\)"):
            BY_HAND.holding(**rates)


def test_decisions_and_their_reasons() -> None:
    point = BY_HAND.screening()
    assert decide(point.threshold, point)[0] == "refer" and decide(0.1499, point)[0] == "routine"
    assert decide(0.25, point)[1] == (
        "the malignant probability 0.250 is at least 0.150, the threshold of 'screening'",
    )
    assert decide(0.99, point, ["it is blurred"]) == ("abstain", ("it is blurred",))
    assert decide(0.1499, point)[1] == (
        "the malignant probability 0.1499 is below 0.1500, the threshold of 'screening'",
    )


def test_points_as_json_and_other_values() -> None:
    plain = BY_HAND.screening().to_dict()
    assert OperatingPoint.from_dict(plain) == BY_HAND.screening()
    wide = {"value": 2, "low": 0, "high": 1}
    for change in ({"threshold": 2}, {"threshold": True}, {"name": "a\nb"}, {"more": 1},
                   {"sensitivity": 0.5}, {"sensitivity": wide}):  # fmt: skip
        with pytest.raises(ModelConfigError):
            OperatingPoint.from_dict(plain | change)
