"""What is around the service fails, while it is asked: nothing wrong may be answered.

Each trial gives, for each phase, the statuses and how many answers were not those of the quiet
service. Redis and PostgreSQL are real, the full disk is a tmpfs of 1 MiB in a mount namespace, the
clock is Python's own, moved, and the model folder is exchanged file by file while it is read.
"""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from service.running import Server, send, service
from service.trials import statuses, warm, wrong

from skinxai import Classifier
from skinxai.errors import SkinxaiError

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

NAMES = ("redis", "postgresql", "full_disk", "clock", "exchanged_model")
"""The trials, each a function of this module."""
SECONDS = 5.0
CLIENTS = 8
MEMBERS = Path(__file__).parents[2] / "models/skinxai-ham10000-ensemble/members"
CLOCK = """
import datetime, os, time
real, of_day, path = time.time, datetime.datetime, os.environ["OFFSET"]

def now():
    with open(path) as file:
        return real() + float(file.read() or 0)

class Moved(of_day):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(now(), tz)

time.time, time.time_ns, datetime.datetime = now, lambda: int(now() * 1e9), Moved
"""
"""A `sitecustomize` whose clock is off by the seconds in a file."""


def phase(server: Server, images: list[Path], expected: dict[int, Any]) -> dict[str, Any]:
    result = send(server, images, SECONDS, clients=CLIENTS)
    bad, _ = wrong(expected, result)
    return {"statuses": statuses(result)["good"], "other_answers": bad}


def all_of_them(folder: Path, images: list[Path], backend: str, only: str = "") -> dict[str, Any]:
    trials = [globals()[name] for name in NAMES if only in ("", name)]
    found: dict[str, Any] = {}
    for trial in trials:
        inside = folder / trial.__name__
        inside.mkdir()
        found[trial.__name__] = trial(inside, images, ["--backend", backend, "--no-drift"])
        print(trial.__name__, found[trial.__name__], flush=True)
    return found


def redis(folder: Path, images: list[Path], options: list[str]) -> Any:
    from redis_server import REDIS, RedisServer

    if REDIS is None:
        return "left out: redis-server is not installed"
    store = RedisServer(folder)
    store.start()

    def exchange() -> None:
        """Give each key the value of another."""
        with store.client() as client:
            keys = client.keys()
            values = [client.get(key) for key in keys]
            for key, value in zip(keys, values[1:] + values[:1], strict=True):
                client.set(key, value)

    def cut() -> None:
        with store.client() as client:
            for key in list(client.scan_iter()):
                client.set(key, (client.get(key) or b"")[:-9])

    steps: list[tuple[str, Callable[[], object]]] = [
        ("there", bool), ("values exchanged", exchange), ("values cut", cut),
        ("stopped by SIGSTOP", store.freeze), ("goes on", store.thaw), ("killed", store.stop),
        ("started again, empty", store.start),
    ]  # fmt: skip
    found = {}
    try:
        with service(folder, *options, "--cache", store.url) as server:
            expected = warm(server, images)
            for name, step in steps:
                step()
                found[name] = phase(server, images, expected)
    finally:
        with suppress(Exception):
            store.thaw()
        store.stop()
    return found


def postgresql(folder: Path, images: list[Path], options: list[str]) -> Any:
    import postgres_server

    if postgres_server.programs() is None:
        return "left out: PostgreSQL is not installed"
    found = {}
    with postgres_server.running() as server_of_data:
        url = server_of_data.new_database()
        with service(folder, *options, "--cache", "off", "--review", url) as server:
            expected = warm(server, images)
            for name, step in (
                ("there", bool), ("killed", server_of_data.stop), ("back", server_of_data.start),
            ):  # fmt: skip
                step()
                found[name] = phase(server, images, expected)
                found[name]["recorded"] = recorded(server, images[0])
    return found


def recorded(server: Server, image: Path) -> list[Any]:
    answers = [server.predict(image.read_bytes()) for _ in range(3)]
    return [body["results"][0].get("recorded") for status, body in answers if status == 200]


def full_disk(folder: Path, images: list[Path], options: list[str]) -> Any:
    """Database, kept images and temporary files on a file system of 1 MiB."""
    small = folder / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=1m tmpfs {small} && exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    kept = ["--review", f"sqlite:///{small}/cases.db", "--keep-images", str(small / "images")]
    with service(
        folder, *options, "--cache", "off", *kept, prefix=prefix, TMPDIR=str(small)
    ) as server:
        expected = warm(server, images)
        found = {name: phase(server, images, expected) for name in ("filling", "full")}
        found["full"]["recorded"] = recorded(server, images[0])
    return found


def clock(folder: Path, images: list[Path], options: list[str]) -> Any:
    now = folder / "offset"
    now.write_text("0")
    (folder / "sitecustomize.py").write_text(CLOCK)
    kept = ["--keep-images", str(folder / "images"), "--keep-days", "30"]
    review = ["--review", f"sqlite:///{folder}/cases.db", *kept]
    path = f"{folder}:{os.environ.get('PYTHONPATH', '')}"
    found = {}
    with service(folder, *options, *review, PYTHONPATH=path, OFFSET=str(now)) as server:
        expected = warm(server, images)
        for name, days in (("right", 0), ("two days back", -2), ("ten years on", 3650)):
            now.write_text(str(days * 86400))
            found[name] = phase(server, images, expected)
        if b'"time": "2' not in server.log.read_bytes():
            raise SystemExit("the service wrote no times")
        years = {line[10:14] for line in server.log.read_text().splitlines() if '"time"' in line}
        found["years in its log"] = sorted(years)
    return found


def exchanged_model(folder: Path, images: list[Path], options: list[str]) -> Any:
    """Two models take turns in one folder: every answer is one of the two models' own."""
    first, second = (
        MEMBERS / name for name in ("skinxai-ham10000-lite1", "skinxai-ham10000-lite0")
    )
    used, own = folder / "used", {}
    body = images[0].read_bytes()
    for place in (first, second):
        classifier = Classifier.from_pretrained(place)
        own[classifier.model.split("@")[1]] = dict(classifier.predict(body).probabilities)
    shutil.copytree(first, used)
    ends = threading.Event()

    def exchange() -> None:
        """File by file, as a copy does that knows nothing of skinxai."""
        turn = 0
        while not ends.wait(0.05):
            turn += 1
            for path in sorted((second, first)[turn % 2].iterdir()):
                shutil.copy(path, used / path.name)
                if ends.wait(0.002):
                    break

    thread = threading.Thread(target=exchange)
    with service(folder, *options, "--cache", "off", "--model", str(first)) as server:
        quiet = warm(server, images)
    with service(folder, *options, "--cache", "off", "--model", str(used)) as server:
        thread.start()
        found: dict[str, Any] = {"in use": phase(server, images, quiet)}
    counts = {"read": 0, "refused": 0, "wrong": 0}
    for _ in range(40):
        try:
            classifier = Classifier.from_pretrained(used)
            answer = classifier.predict(body)
        except SkinxaiError:
            counts["refused"] += 1
            continue
        expected = own.get(answer.model.split("@")[1])
        off = expected is None or any(
            abs(answer.probabilities[name] - value) > 1e-5 for name, value in expected.items()
        )
        counts["wrong" if off else "read"] += 1
    ends.set()
    thread.join()
    return found | {"opened while it is exchanged": counts}
