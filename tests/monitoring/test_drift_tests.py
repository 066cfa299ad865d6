"""Every test together: what is drawn, the stated rate of false alarms, and what is found."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_answers import answers, sample
from PIL import Image
from scipy import stats

from skinxai import samples
from skinxai.errors import OptionError
from skinxai.monitoring.drift_tests import DriftTests
from skinxai.monitoring.measured_series import SERIES, TESTS, top_classes
from skinxai.monitoring.stretches import LOOKS, Plan, Stretches
from skinxai.monitoring.two_samples import class_groups, gaussian_kernel, median_distance
from skinxai.trust.colours import colours
from skinxai.trust.image_measures import measure
from skinxai.trust.reference_sample import Columns

WINDOW, RATE = 40, 0.1


@pytest.fixture(scope="module")
def tests() -> DriftTests:
    return DriftTests(sample(400), WINDOW, RATE)


def test_a_stretch_is_as_many_images_as_a_window_and_looks_four_times() -> None:
    plan = Plan(10, 100)
    assert (plan.stride, plan.stretch, plan.rest) == (3, 19, 81)
    assert plan.looks.tolist() == [
        [float(start <= k < start + 10) for k in range(19)] for start in (0, 3, 6, 9)
    ]


def test_statistics_of_a_stretch_are_those_of_its_windows_against_the_rest() -> None:
    known = sample(120, copies=2)
    plan = Plan(20, 120)
    points = known.embeddings.astype(np.float64)
    kernel = gaussian_kernel(points, points, median_distance(points))
    classes = top_classes(known)
    groups = class_groups(np.bincount(classes, minlength=4) / 120, 20)[classes]
    series = {name: each.values(known) for name, each in SERIES.items()}
    drawn = [np.random.default_rng(k).permutation(120)[: plan.stretch] for k in (1, 2)]
    largest = np.argsort(next(iter(series.values())))[-plan.stretch :]  # the gap is below them all
    chosen = np.stack([*drawn, largest])
    found = Stretches(plan, known.lesions, kernel, groups, series).statistics(chosen)
    assert found.shape == (3, LOOKS, len(TESTS))
    for row, images in enumerate(chosen):
        rest = np.setdiff1d(np.arange(120), images)
        for look in range(LOOKS):
            own = images[look * 5 : look * 5 + 20]
            expected = [
                (kernel[np.ix_(own, own)].sum() - 20) / (20 * 19)
                + (kernel[np.ix_(rest, rest)].sum() - len(rest)) / (len(rest) * (len(rest) - 1))
                - 2 * kernel[np.ix_(own, rest)].mean()
            ]
            counts = [np.bincount(groups[some], minlength=groups.max() + 1)
                      for some in (own, rest)]  # fmt: skip
            expected.append(stats.chi2_contingency(counts, correction=False).statistic)
            expected += [stats.ks_2samp(values[own], values[rest]).statistic
                         for values in series.values()]  # fmt: skip
            np.testing.assert_allclose(found[row, look], expected, atol=1e-10)


def test_lesions_are_drawn_whole() -> None:
    known = sample(120, copies=3)
    drawn: list[np.ndarray] = []
    stretches = Stretches(Plan(30, 120), known.lesions, np.eye(120), np.zeros(120, int), {})
    stretches.statistics = lambda chosen: drawn.append(chosen) or np.zeros((len(chosen), 1, 1))
    stretches.drawn(5, np.random.default_rng(0))
    (chosen,) = drawn
    lesions = known.lesions[chosen]
    assert chosen.shape == (5, 54) and all(len(set(row)) == 54 for row in chosen.tolist())
    for place in (1, 2):
        assert (lesions[:, 0::3] == lesions[:, place::3]).all()
    assert len({tuple(row) for row in chosen.tolist()}) == 5


def test_rows_are_the_statistics_of_the_window(tests: DriftTests) -> None:
    seen = Columns.of(answers(WINDOW, np.random.default_rng(5), sharpness=0.7))
    rows = {row.test: row for row in tests.rows(seen)}
    known = tests.reference
    assert list(rows) == list(TESTS)
    for name, series in SERIES.items():
        own, other = series.values(seen), series.values(known)
        assert rows[name].statistic == pytest.approx(stats.ks_2samp(own, other).statistic)
        assert rows[name].window == pytest.approx(own.mean())
        assert rows[name].reference == pytest.approx(other.mean())
    points, others = known.along(seen.embeddings), known.embeddings.astype(np.float64)
    width, n = median_distance(others), len(known)
    mmd = (
        (gaussian_kernel(points, points, width).sum() - WINDOW) / (WINDOW * (WINDOW - 1))
        + (gaussian_kernel(others, others, width).sum() - n) / (n * (n - 1))
        - 2 * gaussian_kernel(points, others, width).mean()
    )
    assert rows["embedding"].statistic == pytest.approx(mmd, abs=1e-10)
    assert rows["embedding"].window is None


def test_each_series_is_its_number_of_each_image() -> None:
    """Of a real image and of what is made of it: by name, and not by place."""
    with Image.open(samples.paths()[0]) as picture:
        real = np.asarray(picture)
    images = [real, real // 2, np.roll(real, 1, axis=2), np.repeat(real[:, :1], 90, axis=1)]
    draws = np.random.default_rng(3)
    seen = [
        replace(each, quality=measure(image), colours=colours(image))
        for each, image in zip(answers(len(images), draws), images, strict=True)
    ]
    found = {name: each.values(Columns.of(seen)) for name, each in SERIES.items()}
    flags = {"resolution": "too_small", "sharpness": "blurred", "noise": "noisy",
             "brightness": "too_dark", "clipping": "overexposed", "border": "border",
             "colour_cast": "colour_cast", "contrast": "no_lesion",
             "variation": "uniform"}  # fmt: skip
    for name, flag in flags.items():
        expected = np.float32([each.quality[flag] for each in seen])
        assert np.array_equal(found.pop(name), expected, equal_nan=True), name
    mixed = np.stack([image.reshape(-1, 3).mean(axis=0) / 255 for image in images]).T
    red, green, blue = mixed
    means = {"lightness": (red + green + blue) / 3, "red_green": red - green,
             "yellow_blue": (red + green) / 2 - blue}  # fmt: skip
    for name, expected in means.items():
        np.testing.assert_allclose(found.pop(name), expected, atol=0.01)
    across, down = np.stack([each.colours for each in seen])[:, [6, 9]].T
    np.testing.assert_allclose(found.pop("detail"), (across + down) / 2, rtol=1e-6)
    assert np.array_equal(found.pop("novelty"), np.float32([each.novelty for each in seen]))
    tops = [max(each.probabilities) for each in seen]
    assert np.array_equal(found.pop("confidence"), np.float32(tops)) and not found


def test_an_alarm_is_a_p_value_at_most_the_rate_and_a_statistic_above_the_limit(
    tests: DriftTests,
) -> None:
    draws = np.random.default_rng(1)
    seen = [
        row
        for shift in np.linspace(0, 1.2, 25)
        for row in tests.rows(Columns.of(answers(WINDOW, draws, embedding=shift, sharpness=shift)))
    ]
    alarms = [row for row in seen if row.alarm]
    assert len(alarms) > 20 and len(alarms) < len(seen) / 2
    for row in seen:
        assert row.alarm == (row.p_value <= RATE)
        if abs(row.ratio - 1) > 1e-6:
            assert row.alarm == (row.statistic > row.limit), row
        assert row.ratio == pytest.approx(max(0, row.statistic) / row.limit)
    assert {row.ratio > 1 for row in seen} == {True, False}


def test_the_rate_of_false_alarms_is_the_stated_one_over_all_tests_and_looks() -> None:
    """Many references, a stretch of new answers each: any alarm at any of the four looks."""
    alarmed, runs = 0, 60
    for seed in range(runs):
        tests = DriftTests(sample(300, seed, copies=2), 24, RATE)
        draws = np.random.default_rng(10_000 + seed)
        new = answers(tests.plan.stretch, draws, copies=2)
        starts = range(0, LOOKS * tests.plan.stride, tests.plan.stride)
        windows = (Columns.of(new[start : start + 24]) for start in starts)
        alarmed += any(row.alarm for seen in windows for row in tests.rows(seen))
    assert stats.binomtest(alarmed, runs, RATE).pvalue > 0.001, alarmed


def test_drift_of_each_kind_is_found(tests: DriftTests) -> None:
    draws = np.random.default_rng(2)
    kinds = {"embedding": {"embedding": 0.7}, "sharpness": {"sharpness": 1.5},
             "classes": {"classes": (3.0, 3.0, 3.0, 3.0)}}  # fmt: skip
    for test, shift in kinds.items():
        rows = {row.test: row for row in tests.rows(Columns.of(answers(WINDOW, draws, **shift)))}
        assert rows[test].alarm and rows[test].p_value < 0.02, test


@pytest.mark.parametrize("window", [7, 114, 40.0, True, "40"])
def test_a_window_outside_its_range_is_refused(window: object) -> None:
    with pytest.raises(OptionError, match="window must be an integer from 8 to 113 for a refer"):
        DriftTests(sample(400), window, RATE)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [0, 0.0009, 0.51, float("nan"), "0.1", True])
def test_a_rate_outside_its_range_is_refused(rate: object) -> None:
    with pytest.raises(OptionError, match=r"false_alarms must be from 0\.001 to 0\.5, got"):
        DriftTests(sample(400), WINDOW, rate)  # type: ignore[arg-type]


def test_a_reference_that_is_too_small_is_refused() -> None:
    with pytest.raises(OptionError, match="reference of at least 28 images, got 27"):
        DriftTests(sample(27), 8, RATE)
    DriftTests(sample(28), 8, RATE)


def test_a_window_of_another_size_is_refused(tests: DriftTests) -> None:
    with pytest.raises(OptionError, match="a window must have 40 images, got 39"):
        tests.rows(Columns.of(answers(39, np.random.default_rng(0))))
