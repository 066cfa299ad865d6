"""Do probabilities depend on the size of the file? 600 × 450 against 320 × 240 of the same images.

Usage: python benchmarks/resolutions.py HAM10000_FOLDER SAMPLES_600x450 [MODEL_FOLDER]

Seventy images, ten a class. Users' pictures are large, the images that the model was trained on are
small copies: the same picture must get the same answer. Writes results/resolutions.json.
"""

import json
import sys
from pathlib import Path

import numpy as np

from skinxai import Classifier
from skinxai.data import load_ham10000

RESULTS = Path(__file__).parent / "results" / "resolutions.json"


def main(root: Path, samples: Path, model: Path | None = None) -> None:
    classifier = Classifier.from_pretrained(model)
    small_of = {item.image_id: item.path for item in load_ham10000(root)}
    large = sorted(path for path in samples.iterdir() if path.stem in small_of)
    rows = [
        [[p.probabilities[code] for code in classifier.labels] for p in classifier.predict(paths)]
        for paths in (large, [small_of[path.stem] for path in large])
    ]
    ours, theirs = map(np.asarray, rows)
    found = {
        "model": classifier.model,
        "images": len(large),
        "same top label": int((ours.argmax(1) == theirs.argmax(1)).sum()),
        "mean absolute difference of a probability": round(float(abs(ours - theirs).mean()), 5),
        "largest difference of a probability": round(float(abs(ours - theirs).max()), 5),
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
