"""`Batcher`: one thread that answers the images of all requests, several at a time.

A batch is what waits when the model has finished the one before: nobody waits for a fuller one,
unless that was asked for.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from skinxai.plain_text import counted
from skinxai.results import ItemError, Prediction
from skinxai.serving.problems import Problem

logger = logging.getLogger("skinxai.serving")

Outcome = Prediction | ItemError | Exception
KEPT = 0.7
"""Share of what was known of an image's seconds that stays with each batch."""


@dataclass(frozen=True)
class Asked:
    """How images are predicted; only images that are asked in one way share a batch."""

    tta: bool = False
    operating_point: str | None = None


Compute = Callable[[Sequence[object], Asked], Sequence[Prediction | ItemError]]
"""Answers N >= 1 prepared images, in order."""


@dataclass(eq=False)
class Job:
    """One image that waits.

    Args:
        item: the image, prepared.
        asked: how.
        deadline: of `time.monotonic`, by which it should be answered.
        done: gets the outcome, in its own event loop.
        since: when it came.
        place: of its request, for a trace.
    """

    item: object
    asked: Asked
    deadline: float
    done: asyncio.Future[Outcome]
    since: float = field(default_factory=time.monotonic)
    place: object = None

    def is_late(self, now: float, pace: float) -> bool:
        """Whether it cannot be answered any more before its deadline.

        Where one image alone takes most of the time that was given, that cannot be kept: it is
        begun as long as half of the time is left.

        Args:
            now: of `time.monotonic`.
            pace: seconds that an image takes.
        """
        return self.deadline - now < min(pace, (self.deadline - self.since) / 2)


@dataclass(frozen=True)
class Batch:
    """What is told of each batch.

    Args:
        images: how many.
        waited: seconds that each waited.
        seconds: that the model took.
        places: of each one's request, for a trace.
    """

    images: int
    waited: tuple[float, ...]
    seconds: float
    places: tuple[object, ...] = ()


