"""Damaged downloads, and several at once, through the real client from a server on this machine.

Usage: python benchmarks/downloads.py [--damages 300] [--processes 8]

Each damage (cut, flipped, longer, told longer, another file, a web page; once or each time) meets
one file of a model on its way into an empty cache. Counted are: calls that gave out other bytes
than the model's, files left in the cache that are none of the model's, and how the calls ended.
A card that is damaged each time is taken, with a warning, as one that was edited on the Hub.
Then several processes load one model into one cache at the same time. Writes
results/downloads.json.
"""

import argparse
import collections
import json
import multiprocessing
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from hub_server import Answer, Hub, Repo  # noqa: E402
from loopback_hub import DAMAGE, NAME, files_of  # noqa: E402

from skinxai.errors import SkinxaiError  # noqa: E402
from skinxai.model_folders.opening import open_model  # noqa: E402

RESULTS = HERE / "results" / "downloads.json"
KINDS = [*DAMAGE, "told longer"]
NOT_A_MODELS = ("CACHEDIR.TAG", ".gitignore")


def truth() -> dict[str, bytes]:
    draws = np.random.default_rng(0)
    return files_of(
        {
            "model.safetensors": draws.bytes(300_000),
            "config.json": b'{"a": 1}\n',
            "README.md": b"A card.\n",
            "neighbours.safetensors": draws.bytes(20_000),
        }
    )


def point_to(url: str) -> None:
    from huggingface_hub import constants

    constants.ENDPOINT = url
    constants.HUGGINGFACE_CO_URL_TEMPLATE = url + "/{repo_id}/resolve/{revision}/{filename}"


def damaged(kind: str, answer: Answer) -> Answer:
    if kind == "told longer":
        return Answer(answer.status, answer.body, answer.headers, len(answer.body) + 100)
    return DAMAGE[kind](answer)


def strays(cache: Path) -> list[str]:
    whole = set(truth().values())
    files = [p for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"]
    return [p.name for p in files if p.name not in NOT_A_MODELS and p.read_bytes() not in whole]


def one(hub: Hub, commit: str, kind: str, name: str, times: int) -> tuple[str, list[str]]:
    """How a call ended, and what it left."""
    left = [times]

    def fault(method: str, path: str, answer: Answer) -> Answer | None:
        if method == "GET" and path.endswith(name) and answer.body and left[0]:
            left[0] -= 1
            return damaged(kind, answer)
        return None

    hub.faults[:] = [fault]
    with tempfile.TemporaryDirectory() as cache:
        try:
            files = open_model(NAME, revision=commit, cache_dir=cache)
            wrong = [key for key, value in files.files.items() if truth()[key] != value]
            ended = {(): "right bytes", ("README.md",): "card as if edited, with a warning"}.get(
                tuple(wrong), "WRONG BYTES"
            )
        except SkinxaiError as error:
            ended = type(error).__name__
        left_over = strays(Path(cache))
        return ended, [] if ended.startswith("card") else left_over


def load(url: str, commit: str, cache: str) -> bool:
    point_to(url)
    files = open_model(NAME, revision=commit, cache_dir=cache).files
    return all(truth()[key] == value for key, value in files.items())


def main(damages: int, processes: int) -> None:
    warnings.simplefilter("ignore")
    draws, hub = np.random.default_rng(1), Hub()
    point_to(hub.url)
    hub.repos[NAME] = Repo()
    commit = hub.repos[NAME].commit(truth())
    ended: collections.Counter[str] = collections.Counter()
    left: collections.Counter[str] = collections.Counter()
    for _ in tqdm(range(damages), unit="damage"):
        kind, name = draws.choice(KINDS), draws.choice(list(truth()))
        times = int(draws.choice([1, 100]))
        how, stray = one(hub, commit, str(kind), str(name), times)
        ended[f"{'once' if times == 1 else 'each time'}: {how}"] += 1
        left.update(stray)
    hub.faults.clear()
    with (
        tempfile.TemporaryDirectory() as cache,
        multiprocessing.get_context("spawn").Pool(processes) as pool,
    ):
        right = pool.starmap(load, [(hub.url, commit, cache)] * processes)
        at_once = {"processes": processes, "right": sum(right), "strays": strays(Path(cache))}
    found = {
        "huggingface_hub": version("huggingface_hub"),
        "damages": damages,
        "ended": dict(ended),
        "strays": dict(left),
        "at once": at_once,
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--damages", type=int, default=300)
    parser.add_argument("--processes", type=int, default=8)
    arguments = parser.parse_args()
    main(arguments.damages, arguments.processes)
