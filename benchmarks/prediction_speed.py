"""From JPEG files to probabilities: skinxai against the ordinary way and a hand-written pipeline.

Usage: python benchmarks/prediction_speed.py FOLDER_OF_JPEGS [--files 2000] [--memory 10000]

The bundled model's weights throughout. "ordinary" opens with Pillow, transforms with torchvision
and runs timm's network as it comes, in batches of 32; "hand-written" opens and resizes with
Pillow, normalises with NumPy and asks OpenVINO for one image after the other. Both calibrate their
probabilities as the model does; they check neither quality nor novelty. The ways take turns over
parts of 250 files; each ratio is the median over the parts. Then one warm image against the
bare network and the decoding, the first prediction of a new process, and memory over many files.
Writes results/prediction_speed.json.
"""

import argparse
import importlib.metadata
import io
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load
from speed import paired, resident

from skinxai import Classifier, read_image
from skinxai.graphs.exported import with_weights
from skinxai.model_folders.files import BUNDLED
from skinxai.model_folders.parts import GRAPH, WEIGHTS
from skinxai.predicting.inputs import InputOptions, prepared_batches
from skinxai.predicting.torch_predictor import to_batch

RESULTS = Path(__file__).parent / "results" / "prediction_speed.json"
PART = 250
Way = Callable[[Sequence[Path]], np.ndarray]


def calibrated(classifier: Classifier, rows: np.ndarray) -> np.ndarray:
    """Probabilities of the bare network, as the model calibrates those of one view."""
    assert classifier.calibration is not None
    return classifier.calibration.one_view.scaling(rows.astype(np.float64))


def ordinary(classifier: Classifier) -> Way:
    import timm
    from torchvision import transforms

    config = classifier.config
    own = config.preprocessing
    network = timm.create_model(config.backbone, num_classes=len(config.labels))
    network.load_state_dict(
        {name: t.float() for name, t in load((BUNDLED / WEIGHTS).read_bytes()).items()}
    )
    network.eval()
    transform = transforms.Compose([
        transforms.Resize(own.image_size, transforms.InterpolationMode.BICUBIC),
        transforms.ToTensor(),
        transforms.Normalize(own.mean, own.std),
    ])  # fmt: skip

    def run(files: Sequence[Path]) -> np.ndarray:
        rows = []
        for start in range(0, len(files), 32):
            images = []
            for path in files[start : start + 32]:
                with Image.open(path) as image:
                    images.append(transform(image.convert("RGB")))
            with torch.inference_mode():
                rows.append(network(torch.stack(images)).softmax(1).numpy())
        return calibrated(classifier, np.concatenate(rows))

    return run


def hand_written(classifier: Classifier) -> Way:
    import openvino

    own = classifier.config.preprocessing
    graph, _ = with_weights(
        (BUNDLED / GRAPH).read_bytes(), (BUNDLED / WEIGHTS).read_bytes(),
        classifier.config.binding(),
    )  # fmt: skip
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(graph), "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"},
    )  # fmt: skip
    mean, std = (np.array(each, np.float32) for each in (own.mean, own.std))

    def run(files: Sequence[Path]) -> np.ndarray:
        rows = []
        for path in files:
            with Image.open(path) as image:
                small = image.convert("RGB").resize(own.image_size[::-1], Image.Resampling.BICUBIC)
            values = (np.asarray(small, np.float32) / 255 - mean) / std
            logits = compiled(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))["logits"][0]
            powers = np.exp(logits - logits.max())
            rows.append(powers / powers.sum())
        return calibrated(classifier, np.array(rows))

    return run


def ours(backend: str) -> Way:
    classifier = Classifier.from_pretrained(backend=backend)

    def run(files: Sequence[Path]) -> np.ndarray:
        found = classifier.predict(list(files), progress=False)
        return np.array([list(each.probabilities.values()) for each in found])

    return run


