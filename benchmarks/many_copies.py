"""Time and memory of the search for copies of training images where there are very many.

Usage: python benchmarks/many_copies.py HAM10000_FOLDER IMAGES_FOLDER KNOWN ASKED [--trees]

The images are those that duplicates.py draws, in the same IMAGES_FOLDER: the first KNOWN are
training images, the next ASKED are looked for among them, and so are 50 copies of each kind of some
of the first 2,000. This is the comparison that `Trainer.fit`, `Classifier.evaluate` and `audit`
make. With --trees, trees choose the pairs also where there are not so many. Processor seconds are
summed over all threads. Writes results/many_copies.json, in which figures of other numbers stay.
"""

import json
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from audit import CHANGES
from duplicates import COPIES, draw, place, plant, resident

from skinxai import read_image
from skinxai.data import load_ham10000
from skinxai.model_folders import copies as copies_of
from skinxai.model_folders.fingerprints import Fingerprints, image_fingerprint

RESULT = Path(__file__).parent / "results" / "many_copies.json"


def prints_of(paths: Iterable[Path]) -> list[bytes]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda path: image_fingerprint(read_image(path).pixels), paths))


def main(photographs: str, images: str, known: int, asked: int) -> None:
    folder = Path(images)
    draw(load_ham10000(photographs), folder, known + asked)
    planted = plant(folder)
    start = time.process_time()
    prints = prints_of(place(folder, number) for number in range(known + asked))
    copies = prints_of(path for path, _, _ in planted.values())
    read, before = time.process_time() - start, resident("VmRSS")
    training = Fingerprints.of(prints[:known])
    start, used = time.perf_counter(), time.process_time()
    alike = training.copies([*prints[known:], *copies])
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    found = {kind: 0 for kind in CHANGES}
    for (_, _, kind), is_copy in zip(planted.values(), alike[asked:], strict=True):
        found[kind] += is_copy
    pairs = len(training) * len(alike)
    row = {
        "training images": known,
        "images asked": len(alike),
        "pairs": pairs,
        "chosen by trees": pairs > copies_of.ALL_PAIRS,
        "processor seconds to read them": round(read, 1),
        "seconds": round(seconds, 1),
        "processor seconds": round(processor, 1),
        "MB before": before,
        "peak MB": resident("VmHWM"),
        f"planted copies found, of {COPIES} each": found,
        "other images taken for copies": sum(alike[:asked]),
        "processors": len(os.sched_getaffinity(0)),
    }
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    results[f"{known} x {asked}" + " by trees" * row["chosen by trees"]] = row
    RESULT.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    if sys.argv[-1] == "--trees":
        copies_of.ALL_PAIRS = 0
        del sys.argv[-1]
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
