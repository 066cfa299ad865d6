"""Put an ensemble together and choose its weights on the validation part; the test is not read.

    python training/build_ensemble.py HAM10000_FOLDER OUTPUT_FOLDER MODEL_FOLDER MODEL_FOLDER ...

Weights are multiples of 1/10, those with the best validation macro-F1 of the averaged
probabilities; ties go to the most even ones.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
from frozen_split import frozen_split

from skinxai import Classifier
from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.model_folders.ensembles import write_ensemble

NAME = "skinxai-ham10000-ensemble"


def main(root: Path, output: Path, *folders: Path) -> None:
    val = frozen_split(root).val
    target, paths = np.asarray(val.targets()), [item.path for item in val]
    members = []
    for folder in folders:
        classifier = Classifier.from_pretrained(folder)
        found = classifier.predict(paths, progress=True)
        members.append([[p.probabilities[code] for code in val.labels] for p in found])
        print(classifier.model, figures(target, np.asarray(members[-1])))
    choices = [
        tenths
        for tenths in itertools.product(range(1, 11), repeat=len(folders))
        if sum(tenths) == 10
    ]
    stacked = np.asarray(members)

    def quality(tenths: tuple[int, ...]) -> tuple[float, int]:
        mean = np.tensordot(np.asarray(tenths) / 10, stacked, 1)
        return figures(target, mean)[2], -max(tenths)

    best = max(choices, key=quality)
    print("weights", best, figures(target, np.tensordot(np.asarray(best) / 10, stacked, 1)))
    weights = [tenth / 10 for tenth in best]
    card = (
        f"# {NAME}\n\nThe weighted mean of {len(folders)} models' probabilities: "
        + ", ".join(f"`{f.name}` {w:.1f}" for f, w in zip(folders, weights, strict=True))
        + ". The weights were chosen on the validation part.\n\nA research tool, not a medical "
        "device. Licence of the weights: CC BY-NC 4.0, as the training data (HAM10000, ViDIR "
        "Group, Department of Dermatology, Medical University of Vienna).\n"
    )
    write_ensemble(output, folders, weights=weights, name=NAME, card=card)


def figures(target: np.ndarray, probabilities: np.ndarray) -> tuple[float, float, float]:
    found = metrics_of(
        confusion_matrix(target, probabilities.argmax(axis=1), probabilities.shape[1])
    )
    return found.accuracy, found.balanced_accuracy, found.macro_f1


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
