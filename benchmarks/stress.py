"""What does the bundled model lean on besides the lesion?

The validation lesions of HAM10000 are split in halves: lesions of one half calibrate the model, so
that it has decisions, images of the other are changed in every way of the catalogue. Writes
``stress.json`` and ``stress.md`` here and the picture into the docs::

    python benchmarks/stress.py HAM10000_FOLDER [--lesions 120] [--model FOLDER --backend openvino]
"""

import argparse
import json
from pathlib import Path

import numpy as np

from skinxai import Classifier
from skinxai.benchmarking import stress_sheet, stress_test
from skinxai.data import Splits, load_ham10000

ROOT = Path(__file__).parent.parent
RESULTS, PICTURE = ROOT / "benchmarks/results", ROOT / "docs/images/stress.jpg"
COPIES = {"ISIC_0024408", "ISIC_0027559", "ISIC_0027932"}  # show lesions of the training part
MASKS = "HAM10000_segmentations_lesion_tschandl"


def halves(records):
    """The records in two halves that share no lesion."""
    part = [item for item in records if item.image_id not in COPIES]
    lesions = np.random.default_rng(0).permutation(sorted({item.lesion_id for item in part}))
    first = set(lesions[: len(lesions) // 2])
    return [
        records.subset([i.image_id for i in part if (i.lesion_id in first) == one], part="val")
        for one in (True, False)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lesions", type=int, default=120)
    parser.add_argument("--calibrated", type=int, default=300, help="images")
    parser.add_argument("--model")
    parser.add_argument("--backend", default="torch")
    given = parser.parse_args()
    val = Splits.from_csv(ROOT / "training/splits.csv", load_ham10000(given.data)).val
    calibrating, stressed = halves(val)
    classifier = Classifier.from_pretrained(given.model, backend=given.backend)
    order = np.random.default_rng(1).permutation([item.image_id for item in calibrating])
    some = calibrating.subset(sorted(order[: given.calibrated]), part="val")
    classifier = classifier.calibrate(some, progress=True)
    masks = given.data / MASKS
    found = stress_test(classifier, stressed, masks, lesions=given.lesions, progress=True)
    values = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
    (RESULTS / "stress.json").write_text(values + "\n")
    (RESULTS / "stress.md").write_text(found.to_markdown())
    stress_sheet(classifier, stressed, masks).save(PICTURE, quality=88)
    print(found.to_markdown())


if __name__ == "__main__":
    main()
