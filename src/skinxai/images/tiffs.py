"""TIFF data that libtiff and Pillow would decode wrongly without a word.

libtiff stops reading a strip when it has all pixels, before the checksum that follows them, and
Pillow silences the warnings of the JPEG decoder within it. Fax codecs fill damaged lines.
"""

import zlib
from typing import Any

import simplejpeg

from skinxai.errors import ImageDecodeError, UnsupportedImageError
from skinxai.images.jpegs import check_jpeg, refuse_warnings

_BITS, _COMPRESSION, _MEANING, _FILL_ORDER = 258, 259, 262, 266
_PLANES, _SAMPLES, _JPEG_TABLES = 284, 339, 347
_PLACES = ((273, 279), (324, 325))  # offsets and byte counts of strips, of tiles
_JPEG, _DEFLATE = 7, (8, 32946)
_KNOWN = (1, 5, _JPEG, *_DEFLATE, 32773, 34925, 50000)
_NAMES = {2: "CCITT fax", 3: "fax G3", 4: "fax G4", 6: "old JPEG", 32771: "CCITT fax"}
_PIECE = 2**20


def check_tiff(data: bytes, image: Any) -> None:
    """Check that all strips or tiles are there, and those of deflate and JPEG for damage.

    Args:
        data: of the file.
        image: the file as Pillow opened it, not loaded.

    Raises:
        UnsupportedImageError: a compression that cannot be checked, of fax for example.
        ImageDecodeError: strips that are missing or damaged.
    """
    tags = image.tag_v2
    compression = tags.get(_COMPRESSION, 1)
    if compression not in _KNOWN:
        raise UnsupportedImageError(
            f"TIFF image must be uncompressed or compressed by LZW, deflate, JPEG, PackBits, LZMA "
            f"or Zstandard, got {_NAMES.get(compression, f'compression {compression}')}; save it "
            f"as PNG."
        )
    tables = tags.get(_JPEG_TABLES, b"")
    left = 16 * image.width * image.height + 64 * _PIECE  # bytes that all strips may hold
    for offsets, counts in _PLACES:
        for start, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False):
            strip = data[start : start + count]
            if len(strip) < count or not count:
                raise ImageDecodeError(
                    f"TIFF image is damaged: {count} bytes of pixels at byte {start} are not all "
                    f"there."
                )
            if compression in _DEFLATE and tags.get(_FILL_ORDER, 1) == 1:
                left -= _inflate(strip, left)
            elif compression == _JPEG:
                _check_strip(b"\xff\xd8" + bytes(tables[2:-2]) + strip[2:], image)


def check_meaning(tags: Any) -> None:
    """Refuse numbers that Pillow takes for other ones than they are.

    It shows 16 and 32 bits a pixel with black and white exchanged where 0 is white, takes negative
    numbers of 8 bits for bright ones, and mixes up the bytes of 16 bits whose colours lie in planes
    one after the other, uncompressed.

    Raises:
        UnsupportedImageError: one of these.
    """
    bits = max(tags.get(_BITS, (1,)))
    plain = tags.get(_COMPRESSION, 1) == 1
    wrong = ""
    if bits > 8 and tags.get(_MEANING) == 0:
        wrong = f"have 0 as black, but in this one of {bits} bits it is white"
    elif bits <= 8 and set(tags.get(_SAMPLES, (1,))) == {2}:
        wrong = f"have numbers without a sign, but in this one {bits} bits have one"
    elif bits > 8 and plain and tags.get(_PLANES, 1) == 2 and len(tags.get(_BITS, (1,))) > 1:
        wrong = (
            f"have the colours of a pixel together, but in this one of {bits} bits they lie apart"
        )
    if wrong:
        raise UnsupportedImageError(f"TIFF image must {wrong}; save it as PNG.")


def _inflate(strip: bytes, most: int) -> int:
    """How many bytes a strip holds, whose checksum is right."""
    stream, size = zlib.decompressobj(), 0
    try:
        while not stream.eof and strip and size <= most:
            size += len(stream.decompress(strip, _PIECE))
            strip = stream.unconsumed_tail
        size += len(stream.flush()) if not stream.eof and size <= most else 0
    except zlib.error as error:
        raise _damaged(str(error)) from error
    if not stream.eof:
        raise _damaged("deflated pixels do not end where they must")
    return size


def _check_strip(stream: bytes, image: Any) -> None:
    check_jpeg(stream)
    height, width = simplejpeg.decode_jpeg_header(stream)[:2]
    if height * width > max(4 * image.width * image.height, 4 * _PIECE):
        raise _damaged(f"a strip has {width}×{height} pixels")
    refuse_warnings(stream)


def _damaged(what: str) -> ImageDecodeError:
    return ImageDecodeError(f"TIFF image is damaged: {what}; get another copy.")
