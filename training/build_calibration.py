"""Calibrate a model or an ensemble on the validation part, and say so on its card::

    python training/build_calibration.py HAM10000_FOLDER src/skinxai/bundled

A model with a graph is given a new one, which also has the embeddings that novelty needs. The test
part is not read; ``training/open_test.py`` opens it.
"""

import sys
from dataclasses import replace
from pathlib import Path

from frozen_split import frozen_split, without_copies

from skinxai import Classifier
from skinxai.data import Records
from skinxai.model_folders.files import read_model_folder
from skinxai.model_folders.parts import GRAPH

OUTPUT = "| output |"
ROWS = ("| calibration |", "| operating points |")
LIMIT = "* It answers for every picture, a cat included: nothing here detects a foreign image.\n"
NEW_LIMIT = """\
* It gives every picture probabilities, a cat included. Where a picture is unlike the validation
  images, it does not decide (`abstain`); it does not notice all such pictures.
"""


def calibrate(val: Records, folder: Path) -> None:
    """Calibrate the model or ensemble in a folder, and write it there again.

    Args:
        val: images that no network of the folder learnt from.
        folder: its card has the row `OUTPUT`.
    """
    classifier = Classifier.from_pretrained(folder, backend="torch")
    if GRAPH in read_model_folder(folder).files:
        classifier = classifier.with_graph()
    made = classifier.calibrate(val, progress=True)
    lines = [line for line in made.card.split("\n") if not line.startswith(ROWS)]
    place = next(n for n, line in enumerate(lines) if line.startswith(OUTPUT))
    lines[place : place + 1] = [
        f"{OUTPUT} one probability for each class, calibrated; a set of classes at any coverage; a "
        f"decision with its reasons |",
        *said(made),
    ]
    loaded = replace(made._loaded, card="\n".join(lines).replace(LIMIT, NEW_LIMIT))
    print(*lines[place : place + 3], loaded.save(str(folder)), sep="\n")


def said(model: Classifier) -> list[str]:
    """Rows of the card."""
    found = model.calibration
    assert found is not None
    points = "; ".join(
        f"`{point.name}` refers from a malignant probability of {point.threshold:.3f} on"
        for point in found.one_view.operating_points.values()
    )
    return [
        f"{ROWS[0]} temperature {found.one_view.scaling.temperature:.3f}, limits of quality and "
        f"novelty, {found.images} images of {found.lesions} lesions of the validation part |",
        f"{ROWS[1]} {points}; `{found.default}` is the default |",
    ]


if __name__ == "__main__":
    calibrate(without_copies(frozen_split(Path(sys.argv[1])).val), Path(sys.argv[2]))
