"""`Recorder`: keeps answers for review in a thread of its own; its failure harms no answer."""

import asyncio
import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from skinxai.errors import SkinxaiError
from skinxai.review import Case

WAITING = 256
"""Answers that wait to be kept; more are not kept."""
PATIENCE = 1.0
"""Seconds that an answer waits to hear whether it is kept."""
PAUSE = 2.0
"""Seconds without a further try, once the store has failed."""

logger = logging.getLogger("skinxai.serving")


class Store(Protocol):
    """What `skinxai.review.ReviewStore` does here."""

    def record(self, case: Case) -> bool:
        """Keep a case."""


@dataclass(frozen=True)
class Answered:
    """An answer on its way into the store.

    Args:
        id: of the answer.
        upload: the encoded image.
        prediction: plain values.
        subject: pseudonym, if it was given.
        lesion: pseudonym, if it was given.
        images: also the image is handed over.
    """

    id: str
    upload: bytes
    prediction: Mapping[str, Any]
    subject: str | None = None
    lesion: str | None = None
    images: bool = False

    def case(self) -> Case:
        """As the store keeps it."""
        return Case(
            self.id, datetime.now(UTC), hashlib.sha256(self.upload).hexdigest(),
            self.prediction["model"],
            self.prediction, self.subject, self.lesion, self.upload if self.images else None,
        )  # fmt: skip


class Recorder:
    """A queue in front of a store, and the thread that empties it.

    Args:
        store: where answers are kept.
        failed: is told of each answer that was not kept.
    """

    def __init__(self, store: Store, failed: Callable[[], object] = bool) -> None:
        self._store, self._failed = store, failed
        self._resumes = 0.0
        self._waiting: queue.Queue[tuple[Answered, asyncio.Future[bool]] | None]
        self._waiting = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="skinxai-record", daemon=True)
        self._thread.start()

    async def record(self, answered: Answered) -> bool:
        """Whether an answer is kept, as far as that is known in time."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((answered, kept))
        except queue.Full:
            self._failed()
            return False
        done, _ = await asyncio.wait({kept}, timeout=PATIENCE)
        return bool(done) and kept.result()

    def close(self) -> None:
        """Keep what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            answered, kept = item
            done = self._keep(answered)
            loop = kept.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_tell, kept, done)

    def _keep(self, answered: Answered) -> bool:
        try:
            case = answered.case()
        except SkinxaiError as error:  # of this answer alone: the others are kept
            logger.error("an answer was not kept: %s", error.code)
            self._failed()
            return False
        if time.monotonic() >= self._resumes:
            try:
                self._store.record(case)
                return True
            except SkinxaiError as error:
                logger.error("an answer was not kept: %s", error.code)
            except Exception as error:
                logger.error("an answer was not kept", exc_info=error)
            self._resumes = time.monotonic() + PAUSE
        self._failed()
        return False


def _tell(kept: asyncio.Future[bool], done: bool) -> None:
    if not kept.done():
        kept.set_result(done)
