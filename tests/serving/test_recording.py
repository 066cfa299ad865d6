"""What stands between an answer and the store: a queue, a pause, and no harm to the answer."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest
from review_cases import MODEL, prediction
from waiting import wait_for

from skinxai.errors import StoreFullError
from skinxai.serving import recording
from skinxai.serving.recording import Answered, Recorder


class Store:
    """Keeps the ids of cases, or does what a test says."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.does: Callable[[], object] = bool

    def record(self, case) -> bool:
        self.does()
        self.kept.append(case.id)
        return True


@pytest.fixture
def failures() -> list[None]:
    return []


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def recorder(store: Store, failures: list[None]):
    made = Recorder(store, lambda: failures.append(None))
    yield made
    made.close()


def answered(name: str, **more) -> Answered:
    return Answered(name, b"image", prediction(mel=0.5, nv=0.5), **more)


def raise_full() -> None:
    raise StoreFullError("full.")


def test_an_answer_is_kept_without_its_files_name() -> None:
    one = answered("a", subject="S", lesion="L").case()
    assert "source" not in one.prediction and one.image is None
    assert (one.id, one.model, one.subject, one.lesion) == ("a", MODEL, "S", "L")
    assert answered("a", images=True).case().image == b"image"


def test_a_store_that_failed_is_left_in_peace_for_a_while(
    recorder, store, failures, monkeypatch, caplog
) -> None:
    now = [100.0]
    monkeypatch.setattr(recording.time, "monotonic", lambda: now[0])
    tried = []
    store.does = lambda: tried.append(None) or raise_full()
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(recorder.record(answered("a"))) is False
    assert "an answer was not kept: " in caplog.text and "Traceback" not in caplog.text
    store.does = bool
    now[0] += recording.PAUSE * 0.9
    assert asyncio.run(recorder.record(answered("b"))) is False
    assert len(tried) == 1 and store.kept == [] and len(failures) == 2
    now[0] += recording.PAUSE * 0.2
    assert asyncio.run(recorder.record(answered("c"))) is True
    assert store.kept == ["c"] and len(failures) == 2


def test_an_answer_that_cannot_be_kept_costs_no_other_one(recorder, store, failures) -> None:
    assert asyncio.run(recorder.record(answered("a", subject="hidden \u200b"))) is False
    assert asyncio.run(recorder.record(answered("b", subject="S"))) is True
    assert store.kept == ["b"] and len(failures) == 1


def test_what_waited_while_the_store_failed_is_not_tried(recorder, store, failures) -> None:
    go, tried = threading.Event(), []

    def fails() -> None:
        tried.append(None)
        go.wait(600)
        raise_full()

    store.does = fails

    async def both() -> list[bool]:
        first = asyncio.create_task(recorder.record(answered("a")))
        await asyncio.to_thread(wait_for, lambda: tried)
        second = asyncio.create_task(recorder.record(answered("b")))
        await asyncio.sleep(0)
        go.set()
        return [await first, await second]

    assert asyncio.run(both()) == [False, False]
    wait_for(lambda: len(failures) == 2)
    assert len(tried) == 1


def test_a_full_queue_keeps_no_answer_waiting(store, failures, monkeypatch) -> None:
    monkeypatch.setattr(recording, "WAITING", 1)
    monkeypatch.setattr(recording, "PATIENCE", 0.01)
    go, inside = threading.Event(), threading.Event()
    store.does = lambda: inside.set() or go.wait(600)
    recorder = Recorder(store, lambda: failures.append(None))
    try:
        assert asyncio.run(recorder.record(answered("a"))) is False  # not known in time
        wait_for(inside.is_set)
        assert asyncio.run(recorder.record(answered("b"))) is False
        assert failures == []
        assert asyncio.run(recorder.record(answered("c"))) is False
        assert len(failures) == 1
    finally:
        go.set()
        recorder.close()
    assert store.kept == ["a", "b"]  # although nobody waits any more


def test_an_unknown_error_is_logged_whole_and_the_thread_goes_on(
    recorder, store, failures, monkeypatch, caplog
) -> None:
    monkeypatch.setattr(recording, "PAUSE", 0.0)
    store.does = lambda: {}["no such key"]
    with caplog.at_level(logging.ERROR):
        assert asyncio.run(recorder.record(answered("a"))) is False
    assert "Traceback" in caplog.text and len(failures) == 1
    store.does = bool
    assert asyncio.run(recorder.record(answered("b"))) is True
