"""A drift monitor beside the answers: its gauges are its report, and nobody waits for it."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_answers import answers, sample
from serving_clients import RED

from skinxai.monitoring import DriftMonitor
from skinxai.serving import drift_watch
from skinxai.serving.batching import Asked
from skinxai.serving.drift_watch import DriftWatch
from skinxai.serving.observing import Observing
from skinxai.serving.pool import predict
from skinxai.testing import colour_classifier


def running(watch: DriftWatch | None, revision: str = "0" * 12) -> SimpleNamespace:
    return SimpleNamespace(
        name="drawn", revision=revision, member=SimpleNamespace(role="live"),
        worker=SimpleNamespace(drift=watch), classifier=colour_classifier(),
    )  # fmt: skip


def observing(watch: DriftWatch) -> Observing:
    found = Observing()
    found.changed(running(watch), None)
    return found


def gauges(found: Observing) -> dict[str, float]:
    rows = [row for row in found.text().decode().splitlines() if 'model="drawn"' in row]
    return {row.rpartition(" ")[0]: float(row.rpartition(" ")[2]) for row in rows}


def test_the_gauges_are_the_monitors_report() -> None:
    monitor = DriftMonitor(sample(600), window=50)
    watch, draws = DriftWatch(monitor), np.random.default_rng(1)
    told = observing(watch)
    assert gauges(told)['skinxai_drift_window_images{model="drawn"}'] == 0
    for each in answers(60, draws, embedding=3.0):
        watch.add(each)
    watch.close()
    report, found = monitor.report(), gauges(told)
    assert report.images == 60 and report.rows and report.alarms
    assert found['skinxai_drift_window_images{model="drawn"}'] == 50
    for row in report.rows:
        labels = f'{{model="drawn",test="{row.test}"}}'
        assert found[f"skinxai_drift_statistic{labels}"] == pytest.approx(row.statistic)
        assert found[f"skinxai_drift_alarm{labels}"] == (row.test in report.alarms)
    accuracy = found['skinxai_estimated_accuracy{model="drawn"}']
    assert accuracy == pytest.approx(report.estimated_accuracy)


@pytest.mark.parametrize("watched", [True, False])
def test_a_model_that_takes_anothers_place_has_none_of_its_alarms(watched: bool) -> None:
    watch, draws = DriftWatch(DriftMonitor(sample(600), window=50)), np.random.default_rng(1)
    told, old = observing(watch), running(watch)
    for each in answers(60, draws, embedding=3.0):
        watch.add(each)
    watch.close()
    assert gauges(told)['skinxai_drift_alarm{model="drawn",test="embedding"}'] == 1
    new = DriftWatch(DriftMonitor(sample(600), window=50)) if watched else None
    told.changed(running(new, "1" * 12), old)
    left = {name: each for name, each in gauges(told).items() if "model_info" not in name}
    assert not any(left.values())  # counters begin at 0
    drift = {name for name in left if name.startswith(("skinxai_drift", "skinxai_estimated"))}
    assert drift == ({'skinxai_drift_window_images{model="drawn"}'} if watched else set())
    if new is not None:
        new.close()


def test_a_small_reference_has_a_smaller_window(caplog) -> None:
    for images, window in ((28, 8), (200, 56), (400, 100)):
        watch = DriftWatch.of(SimpleNamespace(reference=sample(images), model="m@1"))
        assert watch is not None and watch.report().window == window
        watch.close()
    assert not caplog.records
    assert DriftWatch.of(SimpleNamespace(reference=sample(27), model="m@1")) is None
    assert "m@1 is not watched for drift: its reference has only 27 images" in caplog.text


def test_a_slow_monitor_delays_nobody_and_a_broken_one_harms_nobody(monkeypatch) -> None:
    monkeypatch.setattr(drift_watch, "WAITING", 3)
    gate, seen = threading.Event(), []

    class Slow:
        def add(self, observation) -> None:
            gate.wait()
            seen.append(observation)
            raise ValueError("broken")

    watch = DriftWatch(Slow())
    for number in range(20):
        watch.add(number)  # returns at once
    gate.set()
    watch.close()
    assert 3 <= len(seen) <= 4 and seen[0] == 0


def test_each_answer_is_told_once() -> None:
    classifier, seen = colour_classifier(), []
    items = [*classifier.prepare([RED, b"no image", RED], on_error="return")]
    watch = SimpleNamespace(add=seen.append)
    rows = predict(classifier, [items[0], items[2]], Asked(), watch)
    assert [row.label for row in rows] == ["red", "red"] and len(seen) == 2
    assert DriftWatch.of(classifier) is None  # it keeps no reference
