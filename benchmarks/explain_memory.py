"""Thousands of explanations: does memory grow, and do threads get the answers of one?

Usage: python benchmarks/explain_memory.py [--explanations 5000] [--threads 8] [--by-threads 10000]

The bundled network at a small input. Methods of few passes take turns; memory is read after
each twentieth of the explanations. Then threads that share the classifier explain the samples with
Grad-CAM, and each map must have the bits that it has alone. Writes results/explain_memory.json.
"""

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from skinxai import Classifier, checkpoints, read_image, samples
from skinxai.model_folders.files import BUNDLED, read_model_folder

RESULTS = Path(__file__).parent / "results" / "explain_memory.json"
SIZE = (96, 128)
METHODS = ("gradcam", "layercam", "eigencam", "saliency", "guided_backprop")


def small() -> Classifier:
    loaded = checkpoints.unpack(read_model_folder(BUNDLED))
    preprocessing = replace(loaded.config.preprocessing, image_size=SIZE)
    return Classifier(replace(loaded, config=replace(loaded.config, preprocessing=preprocessing)))


def resident() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def one_after_the_other(classifier: Classifier, images: list, count: int) -> list[float]:
    found = []
    for number in tqdm(range(count), unit="explanation"):
        method = METHODS[number % len(METHODS)]
        classifier.explain(images[number // 7 % len(images)], method)
        if (number + 1) % (count // 20) == 0:
            found.append(round(resident(), 1))
    return found


def by_threads(classifier: Classifier, images: list, threads: int, count: int) -> int:
    """How many maps differ from the one of a single thread."""
    alone = [classifier.explain(image).heatmap for image in images]

    def differs(number: int) -> bool:
        k = number % len(images)
        return not np.array_equal(classifier.explain(images[k]).heatmap, alone[k])

    with ThreadPoolExecutor(threads) as pool:
        return sum(tqdm(pool.map(differs, range(count)), total=count, unit="explanation"))


def main(explanations: int, threads: int, by: int) -> None:
    torch.set_num_threads(1)  # of each: the threads are those that call
    classifier = small()
    images = [read_image(path).pixels for path in samples.paths()]
    memory = one_after_the_other(classifier, images, explanations)
    content: dict[str, object] = {
        "model": classifier.model, "input": SIZE, "torch": torch.__version__,
        "explanations": explanations, "methods": METHODS,
        "resident MiB after each twentieth": memory,
        "growth over the last three quarters, MiB": round(memory[-1] - memory[4], 1),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    content |= {
        "threads": threads, "explanations by threads": by,
        "maps that differ from one thread's": by_threads(classifier, images, threads, by),
        "resident MiB after the threads": round(resident(), 1),
    }  # fmt: skip
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--explanations", type=int, default=5000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--by-threads", type=int, default=10000)
    options = parser.parse_args()
    main(options.explanations, options.threads, options.by_threads)
