"""How much memory a method takes beyond prediction, each in a process of its own.

``python -m skinxai.benchmarking.peak_memory MODEL IMAGE METHOD OPTIONS PIXELS ANSWER`` writes MiB
into the file ANSWER, as a plugin may print anything.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from skinxai.classifier import Classifier
from skinxai.images.limits import MAX_PIXELS


def peak_memory(
    classifier: Classifier, image: Path, methods: Mapping[str, Mapping[str, Any]],
    max_pixels: int = MAX_PIXELS,
) -> dict[str, float]:  # fmt: skip
    """MiB by which one explanation raises the peak of a process that has predicted before.

    Returns:
        Method → MiB, of those that could be measured; why others could not is printed.
    """
    if not getattr(classifier.config, "backbone", "") or sys.platform != "linux":
        return {}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        model, answer = Path(folder, "model"), Path(folder, "answer")
        classifier.save_pretrained(model)
        for name, options in methods.items():
            words = [str(model), str(image), name, json.dumps(dict(options)), str(max_pixels)]
            done = subprocess.run(
                [sys.executable, "-m", "skinxai.benchmarking.peak_memory", *words, str(answer)],
                capture_output=True, encoding="locale", errors="replace", check=False,
            )  # fmt: skip
            if answer.exists():
                found[name] = float(answer.read_text(encoding="utf-8"))
                answer.unlink()
            else:
                why = done.stderr.strip().splitlines() or ["its process ended without an answer"]
                tqdm.write(f"the memory of {name} was not measured: {why[-1]}")
    return found


def main(folder: str, image: str, method: str, options: str, max_pixels: str, answer: str) -> None:
    """Write MiB."""
    classifier = Classifier.from_pretrained(folder, device="cpu")
    most = int(max_pixels)
    classifier.predict(image, max_pixels=most)
    before = peak()
    classifier.explain(image, method, progress=False, max_pixels=most, **json.loads(options))
    Path(answer).write_text(f"{peak() - before:.1f}", encoding="utf-8")


def peak() -> float:
    """MiB that this process had at most; ``ru_maxrss`` would begin with its parent's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


if __name__ == "__main__":
    main(*sys.argv[1:7])
