"""How often the intervals of an evaluation cover the true value where classes have few lesions.

Three classes in a simulation: nevi, melanomas and dermatofibromas. In the larger sets, lesions have
one to three images. The true values come from 120,000 lesions with the same shares of classes::

    python benchmarks/small_classes.py --out benchmarks/results/small_classes.json
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from skinxai.assessment.figure_rows import FigureRows
from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.labels import LabelSet

LABELS = LabelSet(("nv", "mel", "df"), malignant=("mel",))
SETS = {"60, 11, 3": ((60, 11, 3), 1), "150, 60, 40": ((150, 60, 40), 3)}
"""Lesions of each class, and the most images of one."""
SHOWN = {
    ("accuracy", ""): "accuracy",
    ("balanced accuracy", ""): "balanced accuracy",
    ("macro-F1", ""): "macro-F1",
    ("Brier score", ""): "Brier score",
    ("recall", "mel"): "recall of melanoma",
    ("precision", "mel"): "precision of melanoma",
    ("AUC", "mel"): "AUC of melanoma",
    ("malignant partial AUC", ""): "partial AUC of melanoma",
    ("ROC point", "specificity 0.90"): "sensitivity at a specificity of 0.90",
    ("ROC point", "sensitivity 0.95"): "specificity at a sensitivity of 0.95",
    ("net benefit", "0.10"): "net benefit at 0.10",
}
RESAMPLES = 300


def drawn(draws: np.random.Generator, lesions: tuple[int, ...], most: int):
    """True classes, probabilities, and the lesion of each image."""
    classes = np.repeat(range(3), lesions)
    member = np.repeat(np.arange(len(classes)), draws.integers(1, most + 1, len(classes)))
    scores = 0.8 * draws.normal(size=(len(classes), 3))[member]
    scores += 0.6 * draws.normal(size=scores.shape) + 2 * np.eye(3)[classes[member]]
    powers = np.exp(scores)
    return classes[member], powers / powers.sum(1, keepdims=True), member.astype(str).tolist()


def covered(lesions: tuple[int, ...], most: int, count: int) -> dict[str, float]:
    """Share of repetitions whose interval covers the true value, of those that have one."""
    many = tuple(120_000 * own // sum(lesions) for own in lesions)
    target, rows, _ = drawn(np.random.default_rng(10**6), many, most)
    everything = FigureRows(target, rows, LABELS)
    exact = dict(zip(everything.names, everything(np.arange(len(target))), strict=True))
    hits = defaultdict(list)
    for seed in range(count):
        target, rows, names = drawn(np.random.default_rng(seed), lesions, most)
        figures = FigureRows(target, rows, LABELS)
        ends = clustered_bootstrap(figures, names, resamples=RESAMPLES, seed=seed)
        values = np.stack([figures(np.arange(len(target))), *ends], axis=1).tolist()
        for key, own in zip(figures.names, values, strict=True):
            found = figures.figure(key, own, names)
            if key in SHOWN and not np.isnan(found.low):
                hits[SHOWN[key]].append(found.low <= exact[key] <= found.high)
    return {name: float(np.mean(hits[name])) for name in SHOWN.values()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found = {name: covered(*own, asked.count) for name, own in SETS.items()}
    for name in SHOWN.values():
        print(f"| {name} | {' | '.join(f'{own[name]:.3f}' for own in found.values())} |")
    if asked.out is not None:
        values = {"repetitions": asked.count, "covered": found}
        asked.out.write_text(json.dumps(values, indent=2) + "\n")


if __name__ == "__main__":
    main()
