"""Kill shards of a manifest at random moments, repeat them, and account for every image and byte.

Usage: python benchmarks/kills_of_shards.py [KILLS]      (writes results/kills_of_shards.json)

Each campaign answers a manifest by two shards in one folder, with a network of some hundred
weights. Both run at once; one of them is killed by SIGKILL at a moment drawn from the time that it
takes, some times in a row. Then both are run to their end, and the folder must hold the parts, byte
for byte, of a run that nobody disturbed, and nothing else.
"""

import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from sharded_runs import ShardServer  # noqa: E402
from small_runs import model_folder, registered  # noqa: E402

from skinxai.manifests import collect  # noqa: E402

ROWS, CHUNK, IMAGES, SHARDS = 400, 8, 40, 2


def prepare(folder: Path) -> Path:
    """A manifest of images that repeat, some of which cannot be read."""
    draws = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = draws.integers(60, 200, (40, 56, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "7.png").write_bytes(b"no image")
    path = folder / "lesions.csv"
    lines = [f"id-{number},{number % IMAGES}.png\n" for number in range(ROWS)]
    path.write_text("id,image\n" + "".join(lines))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def begun(server: ShardServer, job: dict[str, Any]) -> list[int]:
    """Both shards, at once."""
    return [server.start(job | {"shard": [number, SHARDS]}) for number in range(SHARDS)]


def both(server: ShardServer, job: dict[str, Any]) -> list[int]:
    """Both shards, to their end."""
    return [server.status() for _ in begun(server, job)]


def campaign(folder: Path, kills: int) -> dict[str, Any]:
    with registered():
        model = model_folder(folder / "model", seed=1)
    table, server, draws = prepare(folder), ShardServer(model), np.random.default_rng(1)
    job = {"manifest": str(table), "chunk": CHUNK, "batch_size": 3}
    assert server.run(job | {"out": str(folder / "whole")}) == 0
    start = time.perf_counter()
    assert both(server, job | {"out": str(folder / "timed")}) == [0, 0]
    seconds = time.perf_counter() - start
    whole, left, runs = contents(folder / "whole"), kills, 0
    wrong, seen, moments = Counter[str](), 0, Counter[str]()
    while left:
        out = folder / f"run-{runs}"
        for _ in range(min(left, int(draws.integers(1, 6)))):
            victim = int(draws.integers(SHARDS))
            processes = begun(server, job | {"out": str(out)})
            before = len(list(out.glob("part-*"))) if out.is_dir() else 0
            time.sleep(draws.uniform(0, seconds * (1 - before / len(whole))))
            before = len(list(out.glob("part-*"))) if out.is_dir() else 0
            os.kill(processes[victim], signal.SIGKILL)
            statuses = [server.status() for _ in range(SHARDS)]
            wrong["the other shard did not end well"] += statuses[1 - victim] != 0
            if statuses[victim] != -signal.SIGKILL:
                continue  # it had ended already
            left -= 1
            moments["before the first part" if not before else "between parts"] += 1
            there = contents(out) if out.is_dir() else {}
            seen += any(name.endswith(".part") for name in there)
            wrong["a part that is not whole"] += any(
                data != whole[name] for name, data in there.items() if not name.startswith(".")
            )
        wrong["did not end"] += both(server, job | {"out": str(out)}) != [0, 0]
        wrong["other bytes than undisturbed"] += contents(out) != whole
        answers = collect(out, folder / "answers.parquet", progress=False)
        rows = pq.read_table(folder / "answers.parquet")["row"].to_pylist()
        wrong["a row not once"] += rows != list(range(ROWS))
        wrong["an error not once"] += dict(answers.errors) != {"image_unsupported": ROWS // IMAGES}
        shutil.rmtree(out)
        runs += 1
        print(f"{kills - left} of {kills} kills, {runs} runs", file=sys.stderr)
    server.close()
    return {
        "kills": kills, "runs": runs, "rows of each run": ROWS, "parts of each run": len(whole) - 1,
        "when": dict(moments), "kills that left a file half written under another name": seen,
        "wrong": dict(wrong),
    }  # fmt: skip


def main(kills: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = {
            "machine": f"{platform.machine()}, Python {platform.python_version()}, "
            f"torch {torch.__version__}",
            **campaign(Path(folder), kills),
        }
    text = json.dumps(report, indent=2)
    (ROOT / "benchmarks/results/kills_of_shards.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 150)
