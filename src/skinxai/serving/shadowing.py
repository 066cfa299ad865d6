"""`Shadow`: a second model that sees what a first one answered, and never delays it."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from skinxai.classifier import Classifier

IMAGES, BYTES = 64, 64 * 1024**2
"""Most images that wait, and most bytes of them; more are left out."""
PAUSE = 0.02
"""Seconds between two looks whether the live model rests."""


@dataclass(frozen=True)
class _Seen:
    upload: bytes
    label: str
    options: dict[str, Any]


class Shadow:
    """Predicts in a thread of its own, while no live image waits, and counts who agrees.

    Args:
        classifier: the shadow.
        tell: is told of each image whether the shadow's most probable class is the live one's. An
            image that the shadow cannot answer is none of both, and is not told.
        leave: is told of each image that did not fit in, or that the shadow could not answer.
        busy: whether a live image waits; the shadow waits then.
    """

    def __init__(
        self, classifier: Classifier, tell: Callable[[bool], object],
        busy: Callable[[], bool] = bool, leave: Callable[[], object] = bool,
    ) -> None:  # fmt: skip
        self.classifier, self._tell, self._busy, self._leave = classifier, tell, busy, leave
        self._waiting: deque[_Seen] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="skinxai-shadow", daemon=True)
        self._thread.start()

    def see(self, upload: bytes, live: str, **options: Any) -> bool:
        """Take an image in, and return whether there was room; never waits for the shadow."""
        with self._changed:
            full = len(self._waiting) >= IMAGES or self._bytes + len(upload) > BYTES
            if full or self._ends:
                self._leave()
                return False
            self._waiting.append(_Seen(upload, live, options))
            self._bytes += len(upload)
            self._changed.notify()
            return True

    def close(self) -> None:
        """Forget what waits, and end after the image at work."""
        with self._changed:
            self._ends = True
            for _ in self._waiting:
                self._leave()
            self._waiting.clear()
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # on Linux, this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        while (seen := self._next()) is not None:
            try:
                found = self.classifier.predict([seen.upload], **seen.options)[0]
            except Exception:  # of a shadow nothing may come through
                self._leave()
            else:
                self._tell(found.label == seen.label)

    def _next(self) -> _Seen | None:
        """The next image, once no live one waits; ``None`` at the end."""
        with self._changed:
            while not self._ends and (not self._waiting or self._busy()):
                self._changed.wait(PAUSE if self._waiting else None)
            if self._ends:
                return None
            seen = self._waiting.popleft()
            self._bytes -= len(seen.upload)
            return seen
