"""Read mutated images of all formats in 16 threads, with warnings as errors.

    python -W error benchmarks/mutated_images.py [COUNT]

COUNT images, 6,000 by default, of which each format and compression has the same number: bytes
overwritten, cut out, inserted, single bits flipped, the end cut off, and for the first 512 bytes,
where tags are, more often than by chance. Every outcome must be pixels or a `SkinxaiError`; what
appears on the file descriptor of standard error is counted. Writes
benchmarks/results/mutated_images.json.
"""

import io
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from skinxai import read_image, samples
from skinxai.errors import SkinxaiError

RESULT = Path(__file__).parent / "results" / "mutated_images.json"
THREADS = 16
EXIF = b"Exif\0\0II*\0\x08\0\0\0" + bytes(9)
KINDS: dict[str, tuple[str, str, dict[str, object]]] = {
    "JPEG": ("JPEG", "RGB", {"quality": 88}),
    "JPEG with EXIF": ("JPEG", "RGB", {"quality": 88, "exif": EXIF}),
    "PNG": ("PNG", "RGB", {}),
    "PNG with a palette": ("PNG", "P", {"transparency": bytes(range(16))}),
    "WebP": ("WEBP", "RGB", {}),
    "BMP": ("BMP", "RGB", {}),
    "GIF": ("GIF", "P", {}),
} | {
    f"TIFF, {name}": ("TIFF", "RGB", {"compression": name, "description": "d" * 9})
    for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd")
} | {"TIFF, fax": ("TIFF", "1", {"compression": "group4"})}  # fmt: skip


def mutated(data: bytes, draws: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(draws.choice([1, 1, 2, 5])):
        start = draws.randrange(min(512, len(found)) if draws.random() < 0.5 else len(found))
        if draws.random() < 0.3:  # tags of Pillow's TIFFs are at the end
            start = len(found) - 1 - draws.randrange(min(300, len(found)))
        length = draws.choice([1, 2, 4, 16, 100])
        match draws.randrange(5):
            case 0:
                found[start : start + length] = draws.randbytes(length)
            case 1:
                del found[start : start + length]
            case 2:
                found[start:start] = draws.randbytes(length)
            case 3:
                found[start] ^= 1 << draws.randrange(8)
            case 4 if draws.random() < 0.2:
                del found[start + 1 :]
        if len(found) < 20:
            break
    return bytes(found)


@contextmanager
def descriptor_of_errors() -> Iterator[list[bytes]]:
    """Context that yields a list, which in the end holds what came through descriptor 2."""
    found: list[bytes] = []
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            found.append(file.read())


def outcome(data: bytes) -> str:
    try:
        return "read, with notes" if read_image(data).warnings else "read"
    except SkinxaiError as error:
        return error.code
    except Exception as error:
        return f"ANOTHER ERROR: {type(error).__name__}: {error}"


def campaign(count: int, seed: int = 0) -> dict[str, object]:
    photo = Image.open(samples.paths()[0]).convert("RGB").resize((120, 90))
    draws, work = random.Random(seed), []
    for kind, (format, mode, options) in KINDS.items():
        buffer = io.BytesIO()
        photo.convert(mode).save(buffer, format, **options)
        work += [(kind, mutated(buffer.getvalue(), draws)) for _ in range(count // len(KINDS))]
    draws.shuffle(work)
    with descriptor_of_errors() as printed, ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(lambda item: outcome(item[1]), work))
    table: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for (kind, _), found in zip(work, outcomes, strict=True):
        table[kind][found] += 1
    wrong = [found for found in outcomes if found.startswith("ANOTHER")]
    if wrong or printed[0]:
        print(*sorted(set(wrong))[:20], printed[0][:2000].decode(errors="replace"), sep="\n")
    return {
        "images": len(work),
        "threads": THREADS,
        "errors that are no SkinxaiError": len(wrong),
        "bytes on standard error": len(printed[0]),
        "outcomes": {kind: dict(found.most_common()) for kind, found in table.items()},
    }


if __name__ == "__main__":
    text = json.dumps(campaign(int(sys.argv[1]) if len(sys.argv) > 1 else 6000), indent=2)
    print(text)
    RESULT.write_text(text + "\n")
