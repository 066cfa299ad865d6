"""Waiting for what is shown, never for a time that a busy machine may exceed."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

LIMIT = 600.0
"""Seconds after which a test gives up: far above what any wait takes beside other programs, and
below pytest's `faulthandler_timeout`, which ends the process and does not say what is awaited."""
PAUSES = (0.005, 0.02)
"""Seconds between two looks, the first and the longest: each may be a request of a busy service."""


def wait_for(condition: Callable[[], object]) -> None:
    """Return as soon as ``condition()`` is true.

    Raises:
        AssertionError: it is not after `LIMIT`.
    """
    end = time.monotonic() + LIMIT
    pause, longest = PAUSES
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT:g} s: {condition}"
        time.sleep(pause)
        pause = min(1.2 * pause, longest)


class WatchedLock:
    """A lock that counts the threads that wait for it.

    Args:
        lock: what it is beside that.
    """

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock, self._counting, self.waiting = lock, threading.Lock(), 0

    def __enter__(self) -> object:
        with self._counting:
            self.waiting += 1
        found = self._lock.__enter__()
        with self._counting:
            self.waiting -= 1
        return found

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(*error)


class Meeting:
    """Counts the threads that are inside at a time, once all have come as far as they can.

    The first ones inside stay until each of the others is inside too, or waits for the lock.

    Args:
        lock: that may keep the others out.
        threads: how many there are.
    """

    def __init__(self, lock: WatchedLock, threads: int = 4) -> None:
        self._lock, self._threads = lock, threads
        self._counting, self._over = threading.Lock(), threading.Event()
        self._inside = self.most = 0

    def attend(self, *_: object) -> None:
        """Come in, meet the others, leave."""
        with self._counting:
            self._inside += 1
            self.most = max(self.most, self._inside)
        wait_for(lambda: self._over.is_set() or self._all_are_here())
        self._over.set()
        with self._counting:
            self._inside -= 1

    def _all_are_here(self) -> bool:
        with self._counting:
            return self._inside + self._lock.waiting == self._threads

    def of(self, call: Callable[[], object]) -> int:
        """How many are inside at a time, at most, where every thread calls ``call`` once."""
        with ThreadPoolExecutor(self._threads) as pool:
            for answer in [pool.submit(call) for _ in range(self._threads)]:
                answer.result()
        assert self._over.is_set()
        return self.most
