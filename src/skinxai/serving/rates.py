"""`Rates`: how often each client may ask."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from skinxai.plain_text import agreeing
from skinxai.serving.problems import Problem

MOST = 10_000
"""Clients that are remembered; the longest unseen is forgotten first."""


class Rates:
    """A bucket of tokens for each client, which fills while it does not ask.

    Args:
        rate: requests a second, > 0; a client that has rested may send as many at once, and one.
        clock: seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, max(1.0, rate), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, client: str) -> None:
        """Count a request.

        Raises:
            Problem: 429, with the seconds to wait.
        """
        now = self._clock()
        tokens, since = self._buckets.pop(client, (self._most, now))
        tokens = min(self._most, tokens + (now - since) * self._rate)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - allowed, now)
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        if not allowed:
            raise Problem(
                429, "rate",
                f"At most {self._rate:g} {agreeing(self._rate, 'request', 'requests')} a second; "
                f"wait.",
                retry=math.ceil((1 - tokens) / self._rate),
            )  # fmt: skip
