"""What the numbers of a file mean: black and white, signs, planes, 12 bits, names of profiles."""

import io
import struct

import numpy as np
import pytest
from picture_files import encode, gradient, matrix_profile
from PIL import Image, ImageCms

from skinxai import read_image
from skinxai.errors import UnsupportedImageError
from skinxai.images.rgb import DARK

PIXELS = gradient()
GREY = PIXELS[..., 0]
SRGB = np.array(
    [[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.7141]]
)


def tiff(values: np.ndarray, meaning: int, *, planes: int = 1, samples: int = 1) -> bytes:
    """An uncompressed TIFF in one strip, or one for each plane.

    Args:
        values: ``(H, W, C)``, or ``(C, H, W)`` where each colour has its plane.
        meaning: 0: 0 is white; 1: 0 is black; 2: RGB.
        planes: 2 where each colour has its plane.
        samples: 1: without a sign; 2: with one.
    """
    height, width, count = values.shape if planes == 1 else (*values.shape[1:], values.shape[0])
    strips = [values.tobytes()] if planes == 1 else [plane.tobytes() for plane in values]
    body, places = b"II*\0" + bytes(4), []
    for strip in strips:
        places.append(len(body))
        body += strip
    bits = [8 * values.itemsize] * count
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", bits), 259: ("H", [1]),
        262: ("H", [meaning]), 273: ("I", places), 277: ("H", [count]), 278: ("I", [height]),
        279: ("I", [len(strip) for strip in strips]), 284: ("H", [planes]),
        339: ("H", [samples] * count),
    }  # fmt: skip
    entries = b""
    for tag, (kind, numbers) in tags.items():
        data = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(data) > 4:
            body, data = body + data, struct.pack("<I", len(body))
        entries += struct.pack("<HHI", tag, 3 if kind == "H" else 4, len(numbers))
        entries += data.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return body[:4] + struct.pack("<I", len(body)) + body[8:] + directory


def wide(values: np.ndarray) -> np.ndarray:
    return values.astype("<u2") * 257


@pytest.mark.parametrize(
    "data",
    [
        tiff(GREY[..., None], 1), tiff(255 - GREY[..., None], 0), tiff(wide(GREY[..., None]), 1),
    ],
    ids=["8 bits", "8 bits, 0 is white", "16 bits"],
)  # fmt: skip
def test_grey_tiffs_are_read_by_what_is_black(data: bytes) -> None:
    np.testing.assert_array_equal(read_image(data).pixels, np.repeat(GREY[..., None], 3, 2))


@pytest.mark.parametrize(
    "data",
    [
        tiff(PIXELS, 2), tiff(wide(PIXELS), 2),
        tiff(np.ascontiguousarray(PIXELS.transpose(2, 0, 1)), 2, planes=2),
    ],
    ids=["8 bits", "16 bits", "8 bits in planes"],
)  # fmt: skip
def test_tiffs_in_colour_are_read_however_they_lie(data: bytes) -> None:
    np.testing.assert_array_equal(read_image(data).pixels, PIXELS)


REFUSED = {
    "have 0 as black, but in this one of 16 bits it is white":
        tiff(65535 - wide(GREY[..., None]), 0),
    "have numbers without a sign, but in this one 8 bits have one":
        tiff(GREY[..., None], 1, samples=2),
    "have the colours of a pixel together, but in this one of 16 bits they lie apart":
        tiff(np.ascontiguousarray(wide(PIXELS).transpose(2, 0, 1)), 2, planes=2),
}  # fmt: skip


@pytest.mark.parametrize("rule", REFUSED)
def test_what_pillow_takes_for_other_numbers_is_refused(rule: str) -> None:
    """Pillow reads all of these, and gives other pixels than were written."""
    loaded = Image.open(io.BytesIO(REFUSED[rule]))
    loaded.load()
    for each in (REFUSED[rule], loaded):
        with pytest.raises(UnsupportedImageError, match=f"TIFF image must {rule}; save it as PNG"):
            read_image(each)


def png_of_16_bits(pixels: np.ndarray) -> bytes:
    cv2 = pytest.importorskip("cv2")
    return cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()


def test_12_bits_are_noted_in_colour_too() -> None:
    few = PIXELS.astype("<u2") * 16
    assert few.max() > 3000
    for data in (tiff(few, 2), png_of_16_bits(few)):
        assert read_image(data).warnings == (DARK,)
    for data in (tiff(wide(PIXELS), 2), png_of_16_bits(wide(PIXELS)), encode(PIXELS // 16)):
        assert read_image(data).warnings == ()


def test_a_profile_of_linear_light_is_used_though_it_is_called_srgb() -> None:
    called = b"sRGB\0"
    linear, gamma = (matrix_profile(SRGB, power).replace(b"Wide\0", called) for power in (1, 2.2))
    own = ImageCms.ImageCmsProfile(io.BytesIO(linear))
    assert "sRGB" in ImageCms.getProfileDescription(own)
    flat = np.full((40, 40, 3), 60, np.uint8)
    found = read_image(encode(flat, icc_profile=linear))
    expected = 255 * (1.055 * (60 / 255) ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    np.testing.assert_allclose(found.pixels, expected, atol=1)
    assert found.warnings == ("colour_profile: converted to sRGB",)
    assert np.abs(read_image(encode(flat, icc_profile=gamma)).pixels.astype(int) - 60).max() <= 4
