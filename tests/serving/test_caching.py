"""Answers by content: the same tests on this process's memory and on a real Redis."""

import asyncio
import json
import math
import os
import shutil
import subprocess
import sys

import pytest
from PIL import features
from redis_server import RedisServer, needs_redis

from skinxai.errors import OptionError
from skinxai.predicting import answer_versions as versions
from skinxai.predicting.answer_versions import answer_versions
from skinxai.serving import caching
from skinxai.serving.caching import (
    OVERHEAD,
    SEAL,
    AnswerCache,
    MemoryStore,
    Store,
    answer_key,
    open_cache,
)  # fmt: skip
from skinxai.serving.redis_store import RedisStore

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


def test_a_key_does_not_depend_on_the_options_order() -> None:
    key = answer_key("one", "m@1", {"a": 1, "b": 2})
    assert key == answer_key("one", "m@1", {"b": 2, "a": 1})


@pytest.fixture
def anew():
    """Versions are asked for again, within the test and after it."""
    answer_versions.cache_clear()
    yield
    answer_versions.cache_clear()


def test_a_key_depends_on_the_version(monkeypatch, anew) -> None:
    monkeypatch.setattr(versions, "__version__", "another")
    assert answer_key("one", "m@1", {}) != KEY


@pytest.mark.parametrize("library", ["pil", "libjpeg_turbo", "webp"])
def test_a_key_depends_on_the_versions_that_decode_the_upload(monkeypatch, anew, library) -> None:
    assert answer_key("one", "m@1", {}) == KEY
    known = features.version
    older = {library: "1.0"}
    monkeypatch.setattr(features, "version", lambda name: older.get(name, known(name)))
    answer_versions.cache_clear()
    assert answer_key("one", "m@1", {}) != KEY


@pytest.mark.parametrize("name", ["torch", "timm", "a-reader"])
def test_a_key_depends_on_the_versions_of_networks_and_plugins(tmp_path, name) -> None:
    (tmp_path / "a_reader.py").write_text(
        "from skinxai import hookimpl\n@hookimpl\ndef skinxai_read_image(image):\n    pass\n"
    )
    asked = "from skinxai.serving.caching import answer_key; print(answer_key('one', 'm@1', {}))"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "SKINXAI_BLOCK_PLUGINS": "",
    }  # fmt: skip

    def key() -> str:
        words = [sys.executable, "-c", asked]
        return subprocess.run(
            words, check=True, capture_output=True, env=environment, text=True
        ).stdout.strip()

    keys = [key(), key()]
    for version in ("1.0", "1.1"):
        shutil.rmtree(tmp_path / f"{name.replace('-', '_')}-1.0.dist-info", ignore_errors=True)
        about = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        if name == "a-reader":
            (about / "entry_points.txt").write_text("[skinxai]\na = a_reader\n")
        keys.append(key())
    assert keys[0] == keys[1] and len(set(keys)) == 3


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
