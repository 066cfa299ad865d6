"""The queue: what is begun, in which batches, and what is refused because it would be late."""

import asyncio
import threading
import time

import pytest

pytest.importorskip("fastapi")
from running_service import png, running

from skinxai.serving.batching import Asked, Batcher, Job
from skinxai.serving.problems import Problem


def job(item, *, left: float, waited: float = 0.0) -> Job:
    """An image with so many seconds left, of which others have passed already."""
    now = time.monotonic()
    return Job(item, Asked(), now + left, asyncio.get_running_loop().create_future(), now - waited)


def sizes(pace: float, lefts: list[float], max_batch: int = 8) -> list[list[int]]:
    """The batches that images with so many seconds left are answered in, at a pace."""
    seen: list[list[int]] = []
    begun, go = threading.Event(), threading.Event()

    def compute(items, asked):
        if items == [-1]:
            begun.set()
            go.wait(600)
        else:
            seen.append(list(items))
        return list(items)

    batcher = Batcher(compute, max_batch=max_batch, tell=lambda batch: set_pace())

    def set_pace() -> None:
        batcher.pace = pace

    async def ask() -> list[object]:
        first = job(-1, left=10_000)
        batcher.submit([first])
        await asyncio.to_thread(begun.wait, 600)
        jobs = [job(number, left=left) for number, left in enumerate(lefts)]
        batcher.submit(jobs)
        go.set()
        return await asyncio.gather(*(each.done for each in jobs))

    found = asyncio.run(ask())
    batcher.close()
    refused = {number for number, each in enumerate(found) if isinstance(each, Problem)}
    assert sorted(number for batch in seen for number in batch) == sorted(
        set(range(len(lefts))) - refused
    )
    assert all(each == number for number, each in enumerate(found) if number not in refused)
    return seen


def test_a_batch_is_what_waits():
    assert sizes(1e-9, [1000.0] * 11) == [list(range(8)), [8, 9, 10]]


def test_a_batch_ends_before_its_first_image_is_late():
    # 300 s an image, 1000 s left: three images end in time.
    assert sizes(300.0, [1000.0] * 7) == [[0, 1, 2], [3, 4, 5], [6]]


def test_what_cannot_end_in_time_is_not_begun():
    async def is_late(left: float, waited: float, pace: float) -> bool:
        each = job(0, left=left, waited=waited)
        return each.is_late(time.monotonic(), pace)

    assert asyncio.run(is_late(300, 700, 400.0))
    assert not asyncio.run(is_late(500, 500, 400.0))
    assert asyncio.run(is_late(-1, 1001, 0.0))
    assert not asyncio.run(is_late(1, 999, 0.0))
    # An image alone takes longer than all the time that is given: it is begun all the same.
    assert not asyncio.run(is_late(600, 400, 5000.0))
    assert asyncio.run(is_late(400, 600, 5000.0))


def test_one_that_is_late_is_answered_so_and_not_computed():
    assert sizes(400.0, [1000.0, -5.0, 1000.0]) == [[0], [2]]


def test_the_pace_is_that_of_the_last_batches():
    batcher = Batcher(lambda items, asked: list(items))
    batcher.close()
    assert batcher.pace == 0
    batcher.took(4, 8.0)
    assert batcher.pace == 2
    batcher.took(2, 10.0)
    assert batcher.pace == pytest.approx(0.7 * 2 + 0.3 * 5)


def test_more_than_can_be_answered_in_time_is_refused_at_once():
    with running(deadline=10.0, queue=64) as service:
        inside = service.app.service
        (served,) = inside.pool.served.values()
        served.batcher.pace = 4.0
        inside.images = 1  # two take 8 s
        assert service.predict(png("blue")).status == 200
        served.batcher.pace = 4.0
        inside.images = 2  # three would take 12 s
        refused = service.predict(png("red"))
        assert (refused.status, refused.code) == (503, "queue_full")
        inside.images = 0  # however slow the model was, one alone is begun
        served.batcher.pace = 4000.0
        assert service.predict(png("green")).status == 200
