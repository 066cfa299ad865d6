"""`Service`: uploads in, answers out: decoded, batched, in time, or refused."""

from __future__ import annotations

import asyncio
import io
import os
import time
import uuid
from collections.abc import Awaitable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from skinxai.errors import ImageTooLargeError, ModelError
from skinxai.results import ItemError, Prediction
from skinxai.serving.batching import Asked, Job, Outcome, too_late
from skinxai.serving.bodies import Arriving, Gone
from skinxai.serving.pool import Pool, Served
from skinxai.serving.problems import Problem
from skinxai.serving.service_settings import MIB, ServiceSettings

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
AT_ONCE = 5_000_000
"""Most pixels of images that are decoded side by side; of larger ones, one at a time."""
BODIES = 256 * MIB
"""Bytes of all requests that are held at a time, or of the largest one where that is more."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Row:
    """What one image of a request got.

    Args:
        id: of the answer, for feedback.
        prediction: the answer, as plain values; its source says which image it was.
        problem: why there is none.
    """

    id: str
    prediction: dict[str, Any] | None = None
    problem: Problem | None = None


class Service:
    """All that the routes share.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings, self.pool = settings, Pool()
        self.loaded = self.draining = False
        self.images = self.held = 0
        self._small = ThreadPoolExecutor(CORES, "skinxai-decode")
        self._large = ThreadPoolExecutor(1, "skinxai-decode-large")

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self.loaded and not self.draining and self.alive

    @property
    def alive(self) -> bool:
        """Whether no worker is dead or hangs."""
        return self.pool.alive(self.settings.hang)

    def close(self) -> None:
        """Answer what was accepted, and end all threads."""
        self.pool.close()
        self._small.shutdown()
        self._large.shutdown()

    def check_open(self) -> None:
        """Refuse where the service is not ready, or has no room for one more image.

        Raises:
            Problem: 503.
        """
        if self.draining:
            raise Problem(503, "shutdown", "The service is shutting down.", retry=5, close=True)
        if not self.loaded:
            raise Problem(503, "loading", "The service is loading its models.", retry=2)
        self.check_room(1)

    def check_room(self, images: int) -> None:
        """Refuse more images than may wait.

        Raises:
            Problem: 503.
        """
        if self.images + images > self.settings.queue:
            raise Problem(503, "queue_full", "Too many images wait; try again.", retry=1)

    def hold(self, count: int) -> None:
        """Count bytes of bodies in memory; negative ones are no longer held.

        Raises:
            Problem: 503, too many.
        """
        self.held += count
        if count > 0 and self.held > max(BODIES, self.settings.max_body):
            raise Problem(
                503, "queue_full", "Too many requests arrive; try again.", retry=1, close=True
            )

    @contextmanager
    def room(self, images: int) -> Iterator[None]:
        """Have room for images, from their decoding to their answers.

        Raises:
            Problem: 503, there is none.
        """
        self.check_room(images)
        self.images += images
        try:
            yield
        finally:
            self.images -= images

    async def predict(
        self, uploads: Sequence[bytes], asked: Asked, *, route_key: str | None, since: float
    ) -> tuple[Served, list[Row]]:
        """Answer the images of one request, all by the same model.

        Args:
            uploads: encoded images.
            asked: how.
            route_key: see `Pool.choose`.
            since: of `time.monotonic`, when the request came.

        Raises:
            Problem: the whole request is refused.
        """
        served = self.pool.choose(route_key)
        check_point(served, asked.operating_point)
        deadline = since + self.settings.deadline
        with self.room(len(uploads)):
            outcomes = await self._outcomes(served, uploads, asked, deadline)
        return served, [_row(outcome) for outcome in outcomes]

    async def _outcomes(
        self, served: Served, uploads: Sequence[bytes], asked: Asked, deadline: float
    ) -> list[Outcome]:
        prepared = await asyncio.gather(
            *(self._prepare(served, index, upload) for index, upload in enumerate(uploads))
        )
        loop = asyncio.get_running_loop()
        jobs = [
            Job(item, asked, deadline, loop.create_future())
            for item in prepared
            if not isinstance(item, Problem | ItemError)
        ]
        try:
            served.batcher.submit(jobs)
            await self._finished(served, jobs, deadline)
        finally:
            served.batcher.withdraw([job for job in jobs if not job.done.done()])
        answers = iter([job.done.result() for job in jobs])
        return [
            item if isinstance(item, Problem | ItemError) else next(answers) for item in prepared
        ]

    async def _finished(self, served: Served, jobs: Sequence[Job], deadline: float) -> None:
        """Wait for images: until the deadline for their turn, then for a batch that has begun."""
        waiting = {job.done for job in jobs}
        for patience in (max(0.0, deadline - time.monotonic()), self.settings.deadline):
            if not waiting:
                return
            _, waiting = await asyncio.wait(waiting, timeout=patience)
            for job in served.batcher.withdraw([job for job in jobs if job.done in waiting]):
                job.done.set_result(too_late())
                waiting.discard(job.done)
        for done in waiting:
            done.set_result(
                Problem(504, "deadline", "The model did not answer before the deadline.", retry=1)
            )

    async def _prepare(self, served: Served, index: int, upload: bytes) -> Any:
        """One image, prepared, or why it cannot be used."""
        loop = asyncio.get_running_loop()
        most = self.settings.max_pixels
        small = min(AT_ONCE, most)
        found = await loop.run_in_executor(self._small, _prepare, served, index, upload, small)
        if small < most and isinstance(getattr(found, "error", None), ImageTooLargeError):
            # by its header: nothing was decoded
            found = await loop.run_in_executor(self._large, _prepare, served, index, upload, most)
        return found


class _Named(io.BytesIO):
    """An upload under the name that answers and errors call it by."""

    name = ""


def _prepare(served: Served, index: int, upload: bytes, max_pixels: int) -> Any:
    image = _Named(upload)
    image.name = f"image {index}"
    try:
        (found,) = served.classifier.prepare(
            [image], max_pixels=max_pixels, on_error="return", progress=False
        )
    except Exception as error:  # a plugin's, or a bug: of this image alone
        return Problem.of(error)
    return found


def check_point(served: Served, operating_point: str | None) -> None:
    """Refuse an operating point that the model does not have.

    Raises:
        ModelError: a model without any.
        UnknownNameError: no such one.
    """
    if operating_point is None:
        return
    calibration = served.classifier.calibration
    if calibration is None:
        raise ModelError(f"an operating point needs a calibrated model, and {served.model} is not.")
    calibration.check_point(operating_point)


def _row(outcome: Outcome) -> Row:
    name = uuid.uuid4().hex
    if isinstance(outcome, Prediction):
        return Row(name, outcome.to_dict())
    error = outcome.error if isinstance(outcome, ItemError) else outcome
    return Row(name, problem=Problem.of(error))


async def unless_gone(arriving: Arriving, answer: Awaitable[Value]) -> Value:
    """An answer, which nobody computes any more once its client has left.

    Args:
        arriving: the request's body, which has come whole.
        answer: what is awaited.

    Raises:
        Gone: the client left.
    """
    task = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(arriving.gone())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
