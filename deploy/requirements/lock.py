"""Pin what the images install, each file by its sha256.

Usage: python deploy/requirements/lock.py      (Python 3.11 on Linux, as in the image; asks PyPI)

Writes cuda.txt and processor.txt: what pip would install here of skinxai's extras within
constraints.txt. PyTorch for the processor alone is not on PyPI: processor.txt leaves out torch,
torchvision and the packages of CUDA, and torch-processor.txt is kept by hand.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COMMON = ("serve", "postgresql", "monitor", "tracing", "pdf", "parquet")
EXTRAS = {"cuda": COMMON, "processor": (*COMMON, "openvino")}
OF_CUDA = re.compile(r"torch|torchvision|triton|cuda-.*|nvidia-.*")
"""Comes with PyTorch's wheels on PyPI, and is left out for the processor."""
BUILDING = ("hatchling",)
HEAD = "# Written by deploy/requirements/lock.py for Python {python} on {machine}. Do not edit.\n"


def resolve(extras: tuple[str, ...]) -> list[dict]:
    """What pip would install into an empty environment, with the hash of each file."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--dry-run", "--ignore-installed", "--quiet", "--only-binary", ":all:"]
        wanted = [f"{ROOT}[{','.join(extras)}]", *BUILDING]
        constraint = str(ROOT / "constraints.txt")
        command = [sys.executable, "-m", "pip", "install", *options, "--report", str(report)]
        subprocess.run([*command, "--constraint", constraint, *wanted], check=True)
        return json.loads(report.read_text())["install"]


def lines(found: list[dict]) -> list[str]:
    """Lines of a file for ``pip install --require-hashes``, by name."""
    rows = []
    for package in found:
        name = re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()
        if name == "skinxai":
            continue
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        rows.append(f"{name}=={package['metadata']['version']} --hash=sha256:{digest}\n")
    return sorted(rows)


def main() -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    machine = subprocess.run(["uname", "-sm"], capture_output=True, text=True, check=True)
    head = HEAD.format(python=python, machine=machine.stdout.strip())
    for variant, extras in EXTRAS.items():
        rows = lines(resolve(extras))
        if variant == "processor":
            rows = [row for row in rows if not OF_CUDA.fullmatch(row.split("==")[0])]
        (HERE / f"{variant}.txt").write_text(head + "".join(rows))
        print(f"{variant}.txt: {len(rows)} packages")


if __name__ == "__main__":
    main()
