"""`SlowWork`: explanations and reports, one after the other, beside the batches of predictions."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from skinxai.serving.batching import no_answer, too_late

PATIENCE = 60.0
"""Seconds that an explanation or a report may take once it has begun."""

Value = TypeVar("Value")


class SlowWork:
    """One thread, and who waits for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "skinxai-slow")
        self._busy_since: float | None = None

    async def run(self, work: Callable[[], Value], deadline: float) -> Value:
        """What ``work`` returns.

        Args:
            work: done in the thread.
            deadline: of `time.monotonic`, after which it is not begun.

        Raises:
            Problem: 504.
        """

        def begun() -> Value:
            if time.monotonic() > deadline:
                raise too_late()
            self._busy_since = time.monotonic()
            try:
                return work()
            finally:
                self._busy_since = None

        asked = asyncio.get_running_loop().run_in_executor(self._pool, begun)
        try:
            return await asyncio.wait_for(asked, deadline + PATIENCE - time.monotonic())
        except TimeoutError:
            raise no_answer() from None

    def alive(self, hang: float) -> bool:
        """Whether the work takes no longer than some seconds."""
        since = self._busy_since
        return since is None or time.monotonic() - since < hang

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown(cancel_futures=True)
