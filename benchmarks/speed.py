"""What the package costs, as ratios and differences within one run.

Usage: python benchmarks/speed.py        (writes benchmarks/results/speed.json)
"""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from skinxai import Classifier, read_image, samples

ROUNDS = 15


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Medians of two calls that take turns, so that both see the same machine."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(ROUNDS)]
    return tuple(statistics.median(column) for column in zip(*pairs, strict=True))


def python(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def starting() -> dict[str, float]:
    bare, imported = paired(python("-c", "pass"), python("-c", "import skinxai"))
    program = str(Path(sys.executable).parent / "skinxai")
    command = [program, "--help"]
    _, shown = paired(
        python("-c", "pass"), lambda: subprocess.run(command, check=True, capture_output=True)
    )
    return {
        "import skinxai, seconds over bare Python (at most 0.1)": imported - bare,
        "skinxai --help, seconds (at most 0.3)": shown,
    }


def explaining(classifier: Classifier) -> dict[str, float]:
    images = [read_image(path).pixels for path in samples.paths()] * 4
    predict, explain = paired(
        lambda: classifier.predict(images), lambda: classifier.explain(images, method="gradcam")
    )
    return {
        "Grad-CAM of 16 images / predict of the same batch (at most 1.3)": explain / predict,
        "predict, images a second": 16 / predict,
    }


def threads(classifier: Classifier) -> dict[str, float]:
    """Throughput of two threads against one, each call on one torch thread."""
    pixels = read_image(samples.paths()[0]).pixels
    before = torch.get_num_threads()
    torch.set_num_threads(1)

    def work(count: int) -> Callable[[], object]:
        def run() -> None:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda _: classifier.predict(pixels), range(32)))

        return run

    one, two = paired(work(1), work(2))
    torch.set_num_threads(before)
    return {"two threads / one thread, images a second (at least 1.5)": one / two}


def resident() -> float:
    """MiB of memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def streaming(classifier: Classifier, files: int = 10_000) -> dict[str, float]:
    draws = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(files):  # different images of several sizes, small files
            coarse = Image.fromarray(draws.integers(0, 256, (3, 4, 3), dtype=np.uint8))
            size = (300 + 10 * (number % 31), 225 + 10 * (number % 17))
            coarse.resize(size).save(Path(folder) / f"{number:05d}.jpg", quality=70)
        start = 0.0
        highest = 0.0
        for number, _ in enumerate(classifier.stream(folder)):
            if number == 500:
                start = resident()
            elif number > 500 and number % 50 == 0:
                highest = max(highest, resident())
    return {f"stream of {files} files, MiB above the first 500 (at most 50)": highest - start}


def main() -> None:
    classifier = Classifier.from_pretrained()
    results = starting() | explaining(classifier) | threads(classifier) | streaming(classifier)
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, torch {torch.__version__}",
        "results": {name: round(value, 3) for name, value in results.items()},
    }
    text = json.dumps(report, indent=2)
    (Path(__file__).parent / "results/speed.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
