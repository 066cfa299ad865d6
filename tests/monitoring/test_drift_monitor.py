"""`DriftMonitor`: when it looks, what it refuses, and that threads may share it."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from drawn_answers import answers, sample

from skinxai.errors import OptionError
from skinxai.monitoring import DriftMonitor
from skinxai.monitoring.accuracy import (
    average_confidence,
    average_thresholded_confidence,
    difference_of_confidences,
)
from skinxai.monitoring.drift_tests import DriftTests
from skinxai.results import Observation
from skinxai.trust.reference_sample import UNKNOWN, Columns

WINDOW = 20


@pytest.fixture(scope="module")
def tests() -> DriftTests:
    return DriftTests(sample(200), WINDOW, 0.05)


@pytest.fixture
def monitor(tests: DriftTests) -> DriftMonitor:
    return DriftMonitor.of_tests(tests)


@pytest.fixture
def stream() -> list[Observation]:
    return answers(60, np.random.default_rng(3))


def test_it_looks_when_the_window_is_full_and_then_every_quarter(
    monitor: DriftMonitor, tests: DriftTests, stream: list[Observation]
) -> None:
    looked = []
    for number, each in enumerate(stream, 1):
        monitor.add(each)
        looked.append(len(monitor.history))
        report = monitor.report()
        assert (report.images, report.window_images) == (number, min(number, WINDOW))
        assert bool(report.rows) == (number >= WINDOW)
    assert [looked.index(k) + 1 for k in range(1, 10)] == [20, 25, 30, 35, 40, 45, 50, 55, 60]
    for start, report in zip(range(0, 41, 5), monitor.history, strict=True):
        assert report.images == start + WINDOW
        assert report.rows == tests.rows(Columns.of(stream[start : start + WINDOW]))
    assert monitor.report() == monitor.history[-1]


def test_a_report_says_its_numbers(monitor: DriftMonitor) -> None:
    assert monitor.report().to_text() == "0 of the 20 images of a window, no test yet"
    seen = answers(WINDOW, np.random.default_rng(0), sharpness=5)
    for number, each in enumerate(seen):
        monitor.add(replace(each, decision="abstain" if number < 5 else "routine"))
    report = monitor.report()
    assert report.abstained == 0.25 and "sharpness" in report.alarms
    assert report.false_alarms == 0.05 and report.window == WINDOW
    values = report.to_dict()
    assert values["alarms"] == list(report.alarms)
    assert [row["test"] for row in values["rows"]] == [row.test for row in report.rows]
    (line,) = [line for line in report.to_text().splitlines() if line.startswith("sharpness")]
    (row,) = [row for row in report.rows if row.test == "sharpness"]
    assert row.window is not None and row.window > 4
    assert line.split()[1:4] == [f"{row.statistic:.4f}", f"{row.limit:.4f}", f"{row.p_value:.4f}"]
    assert "ALARM" in line


def test_an_infinite_limit_is_none_in_json(stream: list[Observation]) -> None:
    few = [replace(each, probabilities=np.array([0.0, 0, 0, 1])) for each in stream]
    tests = DriftTests(sample(200), 8, 0.2)
    monitor = DriftMonitor.of_tests(tests)
    for each in few[:8]:
        monitor.add(each)
    (row,) = [row for row in monitor.report().to_dict()["rows"] if row["test"] == "classes"]
    assert row["limit"] is None and row["p_value"] == 1 and not row["alarm"]


def test_a_new_monitor_draws_the_same_limits(tests: DriftTests, stream: list[Observation]) -> None:
    made = DriftMonitor(tests.reference, window=WINDOW, false_alarms=0.05)
    for each in stream[:WINDOW]:
        made.add(each)
    assert made.report().rows == tests.rows(Columns.of(stream[:WINDOW]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding": None}, "drift needs a calibrated model, and drawn@0+ was not; make one"),
        ({"colours": None}, "drift needs a calibrated model"),
        ({"novelty": None}, "drift needs a calibrated model"),
        ({"probabilities": np.ones(3) / 3}, "the reference's 4 classes, got 3"),
        ({"embedding": np.zeros(23, np.float32)}, r"embeddings must be \(N, 24\) .*got \(1, 23\)"),
        ({"model": "other@111111111111"}, "must see one model, drawn@0+, got other@1+; make one"),
    ],
)
def test_what_is_not_of_the_model_is_refused(
    monitor: DriftMonitor, stream: list[Observation], change: dict[str, object], message: str
) -> None:
    monitor.add(stream[0])
    with pytest.raises(OptionError, match=message):
        monitor.add(replace(stream[1], **change))
    assert monitor.report().images == 1
    monitor.add(stream[1])


def test_threads_share_it(monitor: DriftMonitor, stream: list[Observation]) -> None:
    begin = threading.Barrier(8)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            begin.wait(60)
            for each in stream:
                monitor.add(each)
                monitor.report()
        except BaseException as error:  # shown below
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(120)
    assert not failed and monitor.report().images == 8 * len(stream)
    assert [each.images for each in monitor.history] == list(range(WINDOW, 8 * 60 + 1, 5))


def test_estimates_of_accuracy_by_hand() -> None:
    known = sample(10)
    rows = np.array([[0.9, 0.1, 0, 0], [0.3, 0.7, 0, 0]] * 5, np.float32)
    # Nine of ten are labelled; the confidences are 0.9 and 0.7, and the last one is wrong.
    labels = np.array([0, 1] * 4 + [0, 0], np.int16)
    labels[0] = UNKNOWN
    known = replace(known, probabilities=rows, labels=labels)
    assert known.accuracy == pytest.approx(8 / 9)
    window = np.array([[0.6, 0.4, 0, 0], [0.2, 0.8, 0, 0], [0.5, 0.5, 0, 0], [1, 0, 0, 0]])
    assert average_confidence(window) == pytest.approx(0.725)
    usual = (4 * 0.9 + 5 * 0.7) / 9
    assert difference_of_confidences(window, known) == pytest.approx(8 / 9 + 0.725 - usual)
    assert difference_of_confidences(np.array([[1.0, 0, 0, 0]]), known) == 1.0
    # One of nine is wrong: the lowest confidence, 0.7, is the threshold.
    assert average_thresholded_confidence(window, known) == 0.5
    silent = replace(known, labels=np.full(10, UNKNOWN, np.int16))
    assert silent.accuracy is None and average_thresholded_confidence(window, silent) is None
    assert difference_of_confidences(window, silent) == pytest.approx(0.725)
    right = replace(known, labels=np.array([0, 1] * 5, np.int16))
    assert average_thresholded_confidence(window, right) == 1.0
