"""`StoreClock`: time for retention, which goes on whatever the system's clock does."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Tells the time, with a time zone."""


def utc_now() -> datetime:
    """The system's time."""
    return datetime.now(UTC)


class StoreClock:
    """Time that never goes back, and goes on while the system's clock has gone back.

    It is the system's time, or the latest that is known plus what a steady clock counted since,
    whichever is later. After a step back of the system's clock nothing therefore expires early, and
    nothing is kept longer by the step while a program has the store open.

    Args:
        clock: the system's time.
        ticks: seconds that only increase.
    """

    def __init__(self, clock: Clock = utc_now, ticks: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._ticks, self._lock = clock, ticks, threading.Lock()
        self._latest, self._at = clock().astimezone(UTC), ticks()

    def now(self, latest: datetime | None = None) -> datetime:
        """The time for retention.

        Args:
            latest: a time that this store, perhaps in another process, has reached before.
        """
        with self._lock:
            ticks = self._ticks()
            counted = self._latest + timedelta(seconds=ticks - self._at)
            known = counted if latest is None else max(counted, latest)
            self._latest, self._at = max(self._clock().astimezone(UTC), known), ticks
            return self._latest
