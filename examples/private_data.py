"""Make a "private" data set to try fine-tuning on: own file names, ids, columns and classes.

Without HAM10000 it draws blobs, which any network learns in a minute and which mean nothing. With
it, images of the frozen test or training part are copied under new names, and the seven diagnoses
are merged into four::

    python examples/private_data.py private
    python examples/private_data.py private --ham10000 FOLDER --part test --images 300
"""

import argparse
import csv
import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from skinxai.data import Splits, load_ham10000

SPLITS = Path(__file__).parent.parent / "training/splits.csv"
MERGED = {
    "mel": "melanoma", "nv": "naevus", "bcc": "keratinocyte", "akiec": "keratinocyte",
    "bkl": "other", "df": "other", "vasc": "other",
}  # fmt: skip
DRAWN = {"melanoma": (60, 40, 40), "naevus": (130, 85, 60), "keratinocyte": (190, 90, 90),
         "other": (100, 60, 130)}  # fmt: skip


def draw(folder: Path, count: int, seed: int) -> list[tuple[str, str, str]]:
    """Images of blobs, two of each lesion; rows of file, lesion and class."""
    draws = random.Random(seed)
    rows = []
    for number in range(count):
        diagnosis = list(DRAWN)[number % len(DRAWN)]
        for view in "ab":
            noise = np.random.default_rng([seed, number, ord(view)])
            grain = noise.integers(-12, 13, (240, 320, 1))
            skin = (np.array((225, 180, 160)) + grain).astype(np.uint8)
            image = Image.fromarray(skin)
            x, y = draws.randint(110, 210), draws.randint(80, 160)
            width, height = draws.randint(40, 90), draws.randint(40, 70)
            shade = tuple(min(255, part + draws.randint(-15, 15)) for part in DRAWN[diagnosis])
            ImageDraw.Draw(image).ellipse((x - width, y - height, x + width, y + height), shade)
            name = f"foto_{number:04d}{view}.jpg"
            pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(2))) + relief(noise)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name, quality=92)
            rows.append((name, f"L{number:04d}", diagnosis))
    return rows


def relief(noise: np.random.Generator) -> np.ndarray:
    """Light and dark that no two images share, float ``(240, 320, 1)``."""
    found = np.zeros((240, 320))
    for cells in (6, 12, 24, 48):
        coarse = Image.fromarray(noise.normal(0, 9, (cells, cells)).astype(np.float32))
        found += np.asarray(coarse.resize((320, 240), Image.Resampling.BICUBIC))
    return found[..., None]


def copy(folder: Path, root: Path, part: str, count: int, seed: int) -> list[tuple[str, str, str]]:
    """Whole lesions of a part of HAM10000 under new names, the classes in turn."""
    records = getattr(Splits.from_csv(SPLITS, load_ham10000(root)), part)
    draws = random.Random(seed)
    lesions: dict[str, list] = {}
    for item in records:
        lesions.setdefault(item.lesion_id, []).append(item)
    waiting: dict[str, list[list]] = {code: [] for code in sorted(set(MERGED.values()))}
    for items in lesions.values():
        waiting[MERGED[items[0].label]].append(items)
    for some in waiting.values():
        draws.shuffle(some)
    rows: list[tuple[str, str, str]] = []
    while len(rows) < count and any(waiting.values()):
        for diagnosis, some in waiting.items():
            for item in some.pop() if some else ():
                name = f"foto_{len(rows):04d}.jpg"
                shutil.copyfile(item.path, folder / name)
                number = list(lesions).index(item.lesion_id)
                rows.append((name, f"L{number:04d}", diagnosis))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--ham10000", type=Path)
    parser.add_argument("--part", choices=("train", "test"), default="test")
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos = options.out / "fotos"
    if photos.exists():
        parser.error(f"{photos} exists already: go on with it, delete it or name another folder")
    photos.mkdir(parents=True)
    if options.ham10000 is None:
        rows = draw(photos, options.images // 2, options.seed)
    else:
        rows = copy(photos, options.ham10000, options.part, options.images, options.seed)
    with (options.out / "befunde.csv").open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, delimiter=";")
        writer.writerow(("datei", "laesion", "diagnose"))
        writer.writerows(rows)
    print(f"{len(rows)} images and {options.out / 'befunde.csv'}")


if __name__ == "__main__":
    main()
