"""What does the bundled model lean on besides the lesion?

Images of the validation part of HAM10000 are changed in every way of the catalogue. Writes
``stress.json`` and ``stress.md`` here and the picture into the docs::

    python benchmarks/stress.py HAM10000_FOLDER [--lesions 42] [--maps 14] [--backend openvino]
"""

import argparse
import json
import sys
from pathlib import Path

from skinxai import Classifier
from skinxai.benchmarking import stress_sheet, stress_test

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "training"))

from frozen_split import frozen_split, without_copies  # noqa: E402

RESULTS, PICTURE = ROOT / "benchmarks/results", ROOT / "docs/images/stress.jpg"
MASKS = "HAM10000_segmentations_lesion_tschandl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--lesions", type=int, default=42)
    parser.add_argument("--maps", type=int, default=14)
    parser.add_argument("--model")
    parser.add_argument("--backend", default="torch")
    given = parser.parse_args()
    val = without_copies(frozen_split(given.data).val)
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
