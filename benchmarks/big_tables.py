"""How time and memory of tables and of the duplicate search grow with the number of images.

    PYTHONPATH=src python benchmarks/big_tables.py HAM10000_FOLDER

Tables of made-up records, each in a process of its own, without images; the search for duplicates
among real images, whose fingerprints are computed once. Writes results/big_tables.json.
"""

import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skinxai import read_image
from skinxai.data import Record, Records, Splits, load_ham10000, split
from skinxai.data.associations import telling_columns
from skinxai.data.near_duplicates import find_pairs, fingerprint
from skinxai.labels import LabelSet

RESULT = Path(__file__).parent / "results" / "big_tables.json"
ROWS = (10_000, 50_000, 100_000, 400_000)
IMAGES = (1_000, 2_000, 4_000)
CODES = ("nv", "mel", "bcc", "bkl")


def record(number: int, draws: random.Random) -> Record:
    """Two images of each lesion, 400 of each patient, 1 in 50 malignant."""
    about = {
        "age": str(draws.randrange(5, 86)), "sex": draws.choice(("male", "female")),
        "site": draws.choice(("trunk", "arm", "leg", "head")), "size": f"{draws.random():.6f}",
        "camera": f"camera {draws.randrange(40)}",
    }  # fmt: skip
    name = f"IMAGE_{number:07d}"
    label = draws.choices(CODES, (979, 10, 6, 5))[0]
    path = Path("/images") / f"{name}.jpg"
    return Record(name, path, label, f"L{number // 2}", f"P{number // 400}", about)


def table(rows: int) -> dict[str, float]:
    draws, found = random.Random(0), {}
    items = tuple(record(number, draws) for number in range(rows))

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        made = work()
        found[name] = round(time.perf_counter() - start, 2)
        return made

    records = timed("Records", lambda: Records(items, LabelSet(CODES), "made up"))
    splits = timed("split", lambda: split(records))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "splits.csv"
        timed("Splits.to_csv", lambda: splits.to_csv(path))
        timed("Splits.from_csv", lambda: Splits.from_csv(path, records))
    timed("leak columns", lambda: telling_columns(records))
    return found | {"peak MB": peak()}


def search(folder: str) -> dict[int, dict[str, float]]:
    records = load_ham10000(folder)
    prints = [fingerprint(read_image(item.path).pixels) for item in records[: max(IMAGES)]]
    groups = [item.lesion_id for item in records[: max(IMAGES)]]
    found: dict[int, dict[str, float]] = {}
    for count in IMAGES:
        start = time.perf_counter()
        pairs = find_pairs(prints[:count], groups[:count])
        took = round(time.perf_counter() - start, 2)
        found[count] = {"seconds": took, "pairs": len(pairs)}
    kilobytes = sum(p.thumb.nbytes + p.points.nbytes + p.descriptors.nbytes for p in prints) / 1000
    found[count] |= {"kB of each fingerprint": round(kilobytes / len(prints), 1), "peak MB": peak()}
    return found


def peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    (folder,) = sys.argv[1:]
    context = multiprocessing.get_context("spawn")
    tables = {}
    for rows in ROWS:
        with context.Pool(1) as pool:
            tables[rows] = pool.apply(table, (rows,))
        sys.stdout.write(f"{rows} rows: {tables[rows]}\n")
    with context.Pool(1) as pool:
        searches = pool.apply(search, (folder,))
    text = json.dumps({"tables": tables, "duplicate search": searches}, indent=2)
    RESULT.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
