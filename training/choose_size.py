"""Choose the input size at which a run's model answers, on the validation part alone.

python training/choose_size.py HAM10000_FOLDER RUN_FOLDER 224x304 256x344 288x384
"""

import sys
from pathlib import Path

import numpy as np
from open_test import resized

from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.data import Splits, load_ham10000

HERE = Path(__file__).parent


def main(root: Path, run: Path, *sizes: str) -> None:
    sha256 = (HERE / "splits.sha256").read_text().strip()
    val = Splits.from_csv(HERE / "splits.csv", load_ham10000(root), sha256=sha256).val
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
