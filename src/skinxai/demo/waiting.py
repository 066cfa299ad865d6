"""`Queue`: who computes next, so that nobody waits for ever behind somebody slow."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from skinxai.plain_text import agreeing, counted

Waits = Callable[[int], object]
"""Is told, again and again while one waits, how many others are before one; may raise to leave."""
SLICE = 1.0
"""Seconds that one computes while others wait."""
OFTEN = 0.25
"""Seconds between two words to one who waits."""


def patiently(before: int) -> None:
    """Wait without a word."""


class Queue:
    """First come, first served; who takes long goes to the end again after each slice.

    Args:
        places: how many compute at once; ``None``: half of the processors, at least two, so that
            a method that cannot be interrupted leaves a place to others.
        slice: seconds that one computes while others wait, as far as it can be interrupted.
    """

    def __init__(self, places: int | None = None, slice: float = SLICE) -> None:
        self.places = max(2, (os.cpu_count() or 1) // 2) if places is None else places
        self.slice = slice
        self._changed = threading.Condition()
        self._waiting: list[Turn] = []
        self._running = 0

    @contextmanager
    def turn(self, waits: Waits = patiently) -> Iterator["Turn"]:
        """Within it, one computes."""
        turn = Turn(self, waits)
        self._enter(turn)
        try:
            yield turn
        finally:
            self._leave(turn)

    def _enter(self, turn: "Turn") -> None:
        with self._changed:
            self._waiting.append(turn)
        try:
            while not self._admitted(turn):
                turn.waits(self._before(turn))
        finally:
            with self._changed:
                if turn in self._waiting:  # it left
                    self._waiting.remove(turn)
                self._changed.notify_all()

    def _admitted(self, turn: "Turn") -> bool:
        """Whether it is this one's turn now, or within a moment."""
        with self._changed:
            free = self._changed.wait_for(
                lambda: self._running < self.places and self._waiting[0] is turn, OFTEN
            )
            if free:
                self._waiting.remove(turn)
                self._running += 1
                turn.since = time.monotonic()
            return free

    def _before(self, turn: "Turn") -> int:
        with self._changed:
            return self._running + self._waiting.index(turn)

    def _leave(self, turn: "Turn") -> None:
        with self._changed:
            if turn.since is not None:
                turn.since = None
                self._running -= 1
                self._changed.notify_all()


class Turn:
    """One who waits, or computes."""

    def __init__(self, queue: Queue, waits: Waits) -> None:
        self._queue, self.waits = queue, waits
        self.since: float | None = None

    def pass_on(self) -> None:
        """Let those who wait go first, where the slice is over."""
        queue = self._queue
        over = self.since is not None and time.monotonic() - self.since >= queue.slice
        if over and queue._waiting:
            queue._leave(self)
            queue._enter(self)


def others(before: int) -> str:
    """How many are before one, as a sentence."""
    return f"{counted(before, 'other')} {agreeing(before, 'is', 'are')} before you."
