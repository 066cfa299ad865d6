"""How many changed copies of training images the guard finds, how often it is wrong, its cost.

All copies are then asked at once by the trees that choose the pairs where there are very many.

Copies are made of images of the training part, as many of each kind; nothing is read from their
files' names or labels. ISIC_….webp in tar files are other encodings of the same photographs, at
448 × 336 instead of 320 × 240, and one more kind of copy. The test images are asked as they are: of
those that are found, look which show a training lesion::

    python benchmarks/training_copies.py HAM10000_FOLDER WEBP_TAR...

Writes results/training_copies.json.
"""

import json
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np

from skinxai import Classifier, read_image
from skinxai.data import Records, Splits, load_ham10000
from skinxai.model_folders import copies as copies_of
from skinxai.model_folders.fingerprints import SAME_IMAGE, Fingerprints, image_fingerprint

ROOT = Path(__file__).parent
ALL, SEED = 2000, 7


def jpeg(pixels: np.ndarray, draws: np.random.Generator, quality: int | None = None) -> np.ndarray:
    chosen = int(draws.integers(60, 96)) if quality is None else quality
    options = [cv2.IMWRITE_JPEG_QUALITY, chosen]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), options)
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def resized(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    scale = draws.uniform(0.4, 2)
    size = (round(scale * pixels.shape[1]), round(scale * pixels.shape[0]))
    return cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_CUBIC)


