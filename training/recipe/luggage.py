"""Pack what a machine without a network needs into pieces, for one that takes little at a time.

    python training/recipe/luggage.py DATA WEIGHTS WHEELS OUTPUT --megabytes 40

DATA holds part*.tar with a JPEG and a WebP file of each image, the two tables and, to save minutes
there, the folds.json of a work folder in which the same images were unpacked before. Images of the
test part stay behind. WEIGHTS holds the files that convert_imagenet.py wrote, and WHEELS what
wheels.sh downloaded. There, each piece is unpacked into the same folder as it comes, in any order::

    tar xzf luggage-00.tgz -C /tmp/in

The first piece has all but images, so that tests and measurements can begin with it.

The weights travel in half precision and without the matrix of ImageNet's classifier, which
`Trainer` replaces; its bias stays, by whose length `Trainer` knows that they saw ImageNet alone.
"""

import argparse
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from material import TABLE, frozen_parts, rows_of
from safetensors.torch import load_file, save
from settings import NETWORKS

HEADER = 200  # bytes that a file takes besides its content, compressed
Named = tuple[str, bytes]


def halved(path: Path) -> bytes:
    """The weights without the classifier's matrix, floating tensors in half precision."""
    kept = {n: t for n, t in load_file(path).items() if n != "classifier.weight"}
    if wrong := [n for n, t in kept.items() if t.is_floating_point() and t.abs().max() > 65504]:
        raise SystemExit(f"{wrong[0]} of {path} is too large for half precision")
    return save({n: t.half() if t.dtype is torch.float32 else t for n, t in kept.items()})


def all_but_images(given: argparse.Namespace) -> Iterator[Named]:
    """Wheels, weights, tables and folds."""
    for path in sorted(given.wheels.glob("*.whl")):
        yield f"wheels/{path.name}", path.read_bytes()
    for network in NETWORKS.values():
        yield f"weights/{network}.safetensors", halved(given.weights / f"{network}.safetensors")
    for pattern in ("HAM10000_*.csv", "folds.json"):
        for path in sorted(given.data.glob(pattern)):
            yield f"data/{path.name}", path.read_bytes()


def images(data: Path, left_out: set[str]) -> Iterator[Named]:
    """The files of all images but those with these ids."""
    for path in sorted(data.glob("part*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                name = Path(member.name)
                if member.isfile() and name.stem not in left_out:
                    content = tar.extractfile(member)
                    assert content is not None
                    yield name.name, content.read()


def tar_of(files: Iterable[Named], mode: str) -> bytes:
    """A tar file, in memory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in files:
            found = tarfile.TarInfo(name)
            found.size = len(data)
            tar.addfile(found, io.BytesIO(data))
    return buffer.getvalue()


def divided(files: Iterable[Named], room: float) -> list[list[Named]]:
    """The files in order, in as few lists as their sizes allow."""
    pieces: list[list[Named]] = []
    left = 0.0
    for name, data in files:
        size = len(data) + HEADER
        if size > room:
            raise SystemExit(f"--megabytes must be at least {size / 1e6:.1f}, for {name}")
        if size > left:
            pieces.append([])
            left = room
        pieces[-1].append((name, data))
        left -= size
    return pieces


def packed(number: int, files: Sequence[Named]) -> bytes:
    """A piece: a tar of its files, in which the images are in a tar of their own."""
    plain = [each for each in files if "/" in each[0]]
    own = [each for each in files if "/" not in each[0]]
    inner = [(f"data/part{number:02d}.tar", tar_of(own, "w"))] if own else []
    return tar_of([*plain, *inner], "w:gz")  # compressed for the sake of the headers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "weights", "wheels", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--megabytes", type=float, default=40.0, help="most of a piece")
    given = parser.parse_args()
    parts = frozen_parts(rows_of(given.data / TABLE))
    test = {name for name, part in parts.items() if part == "test"}
    given.output.mkdir(parents=True, exist_ok=True)
    for path in given.output.glob("luggage*"):  # of another size
        path.unlink()
    lines = []
    every = [*all_but_images(given), *images(given.data, test)]
    for number, files in enumerate(divided(every, given.megabytes * 1e6)):
        name, data = f"luggage-{number:02d}.tgz", packed(number, files)
        (given.output / name).write_bytes(data)
        lines.append(f"{hashlib.sha256(data).hexdigest()}  {name}")
        print(name, len(data))
    (given.output / "luggage.sha256").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
