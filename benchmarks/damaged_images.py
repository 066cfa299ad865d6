"""Share of damaged JPEGs that are refused, of whole ones that are read, and what reading costs.

    python benchmarks/damaged_images.py FOLDER [--out benchmarks/results/damaged_images.json]

FOLDER holds whole JPEGs. 2,000 of them are damaged in five kinds, 400 of each: a stretch of the
scan zeroed, cut out, or overwritten at random, of 512 to 4,096 bytes; the scan cut at a random
place and closed by an end marker; progressive scans missing at the end. Shares for shorter
stretches and for one flipped bit follow. Times are of reading with the checks, of reading the same
way by Pillow without them, and of the walk over the segments alone, interleaved file by file.
"""

import argparse
import io
import json
import random
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, JpegImagePlugin

from skinxai import read_image
from skinxai.errors import ImageDecodeError
from skinxai.images.decoding import decode
from skinxai.images.jpegs import check_jpeg
from skinxai.images.rgb import image_to_rgb

Damage = Callable[[bytes, random.Random, int], bytes]


def scan(data: bytes) -> tuple[int, int]:
    """First and last byte of the first scan of a baseline file, up to its end marker."""
    place = 2
    while data[place + 1] != 0xDA:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place + 2 + int.from_bytes(data[place + 2 : place + 4], "big"), data.rfind(b"\xff\xd9")


def stretch(data: bytes, draws: random.Random, length: int) -> tuple[int, int]:
    first, last = scan(data)
    length = min(length, (last - first) // 2)
    start = draws.randrange(first, last - length)
    return start, start + length


def zeroed(data: bytes, draws: random.Random, length: int) -> bytes:
    start, end = stretch(data, draws, length)
    return data[:start] + bytes(end - start) + data[end:]


def gap(data: bytes, draws: random.Random, length: int) -> bytes:
    start, end = stretch(data, draws, length)
    return data[:start] + data[end:]


def overwritten(data: bytes, draws: random.Random, length: int) -> bytes:
    start, end = stretch(data, draws, length)
    return data[:start] + draws.randbytes(end - start) + data[end:]


def cut_and_closed(data: bytes, draws: random.Random, length: int) -> bytes:
    first, last = scan(data)
    return data[: draws.randrange(first + 16, last - 16)] + b"\xff\xd9"


def missing_scans(data: bytes, draws: random.Random, length: int) -> bytes:
    data = progressive(data)
    starts = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    number = draws.randrange(1, len(starts))
    tables = data.rfind(b"\xff\xc4", starts[number - 1], starts[number])
    return data[: tables if tables > 0 else starts[number]] + b"\xff\xd9"


def flipped(data: bytes, draws: random.Random, length: int) -> bytes:
    first, last = scan(data)
    place = draws.randrange(first, last)
    return data[:place] + bytes([data[place] ^ 1 << draws.randrange(8)]) + data[place + 1 :]


def progressive(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "JPEG", quality=88, progressive=True)
    return buffer.getvalue()


KINDS: dict[str, Damage] = {
    "zeroed": zeroed, "gap": gap, "overwritten": overwritten,
    "cut_and_closed": cut_and_closed, "missing_scans": missing_scans,
}  # fmt: skip


def refused(data: bytes) -> bool:
    try:
        read_image(data)
    except ImageDecodeError:
        return True
    return False


def share(
    files: list[Path], kind: Damage, lengths: tuple[int, ...], count: int, seed: int
) -> float:
    draws = random.Random(seed)
    found = 0
    for number in range(count):
        data = draws.choice(files).read_bytes()
        found += refused(kind(data, draws, lengths[number % len(lengths)]))
    return found / count


def unchecked(data: bytes) -> None:
    with JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as image:
        image_to_rgb(image, None, 40_000_000, 32)


def checked(data: bytes) -> None:
    decode(data, value_range=None, max_pixels=40_000_000, min_side=32)


WAYS: dict[str, Callable[[bytes], None]] = {
    "unchecked": unchecked, "checked": checked, "segments": check_jpeg,
}  # fmt: skip


def times(files: list[Path], rounds: int = 5) -> dict[str, float]:
    """Medians over the files of milliseconds, the shortest of some rounds, and of both ratios."""
    spent: dict[str, list[float]] = {name: [] for name in WAYS}
    for number, path in enumerate(files):
        data = path.read_bytes()
        best = dict.fromkeys(WAYS, float("inf"))
        for turn in range(rounds):
            for name in sorted(WAYS, reverse=bool((number + turn) % 2)):
                begin = time.perf_counter()
                WAYS[name](data)
                best[name] = min(best[name], time.perf_counter() - begin)
        for name, seconds in best.items():
            spent[name].append(1000 * seconds)
    ratios = {
        f"{name}_to_unchecked": statistics.median(
            one / other for one, other in zip(spent[name], spent["unchecked"], strict=True)
        )
        for name in ("checked", "segments")
    }
    return {name: statistics.median(values) for name, values in spent.items()} | ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    files = sorted(options.folder.rglob("*.jpg"))
    lengths = (512, 1024, 2048, 4096)
    damaged = {n: share(files, kind, lengths, 400, 0) for n, kind in KINDS.items()}
    result = {
        "refused": damaged | {"all": sum(damaged.values()) / len(damaged)},
        "refused_of_short_stretches": {
            f"{kind.__name__}_{length}": share(files, kind, (length,), 400, 1)
            for kind in (zeroed, gap, overwritten)
            for length in (64, 256, 512)
        },
        "refused_of_one_flipped_bit": share(files, flipped, (1,), 1000, 2),
        "whole": {"files": len(files), "refused": sum(refused(p.read_bytes()) for p in files)},
        "milliseconds": times(files[:: max(1, len(files) // 300)]),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
