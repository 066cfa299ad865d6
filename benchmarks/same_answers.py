"""Whether two versions of the package answer alike.

``python benchmarks/same_answers.py IMAGES --out before.json`` with the one, then
``python benchmarks/same_answers.py IMAGES --out after.json --against before.json`` with the other:
the probabilities of every image, with and without test-time augmentation, of an ensemble and of
each runtime that is installed, and every method's map of every image. Maps and scores must be the
same to the bit; of probabilities, which are float64, the largest difference is printed too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skinxai import Classifier, explainers
from skinxai.errors import ExplainError
from skinxai.results import Explanation, Prediction

BUDGET = 40
"""Network passes of the methods that have a budget: enough to run all of their code. The windows of
occlusion need 35 of them for the bundled model."""
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}


def digest(found: Explanation) -> str:
    """Of the bits of its maps and scores."""
    bits = [np.ascontiguousarray(values).tobytes() for values in found.maps.values()]
    return hashlib.sha256(b"".join([*bits, repr(dict(found.scores)).encode()])).hexdigest()


def options_of(method: str, budget: int) -> dict[str, Any]:
    """A small budget, for the methods that have one."""
    return {"budget": budget} if hasattr(explainers.get(method).options_type, "budget") else {}


def models(chosen: list[str] | None) -> dict[str, Classifier]:
    """The bundled model in each runtime, and an ensemble; or those of them that are chosen."""
    makers = {"torch": Classifier.from_pretrained}
    for name, package in RUNTIMES.items():
        if find_spec(package):
            makers[name] = partial(Classifier.from_pretrained, backend=name)
    makers["ensemble"] = partial(Classifier.from_pretrained, ["bundled", "bundled"])
    return {name: make() for name, make in makers.items() if chosen is None or name in chosen}


def probabilities(classifiers: dict[str, Classifier], images: list[Path]) -> dict[str, Any]:
    """Image, model and flips → the row."""
    return {
        f"{path.name} {name}{' tta' * tta}": list(each.probabilities.values())
        for name, model in classifiers.items()
        for tta in (False, True)
        for path, each in zip(images, model.predict(images, tta=tta, progress=False), strict=True)
        if isinstance(each, Prediction)
    }


def maps(
    classifiers: dict[str, Classifier], images: list[Path], methods: list[str], budget: int
) -> Any:
    """Image, model and method → a hash."""
    found: dict[str, str] = {}
    for name, model in classifiers.items():
        for method in methods if name == "torch" else ["gradcam"]:
            torch.manual_seed(0)
            try:
                made = model.explain(images, method, progress=False, **options_of(method, budget))
            except ExplainError as error:  # of transformers alone
                found[f"{name} {method}"] = str(error)
                continue
            for path, each in zip(images, made, strict=True):
                found[f"{path.name} {name} {method}"] = digest(each)
            print(name, method, flush=True)
    return found


def compare(found: dict[str, Any], before: dict[str, Any]) -> bool:
    """Print what differs; whether nothing does, in maps to the bit and in rows as float32."""
    rows, old = found["probabilities"], before["probabilities"]
    differing = [key for key in rows.keys() | old.keys() if rows.get(key) != old.get(key)]
    largest = max((float(np.abs(np.subtract(rows[k], old[k])).max()) for k in differing), default=0)
    narrow = sum(np.array_equal(np.float32(rows[k]), np.float32(old[k])) for k in rows)
    print(f"probabilities: {len(rows) - len(differing)} of {len(rows)} rows the same to the bit,")
    print(f"  {narrow} as float32; the largest difference is {largest:.1e}")
    every = found["maps"].keys() | before["maps"].keys()
    other = sorted(k for k in every if found["maps"].get(k) != before["maps"].get(k))
    print(f"maps and scores: {len(every) - len(other)} of {len(every)} the same to the bit")
    for key in other[:20]:
        print("  differs:", key)
    return narrow == len(rows) == len(old) and not other


def main() -> None:
    """Write the answers, and compare them with those of another version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="folder")
    parser.add_argument("--count", type=int, default=70)
    parser.add_argument("--methods", nargs="*", help="by default all")
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--models", nargs="*", help="torch, onnx, openvino, ensemble; default: all")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--against", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images = sorted(asked.images.glob("*.jpg"))[: asked.count]
    methods = list(explainers.names()) if asked.methods is None else asked.methods
    classifiers = models(asked.models)
    found = {
        "probabilities": probabilities(classifiers, images),
        "maps": maps(classifiers, images, methods, asked.budget),
    }
    asked.out.write_text(json.dumps(found, indent=1))
    if asked.against and not compare(found, json.loads(asked.against.read_text())):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
