"""`ChangePoints`: the place of a change in a stream, by river's ADWIN."""

import sys

import numpy as np
import pytest
from drawn_answers import answers
from river.drift import ADWIN

from skinxai.errors import OptionError
from skinxai.monitoring.change_points import DELTA, WATCHED, ChangePoints


def test_a_change_is_found_where_it_is() -> None:
    draws = np.random.default_rng(0)
    stream = answers(300, draws) + answers(200, draws, sharpness=3)
    points = ChangePoints()
    for each in stream:
        points.add(each)
    (change,) = points.found
    assert change.series == "sharpness" and 300 < change.noticed < 340
    assert abs(change.since - 301) <= 32  # ADWIN keeps images in buckets
    assert abs(change.before) < 0.3 and change.after > 1


@pytest.mark.parametrize("delta", [DELTA, 0.3])
def test_it_is_rivers_own(delta: float) -> None:
    draws = np.random.default_rng(1)
    stream = answers(150, draws) + answers(150, draws, sharpness=1)
    points, own, noticed = ChangePoints(("sharpness",), delta), ADWIN(delta=delta), []
    for number, each in enumerate(stream, 1):
        points.add(each)
        own.update(float(np.float32(each.quality["blurred"])))
        if own.drift_detected:
            noticed.append((number, own.width, own.estimation))
    assert noticed
    assert [(c.noticed, c.noticed - c.since + 1, c.after) for c in points.found] == noticed


def test_means_before_and_after_are_those_of_the_images() -> None:
    values = [0.0] * 96 + [4.0] * 32
    draws = np.random.default_rng(2)
    points = ChangePoints(("sharpness",))
    stream = answers(len(values), draws)
    for each, value in zip(stream, values, strict=True):
        points.add(type(each)(**vars(each) | {"quality": each.quality | {"blurred": value}}))
    for change in points.found:
        assert 0 <= change.before < change.after <= 4
    assert points.found[0].before == pytest.approx(0, abs=1e-9)


def test_what_it_does_not_know_is_refused(monkeypatch) -> None:
    with pytest.raises(OptionError, match=r"series must be of \['confidence', .*got 'colour'"):
        ChangePoints(("confidence", "colour"))
    for delta in (0.0, 1.0, float("nan"), 1):
        with pytest.raises(OptionError, match="delta must be a number above 0 and below 1, got"):
            ChangePoints(delta=delta)
    monkeypatch.setitem(sys.modules, "river.drift", None)
    with pytest.raises(OptionError, match=r"the package river; pip install 'skinxai\[monitor\]'"):
        ChangePoints()


def test_images_alike_change_nothing() -> None:
    points = ChangePoints()
    for each in answers(300, np.random.default_rng(4)):
        points.add(each)
    assert points.found == () and set(WATCHED) <= {
        "confidence", "novelty", "sharpness", "brightness", "colour_cast",
    }  # fmt: skip
