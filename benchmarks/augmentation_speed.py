"""Images a second of augmentation alone, of `augment_on="cpu"` and "device", in the same run.

Decoded images of HAM10000 at 336 x 448 become 288 x 384, on one core, or with ``--device cuda`` on
that device; the CPU's recipes always take one core. The ways are timed in turn, in rounds, and the
best round of each counts. Drawing the parameters is part of both, and also timed alone::

    python benchmarks/augmentation_speed.py HAM10000_FOLDER

Writes results/augmentation_speed.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from training_speed import processor

from skinxai import PreprocessConfig
from skinxai.data import load_ham10000
from skinxai.images.reading import read_image
from skinxai.images.transforms import resize
from skinxai.training.augmentation import AUGMENTATIONS, Augmentation
from skinxai.training.device_augmentation import DeviceAugmentation
from skinxai.training.process import kept_memory

STORED, SIZE = (336, 448), (288, 384)
RESULTS = Path(__file__).parent / "results" / "augmentation_speed.json"


def timed(way: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    way()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main(root: Path, count: int, rounds: int, device: torch.device) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    records = load_ham10000(root)
    config = PreprocessConfig(STORED)
    whole = [resize(read_image(records[n].path).pixels, config) for n in range(count)]
    pixels = torch.from_numpy(np.stack(whole)).to(device)
    ways: dict[str, Callable[[], object]] = {}
    for recipe in AUGMENTATIONS:
        cpu, own = Augmentation(SIZE, recipe), DeviceAugmentation(SIZE, recipe)
        seeds = list(range(count))

        def one_by_one(cpu: Augmentation = cpu) -> None:
            for seed, image in enumerate(whole):
                cpu(image, seed)

        def together(own: DeviceAugmentation = own, seeds: list[int] = seeds) -> None:
            own(pixels, own.draw(seeds, STORED))

        ways[f"{recipe}, cpu"] = one_by_one
        ways[f"{recipe}, device"] = together
        ways[f"{recipe}, device, drawing alone"] = lambda own=own, seeds=seeds: own.draw(
            seeds, STORED
        )
    best = dict.fromkeys(ways, float("inf"))
    with kept_memory():
        for _ in range(rounds + 1):  # the first one warms up
            for name, way in ways.items():
                best[name] = min(best[name], timed(way, device))
    rates = {name: round(count / seconds, 1) for name, seconds in best.items()}
    for name, rate in rates.items():
        print(f"{name:<32} {rate:10.1f} images/s")
    content = {
        "images": f"{count} of HAM10000, {STORED[0]} x {STORED[1]} to {SIZE[0]} x {SIZE[1]}",
        "processor": processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "one core",
        "torch": torch.__version__,
        "images_per_second": rates,
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("ham10000", type=Path)
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args()
    main(options.ham10000, options.count, options.rounds, options.device)
