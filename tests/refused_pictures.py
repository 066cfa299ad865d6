"""Files that are no picture to classify, each with the error that it is refused with."""

import numpy as np
from picture_files import encode, gradient, png
from PIL import Image

from skinxai.errors import (
    ImageDecodeError,
    ImageTooLargeError,
    ImageTooSmallError,
    InputRangeError,
    UnsupportedImageError,
)

PIXELS = gradient()


def frames(format: str) -> bytes:
    first, second = Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)
    return encode(first, format, save_all=True, append_images=[second])


def flip_bytes(data: bytes, where: int) -> bytes:
    return data[:where] + bytes([data[where] ^ 0xFF]) + data[where + 1 :]


REFUSED = {
    "empty": (b"", ImageDecodeError, "empty file"),
    "text": (b"just words", UnsupportedImageError, "its content is text"),
    "html": (b"<!DOCTYPE html><p>", UnsupportedImageError, "its content is HTML"),
    "json": (b'{"a": 1}', UnsupportedImageError, "its content is JSON"),
    "png data": (
        flip_bytes(encode(PIXELS), encode(PIXELS).index(b"IDAT") + 9),
        ImageDecodeError,
        "IDAT.*bad checksum",
    ),
    "png header": (flip_bytes(encode(PIXELS), 18), ImageDecodeError, "IHDR.*bad checksum"),
    "png end": (encode(PIXELS)[:-12], ImageDecodeError, "before its end chunk"),
    # no decoder could make sense of the data: that the size is named shows what came first
    "9400 pixels a side": (
        png(9400, 9400, 1, 0, b"?"),
        ImageTooLargeError,
        "40000000 pixels, got 9400×9400",
    ),
    "50,000 pixels a side": (
        png(50_000, 50_000, 8, 2, b"?"),
        ImageTooLargeError,
        "got 50000×50000",
    ),
    "a strip": (png(65_000, 1, 8, 0, b"?"), UnsupportedImageError, "aspect ratio"),
    "1 pixel": (encode(PIXELS[:1, :1]), ImageTooSmallError, "32 pixels a side, got 1×1"),
    "7 pixels": (encode(PIXELS[:7, :7]), ImageTooSmallError, "got 7×7"),
    "31 pixels": (encode(PIXELS[:31, :31]), ImageTooSmallError, "got 31×31"),
    "32 bits a pixel": (
        encode(Image.fromarray(PIXELS[..., 0] / np.float32(255)), "TIFF"),
        InputRangeError,
        r"32 bits a pixel, from 0 to 1, .*; scale it to 8 bits",
    ),
    "not a number": (
        encode(Image.fromarray(np.where(PIXELS[..., 0] > 99, np.float32("nan"), 0)), "TIFF"),
        InputRangeError,
        r"mage must be finite, got nan at index \(\d+, \d+\)",
    ),
    "gif": (frames("GIF"), UnsupportedImageError, "2 frames"),
    "apng": (frames("PNG"), UnsupportedImageError, "2 frames"),
    "webp": (frames("WEBP"), UnsupportedImageError, "2 frames"),
    "tiff pages": (frames("TIFF"), UnsupportedImageError, "2 frames or pages"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', UnsupportedImageError, "SVG"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", UnsupportedImageError, "EPS"),
    "pdf": (b"%PDF-1.7\n", UnsupportedImageError, "PDF"),
    "psd": (b"8BPS\0\1" + bytes(30), UnsupportedImageError, "PSD"),
    "fits": (b"SIMPLE  =                    T", UnsupportedImageError, "FITS"),
    "jp2": (b"\0\0\0\x0cjP  \r\n\x87\n", UnsupportedImageError, "JPEG 2000"),
    "mcidas": (b"\0\0\0\0\0\0\0\4" + bytes(248), UnsupportedImageError, "McIdas"),
    "icns": (b"icns" + bytes(28), UnsupportedImageError, "ICNS"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(12), UnsupportedImageError, "HEIC"),
}
"""Name → bytes, error, and words of its sentence."""
