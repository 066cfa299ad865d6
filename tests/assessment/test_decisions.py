"""What operating points decide about judged images, counted by hand."""

import math

import numpy as np
import pytest

from skinxai.assessment.decisions import at_each_point, decisions
from skinxai.assessment.intervals import clustered_share
from skinxai.errors import DatasetError, OptionError
from skinxai.trust.operating_points import OperatingPoint, Rate

RATE = Rate(0.95, 0.9, 0.98)


def point(threshold: float, name: str = "screening") -> OperatingPoint:
    return OperatingPoint(name, "a rule", threshold, RATE, Rate(0.6, 0.5, 0.7))


# Malignant lesions: a (2 images), b (2), c; others: d (2), e, f.
LESIONS = ["a", "a", "b", "b", "c", "d", "d", "e", "f"]
MALIGNANT = [True] * 5 + [False] * 4
DECIDED = ["refer", "routine", "routine", "routine", "abstain",
           "refer", "routine", "routine", "abstain"]  # fmt: skip


def test_counts_by_hand() -> None:
    found = decisions(DECIDED, MALIGNANT, LESIONS, point(0.3), default=True)
    assert (found.referred.count, found.referred.of) == (2, 9)
    assert (found.missed.count, found.missed.of) == (3, 5)
    assert (found.missed_lesions.count, found.missed_lesions.of) == (1, 3)  # b; c is not decided
    assert (found.spared.count, found.spared.of) == (2, 4)
    assert (found.abstained.count, found.abstained.of) == (2, 9)
    assert found.sensitivity.value == pytest.approx((1 / 2 + 0) / 2)  # a counts half, b not, c out
    assert found.specificity.value == pytest.approx((1 / 2 + 1) / 2)
    assert (found.threshold, found.rule, found.default) == (0.3, "a rule", True)
    promised = found.calibrated_sensitivity
    assert (promised.value, promised.low, promised.high) == (0.95, 0.9, 0.98)


def test_each_share_has_the_interval_of_its_lesions() -> None:
    found = decisions(DECIDED, MALIGNANT, LESIONS, point(0.3))
    assert found.missed.share == clustered_share([False, True, True, True, False], LESIONS[:5])
    assert found.abstained.share == clustered_share(
        [word == "abstain" for word in DECIDED], LESIONS
    )
    wilson = Rate.of(0.5, 2)
    assert (found.sensitivity.low, found.sensitivity.high) == (wilson.low, wilson.high)
    nobody = decisions(["refer"] * 9, MALIGNANT, LESIONS, point(0.0)).missed.share
    assert nobody.value == 0 and nobody.high > 0.3  # none of 5 images is no proof of none


def test_every_image_is_in_one_tally() -> None:
    draws = np.random.default_rng(0)
    for _ in range(20):
        words = draws.choice(["refer", "routine", "abstain"], 9).tolist()
        found = decisions(words, MALIGNANT, LESIONS, point(0.5))
        parts = (found.referred, found.missed, found.spared, found.abstained)
        assert sum(each.count for each in parts) == 9


def test_kinds_that_do_not_occur_have_no_rate() -> None:
    found = decisions(["routine"] * 2, [False, False], ["a", "b"], point(0.5))
    assert (found.missed.count, found.missed.of, str(found.missed)) == (0, 0, "0 of 0: –")
    assert math.isnan(found.sensitivity.value) and math.isnan(found.missed.share.low)
    silent = decisions(["abstain"] * 2, [True, False], ["a", "b"], point(0.5))
    assert math.isnan(silent.sensitivity.value) and math.isnan(silent.specificity.value)
    assert silent.missed.share.value == 0 and silent.abstained.share.value == 1


@pytest.mark.parametrize(
    ("decided", "malignant", "lesions", "error", "words"),
    [
        ([], [], [], DatasetError, "one length > 0, got 0, 0 and 0"),
        (["refer"], [True, False], ["a", "b"], DatasetError, "got 1, 2 and 2"),
        (["refer", "perhaps"], [True, False], ["a", "b"], OptionError, r"got \['perhaps'\]"),
    ],
)
def test_what_is_no_decision_is_refused(decided, malignant, lesions, error, words) -> None:
    with pytest.raises(error, match=words):
        decisions(decided, malignant, lesions, point(0.5))


def test_a_point_decides_by_its_threshold_and_abstains_like_the_others() -> None:
    given = [("refer", 0.6), ("routine", 0.3), ("abstain", 0.9), ("routine", 0.5)]
    found = at_each_point(given, [point(0.5), point(0.2, "own"), point(0.61, "other")])
    assert found == [
        ["refer", "routine", "abstain", "refer"],
        ["refer", "refer", "abstain", "refer"],
        ["routine", "routine", "abstain", "routine"],
    ]
