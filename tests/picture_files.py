"""Image files as they come in practice and as attackers make them, as bytes."""

import functools
import io
import struct
import zlib

import numpy as np
from PIL import Image


def gradient(height: int = 48, width: int = 64) -> np.ndarray:
    """RGB uint8; every corner is another colour, so that a turn or a swap shows."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / (width - 1), 255 * y / (height - 1)
    return np.stack([red, green, 128 + 0 * red], axis=-1).astype(np.uint8)


def encode(image: Image.Image | np.ndarray, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, data: bytes, *more: bytes) -> bytes:
    """A PNG with this header and compressed data, whatever they mean together."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    rest = chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + rest


def png_rgb16(values: np.ndarray) -> bytes:
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(width, height, 16, 2, zlib.compress(rows))


@functools.cache
def deflated_zeros(count: int) -> bytes:
    squeeze, part = zlib.compressobj(1), bytes(1 << 20)
    return b"".join(squeeze.compress(part) for _ in range(count >> 20)) + squeeze.flush()


def with_exif(orientation: int | bytes, pixels: np.ndarray) -> bytes:
    if isinstance(orientation, bytes):
        return encode(pixels, "JPEG", quality=95, exif=b"Exif\0\0" + orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(pixels, "JPEG", quality=95, exif=exif)


def tiff_loop() -> bytes:
    """EXIF data whose directory names itself as the next one."""
    entry = struct.pack("<HHII", 0x0112, 3, 1, 1)
    return b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8)


def matrix_profile(primaries: np.ndarray, gamma: float) -> bytes:
    """An ICC version 2 profile of an RGB display.

    Args:
        primaries: XYZ (D50) of red, green and blue, one a row.
        gamma: of all three channels.
    """

    def fixed(values: np.ndarray) -> bytes:
        return b"".join(struct.pack(">i", round(float(v) * 65536)) for v in values)

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(values)

    name = b"Wide\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    white = np.array([0.9642, 1.0, 0.8249])
    tags = {
        b"desc": description, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(white),
        b"rXYZ": xyz(primaries[0]), b"gXYZ": xyz(primaries[1]), b"bXYZ": xyz(primaries[2]),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        data += bytes(-len(data) % 4)
        table += tag + struct.pack(">II", place + len(body), len(data))
        body += data
    size = place + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(white)
    header = header.ljust(128, b"\0")
    return header + struct.pack(">I", len(tags)) + table + body
