"""Waiting for what is shown, never for a time that a busy machine may exceed."""

import time
from collections.abc import Callable

LIMIT = 900.0
"""Seconds after which a test gives up: far above what any wait takes beside other programs."""
PAUSE = 0.005


def wait_for(condition: Callable[[], object]) -> None:
    """Return as soon as ``condition()`` is true.

    Raises:
        AssertionError: it is not after `LIMIT`.
    """
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"not within {LIMIT:g} s: {condition}"
        time.sleep(PAUSE)
