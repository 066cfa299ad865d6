"""How time and memory of the search for duplicates grow with the number of images.

Usage: python benchmarks/duplicates.py HAM10000_FOLDER IMAGES_FOLDER NUMBER…

Draws images of 130×130 pixels, about the size of the crops of ISIC 2024, no two of which show the
same skin: each has the colours, the coarse shape (below three waves a side) and the spectrum of a
patch of a photograph of HAM10000, but phases of its own above. 50 of the first 2,000 images are
planted again for each kind of copy. `skinxai.data.audit` then runs on the first NUMBER of them and
the copies, in a process of its own for each NUMBER, by trees also below the 20,000 images from
which they are used otherwise. 2,000 is the least NUMBER. Processor seconds are summed over all
threads; they hold on a busy machine too, where seconds do not. Writes results/duplicates.json, in
which figures of other numbers stay. IMAGES_FOLDER keeps the images for the next time, 4 kB each;
files of the search lie in TMPDIR.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from audit import CHANGES, save
from PIL import Image

from skinxai import read_image
from skinxai.data import (
    Record,
    Records,
    Splits,
    audit,
    auditing,
    load_ham10000,
    near_duplicates,
)
from skinxai.labels import LabelSet

RESULT = Path(__file__).parent / "results" / "duplicates.json"
SIDE, WAVES = 130, 3
COPIES, ORIGINALS = 50, 2_000
GREY = np.array([0.299, 0.587, 0.114])


def patch(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """A patch of a photograph whose details are replaced by random ones of the same spectrum."""
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (round(width * SIDE / height), SIDE), interpolation=cv2.INTER_AREA)
    left = draws.integers(0, small.shape[1] - SIDE + 1)
    own = small[:, left : left + SIDE].astype(np.float64)
    rows, columns = np.fft.fftfreq(SIDE) * SIDE, np.fft.rfftfreq(SIDE) * SIDE
    fine = np.hypot(rows[:, None], columns[None]) >= WAVES
    spectrum = np.fft.rfft2(own @ GREY) * fine
    turned = np.abs(spectrum) * np.exp(2j * np.pi * draws.random(spectrum.shape))
    details = np.fft.irfft2(turned - spectrum, s=(SIDE, SIDE))
    return np.clip(own + details[..., None] + 0.5, 0, 255).astype(np.uint8)


def place(folder: Path, number: int) -> Path:
    return folder / f"{number // 1000:04d}" / f"{number:06d}.jpg"


def draw(photographs: Records, folder: Path, count: int) -> None:
    for number in range(0, count, 1000):
        place(folder, number).parent.mkdir(parents=True, exist_ok=True)
    for first, item in enumerate(photographs):
        numbers = range(first, count, len(photographs))
        absent = [number for number in numbers if not place(folder, number).exists()]
        pixels = read_image(item.path).pixels if absent else None
        for number in absent:
            drawn = patch(pixels, np.random.default_rng((0, number)))
            path = place(folder, number)
            Image.fromarray(drawn).save(path.with_suffix(".part"), "JPEG", quality=90)
            path.with_suffix(".part").replace(path)


def plant(folder: Path) -> dict[str, tuple[Path, int, str]]:
    """Copies: name → its file, number of its original, kind."""
    draws, planted = np.random.default_rng(1), {}
    (folder / "copies").mkdir(exist_ok=True)
    chosen = draws.permutation(ORIGINALS)[: COPIES * len(CHANGES)].tolist()
    for number, original in enumerate(chosen):
        change = list(CHANGES)[number // COPIES]
        pixels = CHANGES[change](read_image(place(folder, original)).pixels, draws)
        path = folder / "copies" / f"{number:04d}.{'png' if change == 'exact' else 'jpg'}"
        save(pixels, path, change)
        planted[f"copy {number}"] = (path, original, change)
    return planted


class Parts:
    """Wraps the bars of the audit; notes seconds, those of processors, and memory of each part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self.megabytes: dict[str, int] = {}

    def watched(self, loop: Iterable[Any], name: str, *_: object) -> Iterator[Any]:
        start, used = time.perf_counter(), time.process_time()
        yield from loop
        self.processor[name] = round(time.process_time() - used, 1)
        self.seconds[name] = round(time.perf_counter() - start, 1)
        self.megabytes[name] = resident("VmRSS")
        sys.stderr.write(f"{name}: {self.processor[name]} s, {self.megabytes[name]} MB\n")


def resident(line: str) -> int:
    """Resident memory of this process in MB: ``VmRSS`` now, ``VmHWM`` at most so far."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(row for row in rows if row.startswith(line)).split()[1]) / 1024)


def room_taken(most: list[int]) -> None:
    """Note the largest size of the files that this process has deleted but still holds."""
    while True:
        size = 0
        for handle in Path("/proc/self/fd").iterdir():
            try:
                status = handle.stat()
            except OSError:  # closed meanwhile
                continue
            size += status.st_size if not status.st_nlink else 0
        most[0] = max(most[0], size)
        time.sleep(1)


def measure(folder: Path, count: int) -> dict[str, Any]:
    planted = plant(folder)
    items = [Record(f"{n}", place(folder, n), "nv", f"{n}") for n in range(count)]
    items += [Record(name, path, "nv", name) for name, (path, _, _) in planted.items()]
    records = Records(tuple(items), LabelSet(("nv", "mel")), "drawn")
    ids = {"train": [item.image_id for item in items[:count]], "test": list(planted)}
    splits = Splits.of(records, ids)
    parts, most, before = Parts(), [0], resident("VmHWM")
    auditing._bar = parts.watched
    near_duplicates.MANY = 0
    threading.Thread(target=room_taken, args=(most,), daemon=True).start()
    start, used = time.perf_counter(), time.process_time()
    report = audit(splits, progress=False)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    pairs = {frozenset((pair.image_id, pair.other_id)) for pair in report.pairs}
    own = {kind: 0 for kind in CHANGES}
    for name, (_, original, kind) in planted.items():
        own[kind] += frozenset((name, str(original))) in pairs
    found = sum(own.values())
    return {
        "images": len(items),
        "seconds": round(seconds, 1),
        "seconds of each part": parts.seconds,
        "processor seconds": round(processor, 1),
        "processor seconds of each part": parts.processor,
        "processor milliseconds an image": round(1000 * processor / len(items), 2),
        "peak MB": resident("VmHWM"),
        "peak MB before the audit": before,
        "MB in use at the end of each part": parts.megabytes,
        "MB of temporary files": round(most[0] / 2**20),
        f"planted copies found, of {COPIES} each": own,
        "pairs of images that are no copies": len(pairs) - found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", type=int, nargs="+")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        sys.stdout.write(json.dumps(measure(given.folder, *given.numbers)))
        return
    draw(load_ham10000(given.photographs), given.folder, max(given.numbers))
    for number in given.numbers:
        command = [sys.executable, __file__, given.photographs, given.folder, str(number)]
        run = subprocess.run([*command, "--measure"], stdout=subprocess.PIPE, check=True)
        known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        known[str(number)] = json.loads(run.stdout) | {"processors": len(os.sched_getaffinity(0))}
        rows = {key: known[key] for key in sorted(known, key=int)}
        RESULT.write_text(json.dumps(rows, indent=2) + "\n")
        sys.stdout.write(json.dumps(known[str(number)], indent=2) + "\n")


if __name__ == "__main__":
    main()
