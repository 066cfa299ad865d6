"""Do probabilities depend on the size of the file? 600 × 450 against 320 × 240 of the same images.

Usage: python benchmarks/resolutions.py HAM10000_FOLDER SAMPLES_600x450 [MODEL_FOLDER]

Seventy images, ten a class. Users' pictures are large, the images that the model was trained on are
small copies: the same picture must get the same answer. Writes results/resolutions.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from skinxai import Classifier
from skinxai.data import load_ham10000

RESULTS = Path(__file__).parent / "results" / "resolutions.json"


def same_answers(classifier: Classifier, samples: Path, root: Path) -> dict[str, Any]:
    """Compare the answers to the images of a folder with those to their copies in HAM10000.

    Args:
        classifier: any model.
        samples: folder of images with their names in HAM10000.
        root: HAM10000, at another size.
    """
    small_of = {item.image_id: item.path for item in load_ham10000(root)}
    paths = sorted(path for path in samples.iterdir() if path.stem in small_of)
    if not paths:
        raise SystemExit(f"{samples} must hold images of {root}, and holds none")
    found = [classifier.predict(some, progress=False)
             for some in (paths, [small_of[path.stem] for path in paths])]  # fmt: skip
    ours, theirs = (
        np.asarray([[p.probabilities[code] for code in classifier.labels] for p in each])
        for each in found
    )
    return {
        "images": len(paths),
        "same top label": int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum()),
        "mean absolute difference of a probability": round(float(abs(ours - theirs).mean()), 5),
        "largest difference of a probability": round(float(abs(ours - theirs).max()), 5),
    }


def main(root: Path, samples: Path, model: Path | None = None) -> None:
    classifier = Classifier.from_pretrained(model)
    found = {"model": classifier.model} | same_answers(classifier, samples, root)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
