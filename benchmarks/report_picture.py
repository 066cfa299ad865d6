"""The picture of an evaluation's page, docs/images/audit.png.

Usage: python benchmarks/report_picture.py HAM10000_FOLDER

The bundled model is calibrated again on the images of three quarters of the validation part's
lesions, with one more operating point, and judged on the others. It needs playwright and Chromium.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from skinxai import Classifier
from skinxai.data import folds
from skinxai.reporting import write_evaluation

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "training")]

from demo_server import chromium  # noqa: E402
from frozen_split import frozen_split, without_copies  # noqa: E402


def main(root: Path) -> None:
    fold = folds(without_copies(frozen_split(root).val), 4, 0)[0]
    rest, judged = (replace(part, part="val") for part in (fold.train, fold.val))
    bundled = Classifier.from_pretrained()
    found = bundled.calibrate(rest, sensitivity=0.9).evaluate(judged, against=bundled)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        write_evaluation(found, folder)
        page = browser.new_page(viewport={"width": 1160, "height": 1000})
        page.goto((Path(folder) / "evaluation.html").as_uri())
        page.screenshot(path=ROOT / "docs/images/audit.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
