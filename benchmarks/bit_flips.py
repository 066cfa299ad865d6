"""Flip single bits in the files of a model folder, the card apart, and count what still loads.

Usage: python benchmarks/bit_flips.py [--flips 20000]

Each flip is one bit at a random place of a random file of the bundled model's folder, written, read
as `Classifier.from_pretrained` reads it before anything is parsed, and taken back. Writes
results/bit_flips.json.
"""

import argparse
import collections
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from skinxai.errors import SkinxaiError
from skinxai.model_folders.files import BUNDLED, read_model_folder
from skinxai.model_folders.parts import CARD

RESULTS = Path(__file__).parent / "results" / "bit_flips.json"


def flip(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        (value,) = file.read(1)
        file.seek(place)
        file.write(bytes([value ^ 1 << bit]))


def main(flips: int) -> None:
    draws = np.random.default_rng(0)
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(BUNDLED, Path(temporary) / "model"))
        paths = sorted(path for path in folder.iterdir() if path.name != CARD)
        for _ in tqdm(range(flips), unit="flip"):
            path = paths[draws.integers(len(paths))]
            place, bit = int(draws.integers(path.stat().st_size)), int(draws.integers(8))
            flip(path, place, bit)
            try:
                read_model_folder(folder)
                counts[f"{path.name}: LOADED"] += 1
            except SkinxaiError as error:
                counts[f"{path.name}: {type(error).__name__}"] += 1
            flip(path, place, bit)
        read_model_folder(folder)  # whole again: each flip was taken back
    found = {"flips": flips, "loaded": sum(n for k, n in counts.items() if "LOADED" in k),
             "ended": dict(sorted(counts.items()))}  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flips", type=int, default=20_000)
    main(parser.parse_args().flips)
