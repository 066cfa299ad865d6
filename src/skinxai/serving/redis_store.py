"""`RedisStore`: answers that several services share. The only file with redis."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from skinxai.errors import OptionError
from skinxai.serving.caching import MOST, Store, StoreUnavailableError

SECONDS = 0.25
"""Within which Redis must have answered; the request goes on without it then."""
PAUSE = 5.0
"""Seconds after an error in which Redis is not asked; then one request tries it."""
LATE = 1.5
"""A limit that ends after so many times its length: the event loop was held up meanwhile."""
KEEP = 24 * 3600
"""Seconds that an answer is kept."""
PREFIX = "skinxai:answer:"


class RedisStore(Store):
    """Answers in a Redis, which may be down, slow, full or wrong.

    While it cannot be reached it is not asked, but for one request now and then. What it refuses,
    such as to write while it is full, is not repeated.

    Args:
        url: ``redis://…``, ``rediss://…`` or ``unix://…``; its password is never written anywhere.

    Raises:
        OptionError: no such URL, or the package redis is not installed.
    """

    def __init__(self, url: str, *, seconds: float = SECONDS, pause: float = PAUSE) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError as error:
            raise OptionError(
                "a cache in Redis needs the package redis: pip install 'skinxai[serve]'."
            ) from error
        try:
            self._redis: Any = Redis.from_url(
                url, socket_timeout=None, socket_connect_timeout=None,  # `_within` limits both
                retry=Retry(NoBackoff(), 0), decode_responses=False,
            )  # fmt: skip
        except ValueError:
            raise OptionError(
                "cache must be a URL such as 'redis://localhost:6379/0', got one that redis does "
                "not read."
            ) from None
        self._seconds = seconds
        self._breaker = _Breaker(pause)

    async def read(self, key: str) -> bytes | None:
        """At most `MOST` bytes, whatever stands there."""
        # An empty answer is none: each has a seal.
        asked = self._redis.getrange
        found: bytes = await self._ask(lambda: asked(PREFIX + key, 0, MOST - 1))
        return found or None

    async def write(self, key: str, value: bytes) -> None:
        """Keep it for `KEEP` seconds."""
        await self._ask(lambda: self._redis.set(PREFIX + key, value, ex=KEEP))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        from redis.exceptions import RedisError, ResponseError

        if not self._breaker.may_try():
            raise StoreUnavailableError
        try:
            found = await _within(self._seconds, call)
        except ResponseError as error:  # it is there, and says no
            self._breaker.worked()
            raise StoreUnavailableError from error
        except (RedisError, OSError) as error:
            self._breaker.failed()
            raise StoreUnavailableError from error
        self._breaker.worked()
        return found


async def _within(seconds: float, call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call gives within a time; once more, where this program and not Redis was slow.

    A socket's own limit would begin anew with each byte.

    Raises:
        TimeoutError: it gave nothing.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(call())
    try:
        for _ in range(2):
            began = loop.time()
            done, _ = await asyncio.wait({task}, timeout=seconds)
            if done:
                return task.result()
            if loop.time() - began < LATE * seconds:
                break
        raise TimeoutError
    finally:
        if task.cancel():
            await asyncio.wait({task})  # its connection is closed then, and the answer nobody's


class _Breaker:
    """Lets all through while it works; after an error nobody for a while, and then one."""

    def __init__(self, pause: float) -> None:
        self._pause, self._until, self._broken = pause, 0.0, False

    def may_try(self) -> bool:
        """Whether the caller may ask; it must say then how that ended."""
        if self._broken and time.monotonic() < self._until:
            return False
        if self._broken:
            self.failed()  # the others wait for how this one ends
        return True

    def failed(self) -> None:
        """Begin a pause."""
        self._broken, self._until = True, time.monotonic() + self._pause

    def worked(self) -> None:
        """Let all through."""
        self._broken = False
