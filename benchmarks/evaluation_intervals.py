"""How often the intervals of an evaluation cover the true value, in a simulation.

Lesions of one to three images, seven classes, and a model whose probabilities are exactly right, or
too sure by a known temperature. Repeated with 400 images; the true values come from 400,000::

    python benchmarks/evaluation_intervals.py --out benchmarks/results/evaluation_intervals.json

"percentile" is the usual interval, for comparison. Last comes the calibration error that a model
which is exactly right has by chance, with few and with more images.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from skinxai.assessment.calibration_errors import (
    BINS,
    calibration_bins,
    classwise,
    equal_mass,
    equal_width,
)
from skinxai.assessment.gaps import gaps
from skinxai.assessment.intervals import clustered_share
from skinxai.assessment.paired import mcnemar
from skinxai.labels import LabelSet

SORTS = {
    "calibration error": equal_width,
    "calibration error, equal-mass bins": equal_mass,
    "calibration error, class-wise": classwise,
}
BIN = "accuracy in a bin of the reliability diagram"
CLASSES, IMAGES, RESAMPLES = 7, 400, 200
BY_CHANCE = (300, 1200)


def drawn(draws: np.random.Generator, images: int, temperature: float):
    """True classes, probabilities, and lesions."""
    sizes = draws.integers(1, 4, images // 2)
    member = np.repeat(np.arange(len(sizes)), sizes)
    scores = (2 * draws.normal(size=(len(sizes), CLASSES)))[member]
    exact = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    level = draws.random(len(sizes))[member]
    target = (exact.cumsum(1) < level[:, None]).sum(1).clip(max=CLASSES - 1)
    shown = exact ** (1 / temperature)
    return target, shown / shown.sum(1, keepdims=True), member.astype(str).tolist()


def simulated(count: int) -> dict[str, float]:
    """Share of repetitions whose interval covers the true value, by interval."""
    hits, tried = defaultdict(int), defaultdict(int)

    def note(name: str, low: float, exact: float, high: float) -> None:
        tried[name] += 1
        hits[name] += low <= exact <= high

    for temperature in (1.0, 1.15, 1.6):
        many = drawn(np.random.default_rng(10**6), 400_000, temperature)
        exact = {name: sort(*many[:2]).error for name, sort in SORTS.items()}
        _, right, place = calibration_bins(*many[:2])
        shares = np.bincount(place, right, BINS) / np.maximum(np.bincount(place, minlength=BINS), 1)
        for seed in range(count):
            target, rows, lesions = drawn(np.random.default_rng(seed), IMAGES, temperature)
            for name, sort in SORTS.items():
                binned = sort(target, rows)
                figure = binned.figure(lesions, resamples=RESAMPLES, seed=seed)
                label = f"{name}, temperature {temperature:g}"
                note(label, figure.low, exact[name], figure.high)
                plain = np.abs(binned.resampled(lesions, RESAMPLES, seed)[1]).sum(1)
                low, high = np.percentile(plain, [2.5, 97.5])
                note(f"{label}, percentile", low, exact[name], high)
            _, hit, own = calibration_bins(target, rows)
            for k in np.unique(own):
                among = own == k
                names = [lesions[n] for n in np.flatnonzero(among)]
                found = clustered_share(hit[among], names)
                note(
                    "accuracy in a bin of the reliability diagram", found.low, shares[k], found.high
                )
    labels = LabelSet(("mel", "nv"), {}, frozenset({"mel"}))
    groups = [{"localization": f"site {n // 2 % 5}"} for n in range(IMAGES)]
    lesions = [str(n // 2) for n in range(IMAGES)]
    for seed in range(count):
        draws = np.random.default_rng(seed)
        for exact_gap in (0.0, 0.3):
            rate = np.where(np.arange(IMAGES // 2) % 5 == 0, 0.85 - exact_gap, 0.85)
            right = np.repeat(draws.random(IMAGES // 2) < rate, 2).astype(int)
            gap = gaps(
                np.ones(IMAGES, int), right, lesions, groups, labels, resamples=RESAMPLES, seed=seed
            )[0].difference
            note(f"gap of {exact_gap:g} over five groups", gap.low, exact_gap, gap.high)
        pair = (np.repeat(draws.random(IMAGES // 2) < 0.8, 2) for _ in range(2))
        tried["equal models that McNemar's test calls different"] += 1
        hits["equal models that McNemar's test calls different"] += (
            mcnemar(*pair, lesions).p_value < 0.05
        )
    return {name: hits[name] / tried[name] for name in tried}


def by_chance(count: int) -> dict[str, float]:
    """Mean calibration error of a model that is exactly right, by the number of images."""
    found = {}
    for images in BY_CHANCE:
        errors = []
        for seed in range(count):
            target, rows, _ = drawn(np.random.default_rng(seed), images, 1.0)
            errors.append(equal_width(target, rows).error)
        found[str(images)] = float(np.mean(errors))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found, chance = simulated(asked.count), by_chance(asked.count)
    for name, share in found.items():
        print(f"| {name} | {share:.3f} |")
    for images, error in chance.items():
        print(f"| calibration error by chance, {images} images | {error:.3f} |")
    if asked.out is not None:
        values = {
            "repetitions": asked.count, "images": IMAGES, "covered": found,
            "calibration error by chance": chance,
        }  # fmt: skip
        asked.out.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
