"""Answers by content: the same tests on this process's memory and on a real Redis."""

import asyncio
import json
import math

import pytest
from redis_server import RedisServer, needs_redis

from skinxai.errors import OptionError
from skinxai.serving import caching
from skinxai.serving.caching import (
    OVERHEAD,
    SEAL,
    AnswerCache,
    MemoryStore,
    Store,
    StoreUnavailableError,
    answer_key,
    open_cache,
)  # fmt: skip
from skinxai.serving.redis_store import PREFIX, RedisStore

ANSWER = {"label": "nv", "probability": 0.1 + 0.2, "malignant": None, "reasons": ["blurred"]}
KEY, OTHER = answer_key("one", "m@1", {}), answer_key("two", "m@1", {})


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def store(request) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return RedisStore(request.getfixturevalue("redis").url, seconds=60)


def asked(cache: AnswerCache, *calls):
    """What the calls return, one after the other, in one event loop."""

    async def ask():
        found = [await call(cache) for call in calls]
        await cache.close()
        return found

    return asyncio.run(ask())


def get(key: str = KEY):
    return lambda cache: cache.get(key)


def put(key: str = KEY, answer=ANSWER):
    return lambda cache: cache.put(key, answer)


def test_an_answer_comes_back_bit_for_bit(store) -> None:
    looks: list[str] = []
    cache = AnswerCache(store, looks.append)
    assert asked(cache, get(), put(), get(), get(OTHER)) == [None, True, ANSWER, None]
    assert looks == ["miss", "hit", "miss"]


def test_what_was_returned_can_be_changed_without_harm(store) -> None:
    async def change(cache):
        found = await cache.get(KEY)
        found["label"] = "mel"
        found["reasons"].clear()

    assert asked(AnswerCache(store), put(), change, get())[-1] == ANSWER


@pytest.mark.parametrize(
    "bad",
    [{"label": "nv", "probability": math.nan}, {"a": [math.inf]}, {"error": {"code": "option"}},
     {"text": "x" * caching.MOST}],
)  # fmt: skip
def test_only_whole_finite_answers_are_kept(store, bad) -> None:
    assert asked(AnswerCache(store), put(answer=bad), get()) == [False, None]


@pytest.mark.parametrize(
    "damage",
    [
        lambda own, other: b"",
        lambda own, other: own[:-1],
        lambda own, other: own[:SEAL],
        lambda own, other: own[: SEAL - 1],
        lambda own, other: own[SEAL:],
        lambda own, other: own + b" ",
        lambda own, other: own.replace(b'"nv"', b'"bc"'),
        lambda own, other: bytes([own[0] ^ 1]) + own[1:],
        lambda own, other: other,
        lambda own, other: json.dumps(ANSWER).encode(),
        lambda own, other: b"\0" * 100,
    ],
)
def test_a_poisoned_value_is_never_answered(store, damage) -> None:
    looks: list[str] = []
    cache = AnswerCache(store, looks.append)

    async def poison(cache):
        own, other = await store.read(KEY), await store.read(OTHER)
        await store.write(KEY, damage(own, other))

    found = asked(cache, put(), put(OTHER, {"label": "mel"}), poison, get(), put(), get())
    assert found[3:] == [None, True, ANSWER]
    assert looks in (["error", "hit"], ["miss", "hit"])  # Redis has no empty values


def test_a_secret_makes_a_seal_that_others_cannot_forge(store) -> None:
    async def forge(cache):
        forger = AnswerCache(store, secret=b"guessed")
        return await forger.put(KEY, {"label": "forged"})

    looks: list[str] = []
    cache = AnswerCache(store, looks.append, secret=b"known to the services alone")
    assert asked(cache, forge, get(), put(), get()) == [True, None, True, ANSWER]
    assert looks == ["error", "hit"]


@pytest.mark.parametrize(
    "other",
    [
        answer_key("one ", "m@1", {}),
        answer_key("one", "m@2", {}),
        answer_key("one", "m@1", {"tta": True}),
        answer_key("one", "m@1", {"tta": False}),
    ],
)
def test_a_key_depends_on_the_upload_the_model_and_the_options(other) -> None:
    assert other != KEY == answer_key("one", "m@1", {})


def test_a_key_depends_on_the_version_but_not_on_the_options_order(monkeypatch) -> None:
    key = answer_key("one", "m@1", {"a": 1, "b": 2})
    assert key == answer_key("one", "m@1", {"b": 2, "a": 1})
    monkeypatch.setattr(caching, "__version__", "another")
    assert key != answer_key("one", "m@1", {"a": 1, "b": 2})


def test_memory_is_bounded_in_bytes_and_the_oldest_goes_first() -> None:
    store = MemoryStore(limit=3 * (1 + 100 + OVERHEAD))

    async def fill():
        for key in "abc":
            await store.write(key, b"x" * 100)
        await store.read("a")  # now b is the oldest
        await store.write("d", b"x" * 100)
        await store.write("c", b"x" * 50)  # in its own place, and smaller
        return [await store.read(key) for key in "abcd"]

    assert asyncio.run(fill()) == [b"x" * 100, None, b"x" * 50, b"x" * 100]
    assert store.size == 3 * (1 + OVERHEAD) + 250


def test_a_value_larger_than_the_memory_leaves_it_empty() -> None:
    store = MemoryStore(limit=1000)
    asyncio.run(store.write("a", b"x" * 10))
    asyncio.run(store.write("b", b"x" * 2000))
    assert store.size == 0 and asyncio.run(store.read("b")) is None


def test_the_overhead_is_what_python_takes() -> None:
    import tracemalloc

    async def fill(store):
        for number in range(2000):
            await store.write(f"{number:064d}", bytes(1000))

    store = MemoryStore()
    tracemalloc.start()
    asyncio.run(fill(store))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.7 * store.size < taken < store.size


def test_the_cache_that_is_asked_for(monkeypatch) -> None:
    assert open_cache("off") is None
    assert isinstance(open_cache("memory")._store, MemoryStore)
    assert isinstance(open_cache("redis://127.0.0.1:1/0")._store, RedisStore)
    with pytest.raises(OptionError, match="cache must be 'memory', 'off' or a URL") as error:
        open_cache("redis//:secret@place")
    assert "secret" not in str(error.value)
    with pytest.raises(OptionError, match="cache must be a URL") as error:
        open_cache("redis://:secret@place:port/0")
    assert "secret" not in str(error.value) and error.value.__cause__ is None
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    with pytest.raises(OptionError, match="needs the package redis"):
        open_cache("redis://127.0.0.1:1/0")


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