def turned(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    number = int(draws.integers(1, 8))
    return np.rot90(pixels[:, ::-1] if number >= 4 else pixels, number % 4)


def cropped(pixels: np.ndarray, draws: np.random.Generator, area: float = 0) -> np.ndarray:
    side = (area or draws.uniform(0.7, 0.95)) ** 0.5
    tall, wide = (round(side * length) for length in pixels.shape[:2])
    top = draws.integers(0, pixels.shape[0] - tall + 1)
    left = draws.integers(0, pixels.shape[1] - wide + 1)
    return pixels[top : top + tall, left : left + wide]


def brightened(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    values = (pixels / 255) ** draws.uniform(0.75, 1.35)
    values = (values - 0.5) * draws.uniform(0.75, 1.25) + 0.5 + draws.uniform(-0.12, 0.12)
    return (255 * (values * draws.uniform(0.9, 1.1, 3)).clip(0, 1)).astype(np.uint8)


def rotated(pixels: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    """By up to 10 degrees; what is left is the largest part without an empty corner."""
    height, width = pixels.shape[:2]
    angle = draws.uniform(-10, 10)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
    whole = cv2.warpAffine(np.ascontiguousarray(pixels), matrix, (width, height))
    sine, cosine = abs(np.sin(np.radians(angle))), np.cos(np.radians(angle))
    side = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    top, left = (int((1 - side) / 2 * length) + 1 for length in (height, width))
    return whole[top : height - top, left : width - left]


KINDS = {
    "re-encoded, quality 95": lambda p, d: jpeg(p, d, 95),
    "re-encoded, quality 60": lambda p, d: jpeg(p, d, 60),
    "resized to 0.4-2 times": lambda p, d: jpeg(resized(p, d), d),
    "squeezed to 224 x 224": lambda p, d: jpeg(cv2.resize(p, (224, 224)), d),
    "turned or flipped": lambda p, d: jpeg(turned(p, d), d),
    "brightness, contrast, colours": lambda p, d: jpeg(brightened(p, d), d),
    "cropped to 70-95 %": lambda p, d: jpeg(cropped(p, d), d),
    "cropped to 70 %": lambda p, d: jpeg(cropped(p, d, 0.7), d),
    "rotated by up to 10 degrees": lambda p, d: jpeg(rotated(p, d), d),
    "cropped, turned, resized, brightness": lambda p, d: jpeg(
        brightened(resized(turned(cropped(p, d), d), d), d), d
    ),
}


def photographs(archives: Iterable[Path]) -> dict[str, bytes]:
    """Image id → content of its file."""
    found = {}
    for path in archives:
        with tarfile.open(path) as archive:
            found |= {
                Path(member.name).stem: archive.extractfile(member).read()
                for member in archive.getmembers()
            }
    return found


def decoded(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(pixels[..., ::-1])


def cost(classifier: Classifier, records: Records) -> dict[str, float]:
    """Processor seconds of `evaluate`, and of what the fingerprints take of them."""
    spent = []

    def counted(function: Callable[..., object], clock: Callable[[], float]) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            start = clock()
            try:
                return function(*args, **kwargs)
            finally:
                spent.append(clock() - start)

        return call

    made = counted(image_fingerprint, time.thread_time)  # by the threads that read the images
    compared = counted(Fingerprints.similarities, time.process_time)  # after them, by its own
    start = time.process_time()
    with (
        patch("skinxai.model_folders.trained_on.image_fingerprint", made),
        patch.object(Fingerprints, "similarities", compared),
    ):
        classifier.evaluate(records, progress=False)
    return {"evaluate": time.process_time() - start, "fingerprints": sum(spent)}


def main(root: Path, *archives: Path) -> None:
    sha256 = (ROOT.parent / "training/splits.sha256").read_text().strip()
    splits = Splits.from_csv(
        ROOT.parent / "training/splits.csv", load_ham10000(root), sha256=sha256
    )
    classifier = Classifier.from_pretrained()
    known = classifier.trained_on.fingerprints
    draws = np.random.default_rng(SEED)
    prints: dict[str, list[bytes]] = {}
    copies = ALL // (len(KINDS) + bool(archives))
    if archives:
        files = photographs(archives)
        ids = [splits.train[int(at)].image_id for at in draws.permutation(len(splits.train))]
        ids = ids[: ALL - copies * len(KINDS)]
        prints["WebP, 448 x 336"] = [image_fingerprint(decoded(files[name])) for name in ids]
    for kind, change in KINDS.items():
        chosen = draws.permutation(len(splits.train))[:copies]
        images = (read_image(splits.train[int(place)].path).pixels for place in chosen)
        prints[kind] = [image_fingerprint(np.ascontiguousarray(change(p, draws))) for p in images]
    others = {
        part: [image_fingerprint(read_image(item.path).pixels) for item in getattr(splits, part)]
        for part in ("val", "test")
    }
    found = {}
    for kind, asked in prints.items():
        found[kind] = {"copies": len(asked), "found": sum(known.copies(asked))}
    alike = {part: known.similarities(asked) for part, asked in others.items()}
    with patch.object(copies_of, "ALL_PAIRS", 0):
        by_trees = iter(known.copies([each for asked in prints.values() for each in asked]))
        for kind, asked in prints.items():
            found[kind]["found by trees"] = sum(next(by_trees) for _ in asked)
        alike_by_trees = {part: known.similarities(asked) for part, asked in others.items()}
    each = {
        part: {
            "images": len(others[part]),
            "most similar": {
                getattr(splits, part)[int(place)].image_id: round(float(alike[part][place]), 3)
                for place in np.argsort(-alike[part])[:8]
            },
            "other answers by trees": int(
                ((alike[part] >= SAME_IMAGE) != (alike_by_trees[part] >= SAME_IMAGE)).sum()
            ),
        }
        for part in others
    }
    seconds = cost(classifier, splits.test)
    result = {
        "training images": len(known),
        "bytes": len(known.rows),
        "kinds": found,
        "copies": sum(kind["copies"] for kind in found.values()),
        "found": sum(kind["found"] for kind in found.values()),
        "found by trees": sum(kind["found by trees"] for kind in found.values()),
        "images that are no copies": each,
        "processor seconds of the test part": seconds,
        "share of the fingerprints": seconds["fingerprints"] / seconds["evaluate"],
    }
    (ROOT / "results/training_copies.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main(*(Path(each) for each in sys.argv[1:]))
