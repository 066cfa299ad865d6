"""What a calibrated model's gates, and uncertainty by dropout, cost beside a prediction::

    python benchmarks/trust_speed.py FOLDER_OF_IMAGES

Each round predicts the same images without calibration, with it, and with twenty passes of dropout;
the ratios are of the fastest rounds. Run it on a quiet machine. Writes results/trust_speed.json.
"""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from skinxai import Classifier
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.predictor import Predictor
from skinxai.predicting.streaming import predictions

ROUNDS, IMAGES, PASSES = 7, 64, 20


def main(folder: Path) -> None:
    paths = sorted(folder.rglob("*.jpg"))[:IMAGES]
    found: dict[str, object] = {"images": len(paths), "cores": os.cpu_count()}
    for backend in ("torch", "onnx", "openvino"):
        model = Classifier.from_pretrained(backend=backend)
        calibrated = model._in_use.predictor
        calls = {
            "not calibrated": partial(predict, calibrated.uncalibrated, paths),
            "calibrated": partial(predict, calibrated, paths),
        }
        if backend == "torch":
            calls["dropout"] = partial(model.predict, paths, dropout_passes=PASSES, progress=False)
        fastest = dict.fromkeys(calls, float("inf"))
        for _ in range(ROUNDS):
            for name, call in calls.items():
                started = time.perf_counter()
                call()
                fastest[name] = min(fastest[name], time.perf_counter() - started)
        base = fastest["not calibrated"]
        found[backend] = {
            "milliseconds an image": round(1000 * base / len(paths), 2),
            **{name: round(seconds / base, 3) for name, seconds in fastest.items()},
        }
        print(backend, found[backend])
    out = Path(__file__).parent / "results/trust_speed.json"
    out.write_text(json.dumps(found, indent=1) + "\n")


def predict(predictor: Predictor, paths: list[Path]) -> None:
    for _ in predictions(predictor, paths, InputOptions(progress=False)):
        pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