def many(ways: dict[str, Way], files: list[Path]) -> dict[str, object]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    expected, differences, labels = None, dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0)
    for start in range(0, len(files), PART):
        part = files[start : start + PART]
        for name, way in ways.items():
            started = time.perf_counter()
            rows = way(part)
            seconds[name].append((time.perf_counter() - started) / len(part))
            if name == "ordinary":
                expected = rows
            differences[name] = max(differences[name], float(np.abs(rows - expected).max()))
            labels[name] += int((rows.argmax(1) != expected.argmax(1)).sum())
        print(start + len(part), {n: round(1 / s[-1], 1) for n, s in seconds.items()}, flush=True)
    return {
        name: {
            "images a second": 1 / statistics.median(own),
            "times the ordinary way": statistics.median(
                base / each for base, each in zip(seconds["ordinary"], own, strict=True)
            ),
            "largest difference of a probability": differences[name],
            "other labels": labels[name],
        }
        for name, own in seconds.items()
    }


def one(path: Path) -> dict[str, float]:
    """Milliseconds of one warm image above the bare network and the bare decoding."""
    classifier = Classifier.from_pretrained()
    (member,) = classifier.torch_predictor.members
    ((item,),) = prepared_batches([path], [member.preprocessing], InputOptions())
    batch = to_batch([item], member.preprocessing, torch.device("cpu"))
    data = path.read_bytes()

    def bare() -> None:
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        with torch.inference_mode():
            member.answering(batch)

    whole, least = paired(lambda: classifier.predict(path), bare)
    return {
        "predict, ms": 1000 * whole,
        "bare network and decoding, ms": 1000 * least,
        "above, ms (at most 3)": 1000 * (whole - least),
    }


FIRST = "from skinxai import Classifier; Classifier.from_pretrained(backend={!r}).predict({!r})"
BARE = (
    "import torch, timm; from safetensors.torch import load_file; "
    "network = timm.create_model({!r}, num_classes=7); "
    "network.load_state_dict({{n: t.float() for n, t in load_file({!r}).items()}})"
)


def cold(path: Path, backbone: str) -> dict[str, float]:
    def run(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    bare, ours = paired(
        run(BARE.format(backbone, str(BUNDLED / WEIGHTS))), run(FIRST.format("torch", str(path)))
    )
    onnx, openvino = paired(
        run(FIRST.format("onnx", str(path))), run(FIRST.format("openvino", str(path)))
    )
    return {
        "import torch, timm, and load, seconds": bare,
        "first prediction, seconds": ours,
        "their ratio (at most 1.1)": ours / bare,
        "first prediction through ONNX Runtime, without torch, seconds (at most 1.5)": onnx,
        "first prediction through OpenVINO, without torch, seconds": openvino,
    }


def memory(files: list[Path], backend: str) -> float:
    """MiB above the first 500 files."""
    start = highest = 0.0
    for number, _ in enumerate(Classifier.from_pretrained(backend=backend).stream(files)):
        if number == 500:
            start = highest = resident()
        elif number > 500 and number % 50 == 0:
            highest = max(highest, resident())
    return highest - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--memory", type=int, default=10_000)
    options = parser.parse_args()
    found = sorted(options.folder.glob("*.jpg"))
    files = list(itertools.islice(itertools.cycle(found), options.files))
    classifier = Classifier.from_pretrained()
    ways = {
        "ordinary": ordinary(classifier), "torch": ours("torch"), "onnx": ours("onnx"),
        "openvino": ours("openvino"), "OpenVINO, hand-written": hand_written(classifier),
    }  # fmt: skip
    for way in ways.values():
        way(files[:32])
    packages = ("torch", "torchvision", "timm", "onnxruntime", "openvino", "pillow")
    height, width = read_image(found[0]).pixels.shape[:2]
    report: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "model": classifier.model,
        "files": f"{len(files)} ({len(found)} different), the first {width} x {height}",
        "many": many(ways, files),
        "one": one(found[0]),
        "cold": cold(found[0], classifier.config.backbone),
    }
    again = list(itertools.islice(itertools.cycle(found), options.memory))
    for backend in ("torch", "openvino"):
        name = f"memory over {len(again)} files, {backend}, MiB above the first 500"
        report[name] = memory(again, backend)
    RESULTS.write_text(json.dumps(report, indent=2) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
