"""Choose the input size at which a run's model answers, on the validation part alone.

python training/choose_size.py HAM10000_FOLDER RUN_FOLDER 224x304 256x344 288x384
"""

import sys
from pathlib import Path

import numpy as np
from frozen_split import frozen_split
from open_test import resized

from skinxai.assessment.metrics import confusion_matrix, metrics_of


def main(root: Path, run: Path, *sizes: str) -> None:
    val = frozen_split(root).val
    for size in sizes:
        classifier = resized(run, size)
        found = classifier.predict([item.path for item in val], progress=True)
        guesses = np.asarray([classifier.labels.index(p.label) for p in found])
        metrics = metrics_of(confusion_matrix(val.targets(), guesses, len(val.labels)))
        print(
            f"{size}: accuracy {metrics.accuracy:.4f}, balanced accuracy "
            f"{metrics.balanced_accuracy:.4f}, macro-F1 {metrics.macro_f1:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]), *sys.argv[3:])
