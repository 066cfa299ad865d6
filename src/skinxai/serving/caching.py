"""Answers by content: what was asked before is not computed again. Bounded memory, or Redis."""

import hashlib
import hmac
import json
import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from skinxai.errors import OptionError
from skinxai.predicting.answer_versions import answer_versions

MEMORY = 64 * 1024**2
"""Bytes of the answers that are kept in this process."""
MOST = 1024**2
"""Bytes of one answer; larger ones are not kept, and not read."""
OVERHEAD = 500
"""Bytes that a kept answer takes beside its own, measured with CPython 3.11, rounded up."""
SEAL = 32
"""Bytes of the digest in front of each answer."""

Count = Callable[[str], object]
"""Is told ``"hit"``, ``"miss"`` or ``"error"`` of each look."""


class StoreUnavailableError(Exception):
    """The store cannot be asked now; the service goes on without."""


class Store(ABC):
    """Bytes by name. What it returns is not trusted."""

    @abstractmethod
    async def read(self, key: str) -> bytes | None:
        """The bytes, at most a little over `MOST`; ``None`` where there are none.

        Raises:
            StoreUnavailableError: it does not answer, or is not asked for a while.
        """

    @abstractmethod
    async def write(self, key: str, value: bytes) -> None:
        """Keep the bytes, for a while.

        Raises:
            StoreUnavailableError: it does not take them, or is not asked for a while.
        """

    @abstractmethod
    async def close(self) -> None:
        """Give connections back."""


class MemoryStore(Store):
    """The newest answers, in this process.

    Args:
        limit: bytes of all of them, with what Python adds.
    """

    def __init__(self, limit: int = MEMORY) -> None:
        if limit < 1:
            raise OptionError(f"limit must be >= 1 byte, got {limit}.")
        self.limit, self.size = limit, 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    async def read(self, key: str) -> bytes | None:
        """The bytes, which are then the newest."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    async def write(self, key: str, value: bytes) -> None:
        """Keep the bytes, and drop the oldest ones where there are too many."""
        with self._lock:
            self._drop(key)
            self._kept[key] = value
            self.size += _size(key, value)
            while self.size > self.limit:
                self._drop(next(iter(self._kept)))

    async def close(self) -> None:
        """Forget all."""
        with self._lock:
            self._kept.clear()
            self.size = 0

    def _drop(self, key: str) -> None:
        if (value := self._kept.pop(key, None)) is not None:
            self.size -= _size(key, value)


class AnswerCache:
    """Answers by upload, model and options.

    Only whole answers with finite numbers are kept. Each is sealed together with its key: one that
    was changed, cut, or stands under another key counts as an error and is computed again.

    Args:
        store: where the bytes are.
        count: is told how each look ended.
        secret: makes the seal one that others who can write into the store cannot forge.
    """

    def __init__(self, store: Store, count: Count = len, secret: bytes = b"") -> None:
        self._store, self._count, self._secret = store, count, secret

    async def get(self, key: str) -> dict[str, Any] | None:
        """The answer; ``None`` where there is none that can be trusted."""
        try:
            kept = await self._store.read(key)
        except StoreUnavailableError:
            kept = b""
        if kept is None:
            self._count("miss")
            return None
        seal, text = kept[:SEAL], kept[SEAL:]
        if not hmac.compare_digest(seal, self._seal(key, text)):
            self._count("error")
            return None
        self._count("hit")
        found: dict[str, Any] = json.loads(text)
        return found

    async def put(self, key: str, answer: Mapping[str, Any]) -> bool:
        """Keep an answer, and return whether it is kept."""
        try:
            text = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
        except ValueError:  # not finite
            return False
        if "error" in answer or len(text) > MOST - SEAL:
            return False
        try:
            await self._store.write(key, self._seal(key, text) + text)
        except StoreUnavailableError:
            return False
        return True

    async def close(self) -> None:
        """Give connections back."""
        await self._store.close()

    def _seal(self, key: str, text: bytes) -> bytes:
        return hmac.digest(self._secret, f"{len(key)}:{key}".encode() + text, hashlib.sha256)


def answer_key(digest: str, model: str, options: Mapping[str, Any]) -> str:
    """Name of an answer: a digest of all that it depends on.

    That includes the versions of skinxai, torch, timm, plugins and what decodes the image: replicas
    of one Redis may have different ones, and an update may change an answer.

    Args:
        digest: SHA-256 of the encoded image, as it came.
        model: ``name@revision``.
        options: plain values, what computes included.
    """
    asked = json.dumps(options, sort_keys=True, separators=(",", ":"))
    parts = [answer_versions(), model, asked, digest]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def open_cache(where: str, count: Count = len, secret: bytes = b"") -> AnswerCache | None:
    """The cache of `ServiceSettings.cache`, or ``None``. Nothing is connected before its first use.

    Raises:
        OptionError: another text, or the package redis is not installed.
    """
    if where == "off":
        return None
    if where == "memory":
        return AnswerCache(MemoryStore(), count, secret)
    if re.match(r"(rediss?|unix)://", where):
        from skinxai.serving.redis_store import RedisStore

        return AnswerCache(RedisStore(where), count, secret)
    # The text may hold a password.
    raise OptionError("cache must be 'memory', 'off' or a URL such as 'redis://localhost:6379/0'.")


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + OVERHEAD
