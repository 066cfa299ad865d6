"""Put an ensemble together, choose its weights on the validation part, and calibrate it there::

    python training/build_ensemble.py HAM10000_FOLDER OUTPUT_FOLDER MODEL_FOLDER MODEL_FOLDER ...

Weights are multiples of 1/10, those with the least macro log loss of the averaged probabilities
after temperature scaling. Calibrations of the members do not count, as in every ensemble. The test
part is not read; ``training/open_test.py`` opens it.
"""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from build_calibration import OUTPUT, calibrate
from frozen_split import frozen_split, without_copies

from skinxai import Classifier, checkpoints
from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.model_folders.ensembles import write_ensemble
from skinxai.model_folders.files import read_model_folder
from skinxai.trust.scaling import Scaling

sys.path.insert(0, str(Path(__file__).parent / "recipe"))
from outcomes import macro_log_loss

NAME = "skinxai-ham10000-ensemble"
CARD = f"""\
# {NAME}

Classifies dermatoscopic images of skin lesions into seven diagnoses. **A research tool, not a
medical device:** do not use it for diagnosis.

| | |
| --- | --- |
| members | {{members}} |
{OUTPUT} one probability for each class, the weighted mean of the members', not calibrated |
| licence of the weights | CC BY-NC 4.0, as the training data: no commercial use |

The members learnt the training part of HAM10000 (Tschandl, Rosendahl & Kittler, Sci Data 5:180161,
2018; ViDIR Group, Department of Dermatology, Medical University of Vienna). Their weights were
chosen on the validation part, on which the ensemble is calibrated as well.

## Test

## Limits

* HAM10000 comes from two clinics (Vienna and Queensland), mostly from people with light skin, and
  has lesions that were worth a photograph: prevalence elsewhere is another.
* A heatmap shows where the score depends on the image, not whether the answer is right.
"""


def main(root: Path, output: Path, *folders: Path) -> None:
    val = without_copies(frozen_split(root).val)
    target, paths = np.asarray(val.targets()), [item.path for item in val]
    members = []
    for folder in folders:
        loaded = replace(checkpoints.load(read_model_folder(folder)), calibration=None)
        found = Classifier(loaded).predict(paths, progress=True)
        members.append([[p.probabilities[code] for code in val.labels] for p in found])
        print(folder, figures(target, np.asarray(members[-1])))
    stacked = np.asarray(members)  # (members, N, K)

    def loss(tenths: tuple[int, ...]) -> float:
        mean = np.tensordot(np.asarray(tenths) / 10, stacked, 1)
        return macro_log_loss(target, Scaling.fit(mean, target)(mean))

    each = itertools.product(range(1, 11), repeat=len(folders))
    best = min((tenths for tenths in each if sum(tenths) == 10), key=loss)
    print("weights", best, figures(target, np.tensordot(np.asarray(best) / 10, stacked, 1)))
    weights = [tenth / 10 for tenth in best]
    listed = ", ".join(f"`{f.name}` {w:.1f}" for f, w in zip(folders, weights, strict=True))
    write_ensemble(output, folders, weights=weights, name=NAME, card=CARD.format(members=listed))
    calibrate(val, output)


def figures(target: np.ndarray, probabilities: np.ndarray) -> tuple[float, float, float]:
    found = metrics_of(
        confusion_matrix(target, probabilities.argmax(axis=1), probabilities.shape[1])
    )
    return found.accuracy, found.balanced_accuracy, found.macro_f1


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
