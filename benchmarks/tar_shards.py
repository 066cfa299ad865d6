"""How fast images are read from shards and from single files, in one run.

    PYTHONPATH=src python benchmarks/tar_shards.py HAM10000_FOLDER [--images 2000] [--rounds 5]

Reads the same images in the same random order from both in turn, warm in the page cache, by one
thread: the bytes alone, and decoded. Writes results/tar_shards.json. On other hardware, compare
the ratios, not the seconds.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from skinxai import read_image
from skinxai.data import Records, load_ham10000, load_shards, write_shards
from skinxai.disk.tar_members import read_stored

RESULT = Path(__file__).parent / "results" / "tar_shards.json"
WAYS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: read_stored(path, 2**28),
    "decoded": read_image,
}


def seconds(read: Callable[[Path], object], records: Records, order: list[int]) -> float:
    start = time.perf_counter()
    for position in order:
        read(records[position].path)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    files = load_ham10000(given.folder)
    files = replace(files, items=files.items[: given.images])
    order = list(range(len(files)))
    random.Random(0).shuffle(order)
    result: dict[str, object] = {"images": len(files), "rounds": given.rounds}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "shards"
        start = time.perf_counter()
        write_shards(files, out, progress=False)
        result["seconds to write the shards"] = round(time.perf_counter() - start, 2)
        start = time.perf_counter()
        shards = load_shards(out, progress=False)
        result["seconds to open and check the shards"] = round(time.perf_counter() - start, 2)
        for name, read in WAYS.items():
            seconds(read, files, order), seconds(read, shards, order)  # both are warm now
            pairs = [
                (seconds(read, files, order), seconds(read, shards, order))
                for _ in range(given.rounds)
            ]
            ratios = [of_files / of_shards for of_files, of_shards in pairs]
            result[name] = {
                "seconds from files": round(statistics.median(a for a, _ in pairs), 3),
                "seconds from shards": round(statistics.median(b for _, b in pairs), 3),
                "speed of shards / speed of files": round(statistics.median(ratios), 3),
                "lowest and highest": [round(min(ratios), 3), round(max(ratios), 3)],
            }
    text = json.dumps(result, indent=2)
    RESULT.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
