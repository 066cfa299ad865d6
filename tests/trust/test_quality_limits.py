"""Limits of image quality: how they are fitted, said and kept."""

import json
import math
import re

import numpy as np
import pytest
from places import ROOT
from test_quality import array, drawn, limits

from skinxai.errors import InputRangeError, ModelConfigError, OptionError, UnknownNameError
from skinxai.trust.quality import MEASURES, QualityLimits, measure

__all__ = ["limits"]  # fixtures


def random_measures(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {flag: float(check.tolerated * rng.lognormal()) for flag, check in MEASURES.items()}
        for _ in range(count)
    ]


@pytest.mark.parametrize("rejected", [0, 0.01, 0.05, 0.5])
@pytest.mark.parametrize("count", [1, 7, 100, 1000])
def test_the_fit_rejects_at_most_its_share_of_the_calibration_images(count, rejected):
    measured = random_measures(count)
    fitted = QualityLimits.fit(measured, rejected=rejected)
    flagged = sum(bool(fitted.flags(values)) for values in measured)
    assert flagged <= rejected * count
    assert fitted.images == count


def test_the_fit_uses_most_of_the_share_where_images_differ():
    measured = random_measures(1000)
    fitted = QualityLimits.fit(measured, rejected=0.1)
    assert sum(bool(fitted.flags(values)) for values in measured) > 90


def test_equal_images_are_never_flagged():
    measured = random_measures(1) * 100
    assert QualityLimits.fit(measured, rejected=0.5).flags(measured[0]) == {}


def test_one_good_image_leaves_the_tolerated_limits():
    perfect = {
        flag: check.tolerated * (2 if check.bad == "low" else 0) for flag, check in MEASURES.items()
    }
    assert QualityLimits.fit([perfect]).limits == {f: c.tolerated for f, c in MEASURES.items()}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_measures_that_are_not_finite_are_refused(limits, bad):
    values = measure(array(drawn())) | {"border": bad}
    with pytest.raises(InputRangeError, match="'border' must be finite"):
        QualityLimits.fit([values])
    with pytest.raises(InputRangeError, match="'border' must be finite"):
        limits.flags(values)


def test_a_fit_without_images_or_measures_is_refused(limits):
    with pytest.raises(OptionError, match="at least one image"):
        QualityLimits.fit([])
    with pytest.raises(OptionError, match="'too_small'"):
        QualityLimits.fit([{}])
    with pytest.raises(OptionError, match="'too_small'"):
        limits.flags({})


@pytest.mark.parametrize("rejected", [-0.01, 0.51, math.nan, "1", True, None])
def test_a_share_outside_its_range_is_refused(rejected):
    with pytest.raises(OptionError, match="rejected must be in"):
        QualityLimits.fit(random_measures(3), rejected=rejected)


def limits_at(**changed):
    return QualityLimits({f: c.tolerated for f, c in MEASURES.items()} | changed, 1)


def test_a_value_equal_to_its_limit_is_allowed():
    values = {flag: check.tolerated for flag, check in MEASURES.items()}
    assert limits_at().flags(values) == {}
    assert limits_at().flags(values | {"blurred": 2.9, "noisy": 4.1}) == {
        "blurred": 2.9,
        "noisy": 4.1,
    }


def test_a_flag_is_said_in_words_with_value_and_limit():
    limits = limits_at(blurred=2.1)
    assert limits.sentence("blurred", 0.8) == "blurred: sharpness 0.8, below the limit of 2.1"
    assert limits.sentence("blurred", 2.0996) == (
        "blurred: sharpness 2.0996, below the limit of 2.1"
    )
    assert limits.sentence("too_small", 40.0) == (
        "too small: shorter side in pixels 40, below the limit of 100"
    )
    assert limits.sentence("border", 0.314159) == (
        "dark or white border, or vignette: share of border 0.31, above the limit of 0.1"
    )


@pytest.mark.parametrize("flag", MEASURES)
def test_value_and_limit_never_read_the_same(flag):
    limit = MEASURES[flag].tolerated
    value = np.nextafter(limit, 0 if MEASURES[flag].bad == "low" else math.inf)
    said = limits_at().sentence(flag, float(value))
    assert said.split()[-1] != said.split(",")[-2].split()[-1]


def test_no_sentence_is_made_for_an_unknown_flag_or_an_allowed_value():
    with pytest.raises(UnknownNameError, match="flag must be one of"):
        limits_at().sentence("blurry", 0.0)
    with pytest.raises(OptionError, match="must break its limit"):
        limits_at().sentence("blurred", 3.0)


def test_limits_survive_json(limits):
    assert QualityLimits.from_dict(json.loads(json.dumps(limits.to_dict()))) == limits


WHOLE = limits_at().to_dict()


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {},
        WHOLE | {"more": 1},
        {"limits": WHOLE["limits"]},
        WHOLE | {"images": 0},
        WHOLE | {"images": True},
        WHOLE | {"images": 1.0},
        WHOLE | {"limits": []},
        WHOLE | {"limits": WHOLE["limits"] | {"sharp": 1.0}},
        WHOLE | {"limits": {"blurred": 1.0}},
        *(
            WHOLE | {"limits": WHOLE["limits"] | {"border": bad}}
            for bad in (math.nan, math.inf, None, "1", True)
        ),
    ],
)
def test_another_dict_is_refused(values):
    with pytest.raises(ModelConfigError):
        QualityLimits.from_dict(values)


def test_each_check_says_what_it_measures():
    for check in MEASURES.values():
        assert check.bad in {"low", "high"}
        assert all((check.measured, check.source, check.words, check.short))
    assert len({check.words for check in MEASURES.values()}) == len(MEASURES)


def test_the_page_names_every_check_and_its_strictest_limit() -> None:
    page = (ROOT / "docs/explanation/when-to-say-nothing.md").read_text()
    rows = re.findall(r"(?m)^\| `(\w+)` \| .+? \| (low|high) \| ([\d.]+) \|", page)
    assert [(name, bad, float(limit)) for name, bad, limit in rows] == [
        (name, check.bad, check.tolerated) for name, check in MEASURES.items()
    ]
