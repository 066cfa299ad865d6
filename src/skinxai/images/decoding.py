"""Encoded bytes and Pillow images to RGB uint8, upright. One way for everybody."""

import io
import zlib
from typing import Any

from PIL import Image

from skinxai.errors import ImageDecodeError, InputRangeError, SkinxaiError
from skinxai.images.decoder_reports import Reports, reports
from skinxai.images.formats import PNG_START, READERS, reader_of
from skinxai.images.jpegs import check_jpeg, decode_jpeg
from skinxai.images.limits import MAX_BYTES, check_bytes, check_size
from skinxai.images.rgb import DARK, RGB, SEVERAL_PICTURES, image_to_rgb
from skinxai.images.tiffs import check_tiff

DAMAGED_METADATA = "metadata: damaged in part, what cannot be read is ignored"
_LAZY = tuple({reader for *_, reader in READERS})


def decode(
    data: bytes,
    *,
    value_range: tuple[float, float] | None,
    max_pixels: int,
    min_side: int,
) -> tuple[RGB, str, tuple[str, ...]]:
    """Encoded image to RGB uint8 ``(H, W, 3)``, its format, and notes.

    Raises:
        ImageDecodeError: empty, truncated or damaged data.
        UnsupportedImageError: another format, or several frames.
        InputRangeError: values outside ``value_range``, or one that cannot be applied.
        ImageTooLargeError, ImageTooSmallError: by the header, before decoding.
    """
    check_bytes(len(data))
    if not data:
        raise ImageDecodeError("image must hold data, got an empty file.")
    name, reader = reader_of(data)
    if name == "JPEG":
        check_jpeg(data)
    elif name == "PNG":
        _check_png_chunks(data)
    try:
        with reports() as said, reader(io.BytesIO(data)) as image:
            check_size(*image.size, max_pixels=max_pixels, min_side=min_side)
            if name == "TIFF":
                check_tiff(data, image)
            decoded = decode_jpeg(data, image) if name == "JPEG" else None
            pixels, notes = image_to_rgb(image, value_range, decoded)
    except SkinxaiError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        _checked(said, ())  # libtiff says more than Pillow
        raise ImageDecodeError(
            f"{name} image must be whole and of a kind that can be decoded: "
            f"{type(error).__name__}: {error}; save it anew, or get another copy."
        ) from error
    notes = _checked(said, notes)
    if _has_16_bits(data, name, image):  # of which Pillow gives the high bytes
        if value_range is not None and tuple(value_range) != (0, 65535):
            raise InputRangeError(
                f"value_range must be left out for colours of 16 bits a channel, which are read as "
                f"0 to 65535, got {value_range!r}; pass the image as an array."
            )
        notes = (*notes, DARK) if pixels.max() <= 4095 // 256 else notes
    if name == "JPEG" and b"MPF\0" in data[:65536]:
        notes = (*notes, SEVERAL_PICTURES)
    return pixels, name, notes


def _has_16_bits(data: bytes, name: str, image: Any) -> bool:
    """Whether a file has colours of 16 bits, which Pillow makes 8 of."""
    if name == "PNG":
        return bool(image.mode != "I;16" and data[24] == 16)
    colours = name == "TIFF" and image.mode in ("RGB", "RGBA")
    return bool(colours and image.tag_v2.get(258, (8,))[0] == 16)


def decode_opened(
    image: Image.Image, value_range: tuple[float, float] | None, max_pixels: int, min_side: int
) -> tuple[RGB, str | None, tuple[str, ...]]:
    """`decode` of a Pillow image: from its file where that is at hand, so that both give the same.

    A loaded image is taken as it is: its pixels may have been changed.

    Raises:
        ImageDecodeError: a closed image, or as `decode`.
    """
    check_size(*image.size, max_pixels=max_pixels, min_side=min_side)
    data = _unread(image)
    if data is not None:
        return decode(data, value_range=value_range, max_pixels=max_pixels, min_side=min_side)
    try:
        with reports() as said:
            pixels, notes = image_to_rgb(image, value_range)
    except SkinxaiError:
        raise
    except Exception as error:  # Pillow raises many kinds
        what = f"reading it gave {type(error).__name__}: {error}".rstrip(": ")
        what = "its file is closed" if getattr(image, "fp", None) is None else what
        raise ImageDecodeError(
            f"PIL image must be whole and its file open until it is loaded; {what}. Open it again."
        ) from error
    return pixels, image.format, _checked(said, notes)


def _checked(said: Reports, notes: tuple[str, ...]) -> tuple[str, ...]:
    """Notes, and one more where metadata is damaged.

    Raises:
        ImageDecodeError: libtiff says that pixels are wrong or missing.
    """
    if said.damage:
        raise ImageDecodeError(
            f"TIFF image is damaged: libtiff says {said.damage[0]!r}; get another copy."
        )
    return (*notes, DAMAGED_METADATA) if said.metadata else notes


def _unread(image: Image.Image) -> bytes | None:
    """The file of an image that is not loaded, where it can be read and is the image's own."""
    file = getattr(image, "fp", None)
    if not isinstance(image, _LAZY) or not image.tile or file is None:
        return None  # made by a program, loaded or closed
    if getattr(image, "decoderconfig", None) or image.tell() != 0:
        return None  # a smaller draft, or another picture of the file
    try:
        place = file.tell()
        file.seek(0)
        data = file.read(MAX_BYTES + 1)
        file.seek(place)
    except (OSError, ValueError, AttributeError):  # ValueError: closed
        return None
    return bytes(data)


def _check_png_chunks(data: bytes) -> None:
    """Check every chunk's checksum up to the end chunk; Pillow skips some, and a missing end."""
    place = len(PNG_START)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 8 + length
        kind = data[place + 4 : place + 8]
        if zlib.crc32(data[place + 4 : end]).to_bytes(4, "big") != data[end : end + 4]:
            raise ImageDecodeError(f"PNG image is damaged: chunk {kind!r} has a bad checksum.")
        if kind == b"IEND":
            return
        place = end + 4
    raise ImageDecodeError("PNG image is truncated before its end chunk; get another copy.")
