"""What eight bits cost the bundled model, on the validation part of HAM10000.

Usage: python benchmarks/int8.py HAM10000_FOLDER

Calibrated on 128 images of the training part, each of another lesion. Writes results/int8.json.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from skinxai import Classifier
from skinxai.explaining.by_example import first_of_each_lesion
from skinxai.exporting.eight_bits import export_int8

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "training"))

from frozen_split import frozen_split, without_copies  # noqa: E402


def main(root: Path) -> None:
    splits = frozen_split(root)
    judge = without_copies(splits.val)
    lesions = [item.path for item in first_of_each_lesion(splits.train)]
    classifier = Classifier.from_pretrained()
    report: dict[str, object] = {"model": classifier.model, "judged on": "the validation part"}
    path = HERE / "results" / "int8.onnx"
    for backend in ("onnx", "openvino"):
        found = export_int8(
            classifier, path, calibrate=lesions[:: len(lesions) // 128][:128], judge=judge,
            backend=backend,
        )  # fmt: skip
        report[backend] = asdict(found) | {"bytes": path.stat().st_size}
        path.unlink()
    text = json.dumps(report, indent=2)
    (HERE / "results/int8.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