class Batcher:
    """A queue, and the thread that empties it.

    Args:
        compute: answers a batch. Where it raises, the batch is halved until the image that is to
            blame stands alone, and all others are answered.
        max_batch: most images at a time.
        max_wait: seconds that a batch waits for more images.
        tell: is told of each batch, in the thread.
    """

    def __init__(
        self, compute: Compute, *, max_batch: int = 16, max_wait: float = 0.0,
        tell: Callable[[Batch], object] = bool,
    ) -> None:  # fmt: skip
        self._compute, self._max_batch, self._max_wait = compute, max_batch, max_wait
        self._tell = tell
        self._jobs: deque[Job] = deque()
        self._taken: list[Job] = []
        self._changed = threading.Condition()
        self._ends = False
        self._busy_since: float | None = None
        self.pace = 0.0
        """Seconds that an image took lately; 0 before the first one."""
        self._thread = threading.Thread(target=self._run, name="skinxai-model", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many images wait."""
        return len(self._jobs)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Let images wait for their turn."""
        with self._changed:
            if self._ends or not self._thread.is_alive():
                for job in jobs:
                    _deliver([(job, ended())])
                return
            self._jobs.extend(jobs)
            self._changed.notify()

    def withdraw(self, jobs: Sequence[Job]) -> list[Job]:
        """Take images back that nobody waits for any more, and return those not begun yet."""
        with self._changed:
            gone = [job for job in jobs if job in self._jobs]
            for job in gone:
                self._jobs.remove(job)
        return gone

    def alive(self, hang: float) -> bool:
        """Whether the thread lives, and its batch takes no longer than some seconds."""
        since = self._busy_since
        works = self._thread.is_alive() and not self._ends
        return works and (since is None or time.monotonic() - since < hang)

    def close(self, patience: float | None = None) -> None:
        """Answer what waits, and end the thread.

        Args:
            patience: seconds to wait for its end; ``None``: as long as it takes.
        """
        with self._changed:
            self._ends = True
            self._changed.notify()
        self._thread.join(patience)

    def took(self, images: int, seconds: float) -> None:
        """Learn from a batch how long an image takes."""
        new = seconds / images
        self.pace = KEPT * self.pace + (1 - KEPT) * new if self.pace else new

    def _run(self) -> None:
        try:
            while batch := self._take():
                self._answer(batch)
        except BaseException as error:  # none of a batch, which `_outcomes` catches
            logger.critical("a model's worker ended", exc_info=error)
        finally:
            with self._changed:
                self._ends = True
                lost = [*self._taken, *self._jobs]
                self._jobs.clear()
            _deliver_in_loops([(job, ended()) for job in lost])

    def _take(self) -> list[Job]:
        """The next batch; none at the end."""
        with self._changed:
            while not self._jobs and not self._ends:
                self._changed.wait()
                while self._jobs and not self._ends and (rest := self._patience()) > 0:
                    self._changed.wait(rest)
            self._taken = taken = self._next()
            return taken

    def _patience(self) -> float:
        """Seconds that the images in the queue still wait for others."""
        full = len(self._jobs) >= self._max_batch
        return 0.0 if full else self._jobs[0].since + self._max_wait - time.monotonic()

    def _next(self) -> list[Job]:
        """The oldest images that are asked in one way, as many as end before the first is late."""
        taken: list[Job] = []
        rest: deque[Job] = deque()
        most = self._max_batch
        if self._jobs and self.pace > 0:
            left = self._jobs[0].deadline - time.monotonic()
            most = max(1, min(most, int(left / self.pace)))
        for job in self._jobs:
            fits = len(taken) < most and (not taken or job.asked == taken[0].asked)
            (taken if fits else rest).append(job)
        self._jobs = rest
        return taken

    def _answer(self, batch: list[Job]) -> None:
        began = time.monotonic()
        late = [job for job in batch if job.is_late(began, self.pace)]
        _deliver_in_loops([(job, too_late()) for job in late])
        jobs = self._taken = [job for job in batch if job not in late]
        if not jobs:
            return
        self._busy_since = began
        found = self._outcomes([job.item for job in jobs], jobs[0].asked)
        self._busy_since = None
        seconds = time.monotonic() - began
        self.took(len(jobs), seconds)
        self._taken = []
        _deliver_in_loops(list(zip(jobs, found, strict=True)))
        waited = tuple(began - job.since for job in jobs)
        places = tuple(job.place for job in jobs)
        self._tell(Batch(len(jobs), waited, seconds, places))

    def _outcomes(self, items: Sequence[object], asked: Asked) -> list[Outcome]:
        """Of each image; where the whole batch fails, of its halves."""
        try:
            found = list(self._compute(items, asked))
            if len(found) != len(items):
                raise RuntimeError(
                    f"{counted(len(found), 'answer')} to {counted(len(items), 'image')}"
                )
            return [*found]
        except Exception as error:
            if len(items) == 1:
                return [error]
        half = len(items) // 2
        return self._outcomes(items[:half], asked) + self._outcomes(items[half:], asked)


def too_late() -> Problem:
    """Of an image whose deadline passed while it waited."""
    return Problem(
        504, "deadline", "The image waited too long to be answered before the deadline; it was not "
        "computed.", retry=1,
    )  # fmt: skip


def no_answer() -> Problem:
    """Of work that was begun and took too long."""
    return Problem(504, "deadline", "The model did not answer before the deadline.", retry=1)


def ended() -> Problem:
    """Of an image whose model answers no more."""
    return Problem(503, "worker_ended", "The model's worker ended; the image has no answer.")


def _deliver_in_loops(outcomes: list[tuple[Job, Outcome]]) -> None:
    loops = {job.done.get_loop() for job, _ in outcomes}
    for loop in loops:
        own = [each for each in outcomes if each[0].done.get_loop() is loop]
        if not loop.is_closed():
            loop.call_soon_threadsafe(_deliver, own)


def _deliver(outcomes: Sequence[tuple[Job, Outcome]]) -> None:
    for job, outcome in outcomes:
        if not job.done.done():
            job.done.set_result(outcome)
