"""Ask the service about the first sample image, and write its answers as the OpenAPI's examples.

python benchmarks/service_examples.py
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from running_service import form, running  # noqa: E402

from skinxai import Classifier, samples  # noqa: E402

FILE = ROOT / "src/skinxai/serving/answer_examples.py"
HEAD = '''"""What the bundled model answers to the first sample image, for the OpenAPI page."""

from __future__ import annotations

from typing import Any

'''

if __name__ == "__main__":
    data = samples.paths()[0].read_bytes()
    with running(Classifier.from_pretrained()) as service:

        def post(path: str, **fields: str) -> dict:
            return service.ask("POST", path, *form([data], fields)).json

        found = {
            "PREDICTED": post("/v1/predict"),
            "NEAREST": post("/v1/nearest", k="2"),
            "EXPLAINED": post("/v1/explain"),
            "MODELS": service.ask("GET", "/v1/models").json,
        }
    picture = found["EXPLAINED"]["overlay_png"]
    found["EXPLAINED"]["overlay_png"] = f"{picture[:24]}…"
    lines = [f"{name}: dict[str, Any] = {value!r}\n" for name, value in found.items()]
    FILE.write_text(HEAD + "".join(lines), "utf-8")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(FILE)], check=True)
