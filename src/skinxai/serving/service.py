"""`Service`: uploads in, answers out: batched, in time, or refused."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

from skinxai.classifier import Classifier
from skinxai.errors import ModelError
from skinxai.results import ItemError
from skinxai.review import ReviewStore
from skinxai.serving.answer_rows import Row, row_json, row_of
from skinxai.serving.batching import Asked, Job, Outcome, no_answer, too_late
from skinxai.serving.caching import answer_key, open_cache
from skinxai.serving.observing import Observing
from skinxai.serving.pool import Pool, Served
from skinxai.serving.preparing_uploads import Preparing
from skinxai.serving.problems import Problem
from skinxai.serving.recording import Answered, Recorder
from skinxai.serving.service_settings import MIB, ServiceSettings
from skinxai.serving.slow_work import SlowWork

BODIES = 256 * MIB
"""Bytes of all requests that are held at a time, or of the largest one where that is more."""
Value = TypeVar("Value")


class Service:
    """All that the routes share."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings, self.pool = settings, Pool()
        self.observing = Observing()
        metrics = self.observing.metrics
        metrics.queue_images.set_function(lambda: self.images)
        metrics.ready.set_function(lambda: self.ready)
        self.cache = open_cache(settings.cache, metrics.looked, settings.cache_secret.encode())
        self._keeping: set[asyncio.Task[bool]] = set()
        self.loaded = self.draining = False
        self.images = self.held = 0
        self.slow = SlowWork()
        self.store: ReviewStore | None = None
        self.recorder: Recorder | None = None
        self._preparing = Preparing(settings.max_pixels)

    @property
    def ready(self) -> bool:
        """Whether requests are answered."""
        return self.loaded and not self.draining and self.alive

    @property
    def alive(self) -> bool:
        """Whether no worker is dead or hangs."""
        hang = self.settings.hang
        return self.pool.alive(hang) and self.slow.alive(hang)

    def open_store(self) -> None:
        """Open the database that keeps answers for review, where there is to be one."""
        settings = self.settings
        if settings.review is not None:
            self.store = ReviewStore.open(settings.review, settings.keep_images, settings.keep_days)
            self.observing.waiting_cases = self.store.waiting
            self.recorder = Recorder(self.store, self.observing.metrics.store_errors.inc)

    def close(self) -> None:
        """Answer what was accepted, and end all threads."""
        self.pool.close()
        self.slow.close()
        if self.recorder is not None:
            self.recorder.close()
        if self.store is not None:
            self.store.close()
        self._preparing.close()

    def check_open(self) -> None:
        """Refuse where the service is not ready, or has no room for one more image.

        Raises:
            Problem: 503.
        """
        self.check_begun(close=True)
        self.check_room(1)

    def check_begun(self, *, close: bool = False) -> None:
        """Refuse before the models are loaded and after the end has begun.

        Raises:
            Problem: 503; ``close``: whose connection ends, where the service does.
        """
        if self.draining:
            raise Problem(503, "shutdown", "The service is shutting down.", retry=5, close=close)
        if not self.loaded:
            raise Problem(503, "loading", "The service is loading its models.", retry=2)

    def check_loaded(self) -> None:
        """Refuse until the models and the store are there; before, nobody can say what they have.

        Raises:
            Problem: 503.
        """
        if not self.loaded:
            self.check_begun()

    def check_room(self, images: int) -> None:
        """Refuse more images than may wait, or than can be answered before their deadline.

        Raises:
            Problem: 503.
        """
        many = self.images + images
        slow = self.images > 0 and many * self.pool.pace > self.settings.deadline
        if slow or many > self.settings.queue:
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
        self, uploads: Sequence[bytes], asked: Asked, *, route_key: str | None, since: float,
        model: str | None = None, whole: bool = False,
    ) -> tuple[Served, list[Row]]:  # fmt: skip
        """Answer the images of one request, all by the same model.

        Args:
            uploads: encoded images.
            asked: how.
            route_key: see `Pool.lease`; without one, equal images get the same model.
            since: of `time.monotonic`, when the request came.
            model: configured name of the one that is to answer.
            whole: whether a request of several images fails with the first one that does.

        Raises:
            Problem: the whole request is refused.
        """
        digests = await asyncio.gather(*(self._preparing.digest(upload) for upload in uploads))
        try:
            with self.pool.lease(route_key or "".join(digests), model) as served:
                check_point(served, asked.operating_point)
                rows = await self._rows(served, uploads, digests, asked, since)
        except Exception:  # also an unexpected one
            self.observing.metrics.refused(len(uploads))
            raise
        found = [(row.prediction, row.problem) for row in rows]
        self.observing.answers(served.name, found, whole=whole or len(rows) == 1)
        return served, rows

    async def _rows(
        self, served: Served, uploads: Sequence[bytes], digests: Sequence[str], asked: Asked,
        since: float,
    ) -> list[Row]:  # fmt: skip
        """Of each image, from the cache where it is there."""
        options = asdict(asked) | {
            "max_pixels": self.settings.max_pixels, "backend": served.classifier.backend,
            "own": served.own,
        }  # fmt: skip
        keys = [answer_key(digest, served.model, options) for digest in digests]
        rows: list[Row | None] = [None] * len(uploads)
        if self.cache is not None:
            known = await asyncio.gather(*(self.cache.get(key) for key in keys))
            for index, answer in enumerate(known):
                if answer is not None:
                    rows[index] = Row(uuid.uuid4().hex, {"source": f"image {index}"} | answer)
        new = [index for index, row in enumerate(rows) if row is None]
        if new:
            deadline = since + self.settings.deadline
            with self.room(len(new)):
                outcomes = await self._outcomes(
                    served, [(index, uploads[index]) for index in new], asked, deadline
                )
            for index, outcome in zip(new, outcomes, strict=True):
                row = rows[index] = row_of(outcome)
                if row.prediction is not None:
                    self._keep(keys[index], row.prediction)
                    self.pool.show(
                        uploads[index], row.prediction["label"], tta=asked.tta,
                        max_pixels=self.settings.max_pixels, progress=False,
                    )  # fmt: skip
        return [row for row in rows if row is not None]

    def _keep(self, key: str, prediction: dict[str, Any]) -> None:
        """Put an answer into the cache, while the request goes on."""
        if self.cache is not None:
            answer = {name: value for name, value in prediction.items() if name != "source"}
            task = asyncio.ensure_future(self.cache.put(key, answer))
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)

    async def slowly(
        self, work: Callable[[Classifier], Value], upload: bytes, *, route_key: str | None,
        since: float,
    ) -> tuple[Value, str]:  # fmt: skip
        """What is computed of one image beside the batches, and by which model.

        Args:
            work: computes it.
            upload: the encoded image.
            route_key: as in `predict`: the model is the one that predicts the image.
            since: of `time.monotonic`, when the request came.
        """
        served = self.pool.choose(route_key or await self._preparing.digest(upload))
        with self.room(1):
            found = await self.slow.run(
                lambda: work(served.classifier), since + self.settings.deadline
            )
        return found, served.model

    async def told(
        self, rows: Sequence[Row], uploads: Sequence[bytes], subject: str | None = None,
        lesion: str | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """What a request's client is told of each image; its answers are kept for review first."""
        kept = await asyncio.gather(
            *(
                self._record(row, upload, subject, lesion)
                for row, upload in zip(rows, uploads, strict=True)
            )
        )
        return [row_json(index, row, kept[index]) for index, row in enumerate(rows)]

    async def _record(
        self, row: Row, upload: bytes, subject: str | None, lesion: str | None
    ) -> bool | None:
        """Whether an answer is kept for review; ``None`` of a service that keeps none."""
        if self.recorder is None or row.prediction is None:
            return None
        keeps = self.settings.keep_images is not None
        return await self.recorder.record(
            Answered(row.id, upload, row.prediction, subject, lesion, keeps)
        )

    async def _outcomes(
        self, served: Served, uploads: Sequence[tuple[int, bytes]], asked: Asked, deadline: float
    ) -> list[Outcome]:
        prepared = await asyncio.gather(
            *(self._preparing.prepare(served, index, upload) for index, upload in uploads)
        )
        loop, place = asyncio.get_running_loop(), self.observing.tracing.place()
        jobs = [
            Job(item, asked, deadline, loop.create_future(), place=place)
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
            done.set_result(no_answer())


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
