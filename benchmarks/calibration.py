"""What calibration does to the bundled model's probabilities, on lesions that it was not fitted on.

The validation lesions of HAM10000 are split in halves 200 times. One half calibrates as
``Classifier.calibrate`` does, and the other is judged: expected calibration error, Brier score, and
the sensitivity and specificity of the operating points. As many images have an expected calibration
error by chance alone: that of diagnoses which are drawn from the calibrated probabilities stands
beside it. The test part is not read::

    python benchmarks/calibration.py HAM10000_FOLDER --out benchmarks/results/calibration.json

``--keep FOLDER`` keeps the probabilities, so that a second run does not predict again.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from conformal import frozen_split, predicted, without_copies

from skinxai import Classifier
from skinxai.assessment.calibration_errors import expected_calibration_error
from skinxai.assessment.metrics import brier_score
from skinxai.trust.operating_points import MalignancyScores
from skinxai.trust.scaling import METHODS, Scaling


def judged(rows, target, malignant, lesions, kinds, own, method, draws) -> dict[str, float]:
    """Figures of the images outside ``own``, which calibrates."""
    scaling, new = Scaling.fit(rows[own], target[own], method), ~own
    made = scaling(rows)
    ends = made[new].cumsum(axis=1)
    drawn = (draws.random((len(ends), 1)) * ends[:, -1:] >= ends).sum(axis=1)
    scores = made[:, kinds].sum(axis=1).clip(max=1)
    points = MalignancyScores(scores[own], malignant[own], lesions[own].tolist())
    found = {
        "expected calibration error, before": expected_calibration_error(target[new], rows[new]),
        "expected calibration error": expected_calibration_error(target[new], made[new]),
        "expected calibration error by chance": expected_calibration_error(drawn, made[new]),
        "Brier score, before": brier_score(target[new], rows[new]),
        "Brier score": brier_score(target[new], made[new]),
        "accuracy, before": float((rows[new].argmax(axis=1) == target[new]).mean()),
        "accuracy": float((made[new].argmax(axis=1) == target[new]).mean()),
    }
    for point in (points.screening(), points.balanced()):
        referred = scores[new] >= point.threshold
        found[f"{point.name}: sensitivity"] = float(referred[malignant[new]].mean())
        found[f"{point.name}: specificity"] = float((~referred[~malignant[new]]).mean())
    return found


def main(root: Path, out: Path, count: int, keep: Path | None) -> None:
    part = without_copies(frozen_split(root).val)
    classifier = Classifier.from_pretrained()
    rows, target = predicted(classifier, part, keep, "val"), np.array(part.targets())
    lesions = np.array([item.lesion_id for item in part])
    kinds = [part.labels.position(code) for code in part.labels if code in part.labels.malignant]
    malignant, names = np.isin(target, kinds), np.unique(lesions)
    result = {"model": classifier.model, "images": len(part), "lesions": len(names)}
    for method in METHODS:
        splits = []
        for split in range(count):
            draws = np.random.default_rng(split)
            half = draws.permutation(names)[: len(names) // 2]
            own = np.isin(lesions, half)
            splits.append(judged(rows, target, malignant, lesions, kinds, own, method, draws))
        result[method] = {
            name: {
                "mean": round(float(np.mean([each[name] for each in splits])), 4),
                "deviation": round(float(np.std([each[name] for each in splits])), 4),
            }
            for name in splits[0]
        }
        for name, row in result[method].items():
            print(f"{method:12} {name:36} {row['mean']:.3f} ± {row['deviation']:.3f}")
    out.write_text(json.dumps(result | {"splits": count}, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    main(asked.root, asked.out, asked.count, asked.keep)
