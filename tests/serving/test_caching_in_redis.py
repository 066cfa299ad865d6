"""The cache of answers in a real Redis that is down, hangs, is full or holds foreign values."""

import asyncio
import time

import pytest
from redis_server import RedisServer, needs_redis
from test_caching import ANSWER, KEY, OTHER, asked, put, redis

from skinxai.serving import caching
from skinxai.serving.caching import AnswerCache, StoreUnavailableError, answer_key
from skinxai.serving.redis_store import PREFIX, RedisStore

__all__ = ["redis"]  # fixtures


def of_redis(server: RedisServer, looks: list[str], **limits: float) -> AnswerCache:
    return AnswerCache(RedisStore(server.url, **limits), looks.append)


@needs_redis
def test_redis_that_is_down_then_started_then_started_again(tmp_path) -> None:
    server, looks = RedisServer(tmp_path), []

    async def go():
        cache = of_redis(server, looks, seconds=60, pause=0)
        found = [await cache.get(KEY), await cache.put(KEY, ANSWER)]
        server.start()
        found += [await cache.get(KEY), await cache.put(KEY, ANSWER), await cache.get(KEY)]
        server.stop()
        found += [await cache.get(KEY)]
        server.start()
        found += [await cache.get(KEY), await cache.put(KEY, ANSWER), await cache.get(KEY)]
        await cache.close()
        return found

    try:
        assert asyncio.run(go()) == [
            None, False, None, True, ANSWER, None, None, True, ANSWER,
        ]  # fmt: skip
    finally:
        server.stop()
    assert looks == ["error", "miss", "hit", "error", "miss", "hit"]


@needs_redis
def test_redis_that_hangs_is_left_alone_and_its_late_answers_belong_to_nobody(redis) -> None:
    looks: list[str] = []

    async def go():
        patient = AnswerCache(RedisStore(redis.url, seconds=60))
        for number in range(8):
            await patient.put(answer_key(str(number), "m", {}), {"number": number})
        await patient.close()
        hasty = of_redis(redis, looks, seconds=0.2, pause=0)
        redis.freeze()
        keys = [answer_key(str(number), "m", {}) for number in range(8)]
        first = [await hasty.get(key) for key in keys]
        redis.thaw()  # eight answers are on their way that nobody waits for
        second = []
        for key in keys:
            while (found := await hasty.get(key)) is None:
                pass
            second.append(found["number"])
        await hasty.close()
        return first, second

    assert asyncio.run(go()) == ([None] * 8, list(range(8)))
    assert looks[:8] == ["error"] * 8


@needs_redis
def test_an_event_loop_that_is_held_up_makes_no_error_of_redis(redis) -> None:
    """Held up at each of its turns while an answer comes, as where all processors are busy."""
    looks: list[str] = []

    async def go():
        cache = of_redis(redis, looks, seconds=1)
        await cache.put(KEY, ANSWER)
        for turns in range(6):
            asked = asyncio.ensure_future(cache.get(KEY))
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(1.6)
            assert await asked == ANSWER
        await cache.close()

    asyncio.run(go())
    assert looks == ["hit"] * 6


@needs_redis
def test_after_an_error_nobody_asks_for_a_while_and_then_one(tmp_path, monkeypatch) -> None:
    server = RedisServer(tmp_path)
    store = RedisStore(server.url, seconds=60, pause=5)
    now = [100.0]
    monkeypatch.setattr("skinxai.serving.redis_store.time.monotonic", lambda: now[0])
    asks: list[str] = []
    real = store._redis.getrange

    def watched(key, *range_):
        asks.append(key)
        return real(key, *range_)

    store._redis.getrange = watched

    async def several(count: int) -> int:
        found = await asyncio.gather(
            *(store.read("key") for _ in range(count)), return_exceptions=True
        )
        return sum(isinstance(each, StoreUnavailableError) for each in found)

    async def go():
        assert await several(1) == 1 and len(asks) == 1
        now[0] += 4.9
        assert await several(3) == 3 and len(asks) == 1
        now[0] += 0.2
        assert await several(3) == 3 and len(asks) == 2  # one tries
        server.start()
        now[0] += 5.1
        assert await several(3) == 2 and len(asks) == 3
        assert await several(3) == 0 and len(asks) == 6
        await store.close()

    try:
        asyncio.run(go())
    finally:
        server.stop()


@needs_redis
def test_redis_that_is_full_still_answers_what_it_has(tmp_path) -> None:
    server, looks = RedisServer(tmp_path), []
    server.start("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    large = ANSWER | {"text": "x" * 200_000}
    keys = [answer_key(str(number), "m", {}) for number in range(100)]

    async def go():
        cache = of_redis(server, looks, seconds=60)
        kept = [await cache.put(key, large) for key in keys]
        found = [await cache.get(key) for key in keys]
        await cache.close()
        return kept, found

    try:
        kept, found = asyncio.run(go())
    finally:
        server.stop()
    assert True in kept and False in kept
    assert [each == large for each in found] == kept and looks.count("hit") == sum(kept)


@needs_redis
def test_foreign_values_of_other_types_and_sizes(redis) -> None:
    looks: list[str] = []
    with redis.client() as client:
        client.rpush(PREFIX + KEY, "a list")
        client.set(PREFIX + OTHER, bytes(50 * 1024**2))

    async def go():
        cache = of_redis(redis, looks, seconds=60)
        size = len(await cache._store.read(OTHER))
        found = [await cache.get(KEY), await cache.get(OTHER), await cache.put(OTHER, ANSWER)]
        found += [await cache.get(OTHER)]
        await cache.close()
        return size, found

    assert asyncio.run(go()) == (caching.MOST, [None, None, True, ANSWER])
    assert looks == ["error", "error", "hit"]


@needs_redis
def test_redis_forgets_by_itself(redis) -> None:
    asked(of_redis(redis, []), put())
    with redis.client() as client:
        assert 0 < client.ttl(PREFIX + KEY) <= 24 * 3600


def test_redis_that_answers_byte_by_byte_is_not_waited_for() -> None:
    """Each command of a connection has a limit of its own; the request has one for all."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(1):
                writer.write(b"+")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def go() -> None:
        server = await asyncio.start_server(trickle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        store = RedisStore(f"redis://127.0.0.1:{port}/0", seconds=0.2)
        store._redis.connection_pool.connection_kwargs["socket_timeout"] = None
        with pytest.raises(StoreUnavailableError):
            await asyncio.wait_for(store.read(KEY), 60)
        await store.close()
        server.close()

    asyncio.run(go())
