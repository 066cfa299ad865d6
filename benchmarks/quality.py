"""Which damages does the bundled model's quality gate find, and how many good images does it flag?

Its limits were fitted on the validation images of HAM10000. 200 images of the training part, one of
each lesion, are damaged in every way below; all images of the training part, as they are, show how
often good images are flagged. No network takes part::

    python benchmarks/quality.py HAM10000_FOLDER [--count 200] [--out FILE]
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from skinxai import Classifier, read_image
from skinxai.artefacts.photographing import jpeg
from skinxai.trust.quality import MEASURES, QualityLimits, measure

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "training"))

from frozen_split import frozen_split, without_copies  # noqa: E402


def blurred(sigma):
    return lambda p, draws: np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(sigma)))


def scaled(*factors):
    return lambda p, draws: np.clip(p * np.array(factors), 0, 255).astype(np.uint8)


def vignetted(p, draws):
    down, across = np.mgrid[-1 : 1 : p.shape[0] * 1j, -1 : 1 : p.shape[1] * 1j]
    return (p * np.exp(-1.5 * (down**2 + across**2))[..., None]).astype(np.uint8)


def in_circle(p, draws):
    height, width = p.shape[:2]
    down, across = np.ogrid[:height, :width]
    away = np.hypot(down - (height - 1) / 2, across - (width - 1) / 2)
    return p * (away < height / 2)[..., None].astype(np.uint8)


def framed(level):
    def damage(p, draws):
        found, rows, columns = p.copy(), p.shape[0] // 10, p.shape[1] // 10
        found[:rows] = found[-rows:] = found[:, :columns] = found[:, -columns:] = level
        return found

    return damage


def resized(*sizes):
    def damage(p, draws):
        image = Image.fromarray(p)
        for size in sizes:
            image = image.resize(size or (p.shape[1], p.shape[0]), Image.Resampling.BICUBIC)
        return np.asarray(image)

    return damage


def noisy(p, draws):
    return np.clip(p + draws.normal(0, 20, p.shape), 0, 255).astype(np.uint8)


def nothing_but_noise(p, draws):
    return draws.integers(0, 256, p.shape, np.uint8)


def one_colour(p, draws):
    return np.full_like(p, np.median(p, axis=(0, 1)))


def corner(p):
    return p[: p.shape[0] // 4, : p.shape[1] // 4]


def corner_enlarged(p, draws):
    size = p.shape[1::-1]
    return np.asarray(Image.fromarray(corner(p)).resize(size, Image.Resampling.BICUBIC))


def corner_repeated(p, draws):
    part = corner(p)
    pair = np.concatenate([part, part[:, ::-1]], axis=1)
    tile = np.concatenate([pair, pair[::-1]])
    return np.tile(tile, (2, 2, 1))


def stored(p, draws):
    return jpeg(p, None, draws, quality=5).pixels


SMALL = (40, 30)
DAMAGES = {
    "none": (lambda p, draws: p, None),
    "Gaussian blur, σ 2 pixels": (blurred(2), "blurred"),
    "Gaussian blur, σ 4 pixels": (blurred(4), "blurred"),
    "Gaussian blur, σ 8 pixels": (blurred(8), "blurred"),
    "brightness × 0.25": (scaled(0.25, 0.25, 0.25), "too_dark"),
    "brightness × 2.5": (scaled(2.5, 2.5, 2.5), "overexposed"),
    "smooth, heavy vignette": (vignetted, "border"),
    "round black mask": (in_circle, "border"),
    "black frame": (framed(0), "border"),
    "white frame": (framed(255), "border"),
    "blue cast": (scaled(0.6, 0.8, 1.2), "colour_cast"),
    "green cast": (scaled(0.6, 1.1, 0.7), "colour_cast"),
    "yellow cast": (scaled(1.1, 1.0, 0.4), "colour_cast"),
    "scaled down to 40 × 30 pixels": (resized(SMALL), "too_small"),
    "scaled down to 40 × 30 pixels and up again": (resized(SMALL, None), "blurred"),
    "white noise of 20 levels added": (noisy, "noisy"),
    "nothing but noise": (nothing_but_noise, "noisy"),
    "a single colour": (one_colour, "uniform"),
    "a corner of the image, enlarged four times": (corner_enlarged, "no_lesion"),
    "a corner of the image, mirrored and repeated": (corner_repeated, "no_lesion"),
    "JPEG of quality 5": (stored, None),
}


def flagged(limits: QualityLimits, part) -> dict:
    """Shares in percent of the images with a flag, and with each flag."""
    raised = [limits.flags(measure(read_image(item.path).pixels)) for item in part]
    counts = Counter(flag for flags in raised for flag in flags)
    shares = {flag: round(100 * counts[flag] / len(raised), 2) for flag in MEASURES}
    anything = round(100 * sum(map(bool, raised)) / len(raised), 2)
    return {"images": len(raised), "any flag": anything, **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/quality.json")
    given = parser.parse_args()
    splits = frozen_split(given.data)
    classifier = Classifier.from_pretrained()
    limits = classifier.calibration.quality
    first = {item.lesion_id: item for item in reversed(splits.train)}
    order = np.random.default_rng(0).permutation(sorted(first))[: given.count]
    images = [read_image(first[lesion].path).pixels for lesion in order]
    rows = {}
    print("| damage | images with any flag | with the flag of this damage |\n| --- | --- | --- |")
    for name, (damage, flag) in DAMAGES.items():
        raised = [
            limits.flags(measure(damage(pixels, np.random.default_rng(number))))
            for number, pixels in enumerate(images)
        ]
        rows[name] = {"any flag": round(100 * float(np.mean([bool(f) for f in raised])), 1)}
        shown = ""
        if flag is not None:
            share = round(100 * float(np.mean([flag in f for f in raised])), 1)
            rows[name][flag], shown = share, f"`{flag}`: {share}%"
        print(f"| {name} | {rows[name]['any flag']}% | {shown} |")
    results = {
        "model": classifier.model,
        "limits": limits.to_dict(),
        "damaged images": len(images),
        "damages, percent": rows,
        "good images, percent": {
            "val, which the limits were fitted on": flagged(limits, without_copies(splits.val)),
            "train": flagged(limits, splits.train),
        },
    }
    text = json.dumps(results, indent=2, ensure_ascii=False)
    given.out.write_text(text + "\n")
    print(json.dumps(results["good images, percent"], indent=2))


if __name__ == "__main__":
    main()
