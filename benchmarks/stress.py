"""What does the bundled model lean on besides the lesion?

Images of the validation part of HAM10000 are changed in every way of the catalogue. Writes
``stress.json`` and ``stress.md`` here and the picture into the docs::

    python benchmarks/stress.py HAM10000_FOLDER [--lesions 42] [--maps 14] [--backend openvino]
"""

import argparse
import json
from pathlib import Path

from skinxai import Classifier
from skinxai.benchmarking import stress_sheet, stress_test
from skinxai.data import Splits, load_ham10000

ROOT = Path(__file__).parent.parent
RESULTS, PICTURE = ROOT / "benchmarks/results", ROOT / "docs/images/stress.jpg"
COPIES = {"ISIC_0024408", "ISIC_0027559", "ISIC_0027932"}  # show lesions of the training part
MASKS = "HAM10000_segmentations_lesion_tschandl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lesions", type=int, default=42)
    parser.add_argument("--maps", type=int, default=14)
    parser.add_argument("--model")
    parser.add_argument("--backend", default="torch")
    given = parser.parse_args()
    val = Splits.from_csv(ROOT / "training/splits.csv", load_ham10000(given.data)).val
    val = val.subset([i.image_id for i in val if i.image_id not in COPIES], part="val")
    classifier = Classifier.from_pretrained(given.model, backend=given.backend)
    masks = given.data / MASKS
    found = stress_test(
        classifier, val, masks, lesions=given.lesions, maps=given.maps, progress=True
    )
    values = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
    (RESULTS / "stress.json").write_text(values + "\n")
    (RESULTS / "stress.md").write_text(found.to_markdown())
    stress_sheet(classifier, val, masks).save(PICTURE, quality=88)
    print(found.to_markdown())


if __name__ == "__main__":
    main()
