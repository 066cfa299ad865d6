"""How much memory a method takes beyond prediction, each in a process of its own.

``python -m skinxai.benchmarking.memory MODEL_FOLDER IMAGE METHOD OPTIONS`` prints MiB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skinxai.classifier import Classifier
from skinxai.errors import ExplainError


def peak_memory(
    classifier: Classifier, image: Path, methods: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """MiB by which one explanation raises the peak of a process that has predicted before.

    Args:
        classifier: a model that can be saved; for others, and on Windows, nothing is measured.
        image: a file.
        methods: name → options.

    Returns:
        Method → MiB; without methods that the network is refused by.
    """
    if not getattr(classifier.config, "backbone", "") or sys.platform == "win32":
        return {}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        classifier.save_pretrained(folder)
        for name, options in methods.items():
            words = [folder, str(image), name, json.dumps(dict(options))]
            done = subprocess.run(
                [sys.executable, "-m", "skinxai.benchmarking.memory", *words],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            if done.stdout.strip() != "refused":
                found[name] = float(done.stdout)
    return found


def main(folder: str, image: str, method: str, options: str) -> None:
    """Print MiB, or ``refused``."""
    import resource  # not on Windows

    unit = 2**20 if sys.platform == "darwin" else 2**10

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

    classifier = Classifier.from_pretrained(folder, device="cpu")
    classifier.predict(image)
    before = peak()
    try:
        classifier.explain(image, method, progress=False, **json.loads(options))
    except ExplainError:
        print("refused")
    else:
        print(f"{peak() - before:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:5])
