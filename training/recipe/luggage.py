"""Pack what a machine without a network needs, and cut it into pieces, for one that takes little.

    python training/recipe/luggage.py DATA WEIGHTS WHEELS OUTPUT --megabytes 20

DATA holds part*.tar with a JPEG and a WebP file of each image, the two tables and, to save minutes
there, the folds.json of a work folder in which the same images were unpacked before. Images of the
test part stay behind. WEIGHTS holds the files that convert_imagenet.py wrote, and WHEELS what
wheels.sh downloaded. There, once all pieces are in one folder::

    sha256sum -c luggage.sha256 && cat luggage.tgz.* | tar xz

The weights travel in half precision and without the matrix of ImageNet's classifier, which
`Trainer` replaces; its bias stays, by whose length `Trainer` knows that they saw ImageNet alone.
"""

import argparse
import hashlib
import io
import tarfile
from pathlib import Path

import torch
from material import TABLE, frozen_parts, rows_of
from safetensors.torch import load_file, save
from settings import NETWORKS


def halved(path: Path) -> bytes:
    """The weights without the classifier's matrix, floating tensors in half precision."""
    kept = {n: t for n, t in load_file(path).items() if n != "classifier.weight"}
    if wrong := [n for n, t in kept.items() if t.is_floating_point() and t.abs().max() > 65504]:
        raise SystemExit(f"{wrong[0]} of {path} is too large for half precision")
    return save({n: t.half() if t.dtype is torch.float32 else t for n, t in kept.items()})


def without(path: Path, left_out: set[str]) -> bytes:
    """A tar file without the images with these ids."""
    buffer = io.BytesIO()
    with tarfile.open(path) as source, tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in source:
            if member.isfile() and Path(member.name).stem not in left_out:
                tar.addfile(member, source.extractfile(member))
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "weights", "wheels", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--megabytes", type=float, default=20.0, help="of a piece")
    given = parser.parse_args()
    parts = frozen_parts(rows_of(given.data / TABLE))
    test = {name for name, part in parts.items() if part == "test"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=4) as tar:  # shrinks the headers

        def add(name: str, data: bytes) -> None:
            found = tarfile.TarInfo(name)
            found.size = len(data)
            tar.addfile(found, io.BytesIO(data))

        for path in sorted(given.data.glob("part*.tar")):
            add(f"data/{path.name}", without(path, test))
        for pattern in ("HAM10000_*.csv", "folds.json"):
            for path in sorted(given.data.glob(pattern)):
                add(f"data/{path.name}", path.read_bytes())
        for network in NETWORKS.values():
            add(f"weights/{network}.safetensors", halved(given.weights / f"{network}.safetensors"))
        for path in sorted(given.wheels.glob("*.whl")):
            add(f"wheels/{path.name}", path.read_bytes())
    data, size = buffer.getvalue(), int(given.megabytes * 1e6)
    given.output.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, start in enumerate(range(0, len(data), size)):
        piece, name = data[start : start + size], f"luggage.tgz.{number:02d}"
        (given.output / name).write_bytes(piece)
        lines.append(f"{hashlib.sha256(piece).hexdigest()}  {name}")
        print(name, len(piece))
    (given.output / "luggage.sha256").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
