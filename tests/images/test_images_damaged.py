"""Damaged JPEGs are refused, and whole ones of all kinds are read as Pillow reads them."""

import io
import itertools
import random
import re

import numpy as np
import pytest
from PIL import Image

from skinxai import read_image, samples
from skinxai.errors import ImageDecodeError

PHOTO = np.asarray(Image.open(samples.paths()[0]))


def jpeg(**options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "JPEG", quality=88, **options)
    return buffer.getvalue()


BASELINE = jpeg()
FIRST, LAST = BASELINE.index(b"\xff\xda") + 14, len(BASELINE) - 2


@pytest.mark.parametrize("kind", ["zeroed", "gap", "overwritten", "cut_and_closed"])
@pytest.mark.parametrize("length", [1024, 4096])
def test_damaged_scans_are_refused(kind: str, length: int) -> None:
    draws = random.Random(0)
    for _ in range(10):
        start = draws.randrange(FIRST, LAST - length)
        head, rest = BASELINE[:start], BASELINE[start + length :]
        middle = {"zeroed": bytes(length), "gap": b"", "overwritten": draws.randbytes(length)}
        data = head + b"\xff\xd9" if kind == "cut_and_closed" else head + middle[kind] + rest
        with pytest.raises(ImageDecodeError):
            read_image(data)


def test_short_zeroed_stretches_are_refused() -> None:
    for start in range(FIRST, LAST - 64, 200):
        with pytest.raises(ImageDecodeError):
            read_image(BASELINE[:start] + bytes(64) + BASELINE[start + 64 :])


def test_missing_progressive_scans_are_refused() -> None:
    data = jpeg(progressive=True)
    starts = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    for before, start in itertools.pairwise(starts):
        tables = data.rfind(b"\xff\xc4", before, start)
        with pytest.raises(ImageDecodeError, match="scans are missing"):
            read_image(data[: tables if tables > 0 else start] + b"\xff\xd9")


@pytest.mark.parametrize(
    "data",
    [
        BASELINE, jpeg(progressive=True), jpeg(optimize=True), jpeg(subsampling=0),
        jpeg(subsampling=1), jpeg(restart_marker_blocks=3), BASELINE + bytes(5000),
        BASELINE[:-2] + b"\xff\xff\xff\xd9", BASELINE[:-2] + bytes(3) + b"\xff\xd9",
    ],
)  # fmt: skip
def test_whole_files_are_read_as_pillow_reads_them(data: bytes) -> None:
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read_image(data).pixels, expected)


def test_opened_pil_images_are_read_like_their_path(tmp_path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(BASELINE[:FIRST] + bytes(1024) + BASELINE[FIRST + 1024 :])
    with Image.open(path) as image, pytest.raises(ImageDecodeError):
        read_image(image)
    with Image.open(samples.paths()[0]) as closed:
        pass
    with pytest.raises(ImageDecodeError, match=r"its file is closed\. Open it again"):
        read_image(closed)


@pytest.mark.parametrize("value", [1 + 2e-16, -3e-17, 1 + 9e-7])
def test_rounding_is_taken_and_never_wraps(value: float) -> None:
    pixels = np.full((40, 40, 3), 0.5)
    pixels[0, 0, 0] = value
    assert read_image(pixels).pixels[0, 0, 0] == (255 if value > 0.5 else 0)


def test_dicom_is_named_whatever_precedes_it() -> None:
    with pytest.raises(Exception, match="its content is DICOM"):
        read_image(b"II*\0" + bytes(124) + b"DICM" + bytes(40))


def test_padding_before_the_first_of_two_pictures_is_no_damage() -> None:
    padded = BASELINE[:-2] + bytes(5) + b"\xff\xd9"
    np.testing.assert_array_equal(read_image(padded + BASELINE).pixels, read_image(BASELINE).pixels)
