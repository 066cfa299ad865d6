"""Encoded bytes and Pillow images to RGB uint8, upright. One way for everybody."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from skinxai.errors import ImageDecodeError, InputRangeError, SkinxaiError, UnsupportedImageError
from skinxai.images.arrays import on_white, to_uint8
from skinxai.images.colour_profiles import in_srgb, lab_in_srgb
from skinxai.images.decoder_reports import Reports, reports
from skinxai.images.jpegs import check_jpeg, decode_jpeg
from skinxai.images.limits import MAX_BYTES, check_bytes, check_size
from skinxai.images.tiffs import check_meaning, check_tiff
from skinxai.results.drawing import MARK

RGB = npt.NDArray[np.uint8]
ORIENTATION = 0x0112
BAND = 256
"""Rows that are converted at a time: a copy of a large image would take as much memory again."""
DAMAGED_METADATA = "metadata: damaged in part, what cannot be read is ignored"
DARK = "dark: 16 bits a pixel, but no value above 4095; were they 12 bits?"
SEVERAL_PICTURES = "several_pictures: the primary picture of an MPO file was read"
PNG_START = b"\x89PNG\r\n\x1a\n"
_TURNS: dict[int, Callable[[RGB], RGB]] = {  # views: nothing is copied
    2: np.fliplr,
    3: lambda pixels: pixels[::-1, ::-1],
    4: np.flipud,
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}
# The formats that are read, each by Pillow's own class: Image.open() would warn about large
# images before our own cap can refuse them, and would try every registered format.
_READERS: tuple[tuple[str, bytes, int, Any], ...] = (
    ("JPEG", b"\xff\xd8\xff", 0, JpegImagePlugin.JpegImageFile),
    ("PNG", PNG_START, 0, PngImagePlugin.PngImageFile),
    ("TIFF", b"II*\0", 0, TiffImagePlugin.TiffImageFile),
    ("TIFF", b"MM\0*", 0, TiffImagePlugin.TiffImageFile),
    ("TIFF", b"II+\0", 0, TiffImagePlugin.TiffImageFile),
    ("WEBP", b"WEBP", 8, WebPImagePlugin.WebPImageFile),
    ("GIF", b"GIF8", 0, GifImagePlugin.GifImageFile),
    ("BMP", b"BM", 0, BmpImagePlugin.BmpImageFile),
)
_LAZY = tuple({reader for *_, reader in _READERS})
_FOREIGN = (
    ("PDF", b"%PDF", 0), ("EPS or PostScript", b"%!PS", 0), ("EPS", b"\xc5\xd0\xd3\xc6", 0),
    ("PSD", b"8BPS", 0), ("FITS", b"SIMPLE  =", 0), ("DICOM", b"DICM", 128),
    ("JPEG 2000", b"\0\0\0\x0cjP  ", 0), ("JPEG 2000", b"\xff\x4f\xff\x51", 0),
    ("HEIC or AVIF", b"ftyp", 4), ("ICNS", b"icns", 0), ("McIdas", b"\0\0\0\0\0\0\0\4", 0),
    ("ZIP", b"PK\3\4", 0), ("gzip", b"\x1f\x8b", 0), ("ELF", b"\x7fELF", 0),
)  # fmt: skip


def is_image(start: bytes) -> bool:
    """Whether a file begins as images do, of a format that is read or not; for texts False."""
    known = any(start[place : place + len(magic)] == magic for _, magic, place, _ in _READERS)
    known = known or sniff(start) in ("DICOM", "HEIC or AVIF", "JPEG 2000", "PSD")
    return known and b"\0" in start


def sniff(data: bytes) -> str:
    """What kind of data this is, by its content."""
    for name, magic, offset in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            return name
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for name, start in (("SVG", b"<svg"), ("HTML", b"<!doctype html"), ("HTML", b"<html"),
                        ("XML", b"<?xml"), ("JSON", b"{"), ("JSON", b"[")):  # fmt: skip
        if text.startswith(start):
            return "SVG" if b"<svg" in text else name
    try:
        data[:512].decode()
    except UnicodeDecodeError:
        return "unknown"
    return "text"


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
    name, reader = _reader(data)
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
            pixels, notes = image_to_rgb(image, value_range, max_pixels, min_side, decoded)
    except SkinxaiError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        _checked(said, ())  # libtiff says more than Pillow
        raise ImageDecodeError(
            f"{name} image must be whole and of a kind that can be decoded: "
            f"{type(error).__name__}: {error}."
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
            pixels, notes = image_to_rgb(image, value_range, max_pixels, min_side)
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


def _reader(data: bytes) -> tuple[str, Any]:
    if data[128:132] == b"DICM":  # whatever comes before: a preamble may begin like a TIFF
        raise UnsupportedImageError(
            "image must be JPEG, PNG, TIFF, WebP, BMP or GIF, but its content is DICOM; convert it "
            "first."
        )
    for name, magic, offset, reader in _READERS:
        if data[offset : offset + len(magic)] == magic:
            return name, reader
    raise UnsupportedImageError(
        f"image must be JPEG, PNG, TIFF, WebP, BMP or GIF, but its content is {sniff(data)}; "
        f"convert it first."
    )


def image_to_rgb(
    image: Image.Image,
    value_range: tuple[float, float] | None,
    max_pixels: int,
    min_side: int,
    decoded: RGB | None = None,
) -> tuple[RGB, tuple[str, ...]]:
    """Pillow image to RGB uint8 ``(H, W, 3)``, upright, and notes; the image is not changed.

    Args:
        image: open or loaded.
        value_range: see `decode`, as are ``max_pixels`` and ``min_side``.
        max_pixels: the largest area.
        min_side: the shortest side.
        decoded: its pixels in its own mode, ``(H, W, channels)``, where they were read already.

    Raises:
        UnsupportedImageError: several frames, a colour mode that has no one meaning in RGB, or a
            picture that skinxai drew.
        ImageDecodeError: Pillow is set to accept truncated images.
    """
    check_size(*image.size, max_pixels=max_pixels, min_side=min_side)
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageDecodeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False, but it is True, so that missing "
            "parts would be filled with grey; set it back."
        )
    if any(str(name).partition(":")[0] == MARK for name in image.info):
        raise UnsupportedImageError(
            "image must be a photograph, but a mark in this one says that it is an overlay or a "
            "sheet which skinxai drew; pass the photograph that it was drawn from."
        )
    if (tags := getattr(image, "tag_v2", None)) is not None:
        check_meaning(tags)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and not (image.format == "MPO" and image.tell() == 0):
        raise UnsupportedImageError(
            f"image must be a single picture, got {frames} frames or pages; save the one that is "
            f"meant."
        )
    if decoded is None:
        image.load()
    notes: list[str] = [SEVERAL_PICTURES] if frames > 1 else []
    turn = _orientation(image, notes)
    if decoded is None:
        pixels = _to_pixels(image, value_range, notes)
    elif image.mode == "RGB" and not image.info.get("icc_profile"):
        pixels = decoded  # without a way through Pillow, which copies them three times
    else:
        whole = Image.frombuffer(image.mode, image.size, decoded, "raw", image.mode, 0, 1)
        whole.info = image.info
        pixels = _to_pixels(whole, value_range, notes)
    if turn is not None:
        notes.append("turned: upright by the EXIF orientation of the file")
        pixels = turn(pixels)
    return np.ascontiguousarray(pixels), tuple(notes)


def _orientation(image: Image.Image, notes: list[str]) -> Callable[[RGB], RGB] | None:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF says nothing about the pixels
        value = None
    if value not in range(1, 9):
        notes.append(f"orientation: EXIF orientation {value!r} is not 1 to 8, taken as 1")
    return _TURNS.get(value) if isinstance(value, int) else None


def _to_pixels(
    image: Image.Image, value_range: tuple[float, float] | None, notes: list[str]
) -> RGB:
    mode = image.mode
    if mode.startswith("I;16") and value_range is None:
        wide = np.asarray(image).astype(np.uint32)
        if wide.max() <= 4095:
            notes.append(DARK)
        wide += 128
        wide //= 257  # 65535 / 255 = 257: scaled, not clipped
        return np.repeat(wide.astype(np.uint8)[..., None], 3, axis=2)
    if mode in ("I", "F") or mode.startswith("I;16"):
        values = np.asarray(image)
        if value_range is None:
            if not np.isfinite(values).all():
                to_uint8(np.where(np.isfinite(values), 0.0, values), None)  # which says where
            raise InputRangeError(
                f"image of 32 bits a pixel must come with value_range=(low, high); its values are "
                f"{values.min():g} to {values.max():g}."
            )
        return np.repeat(to_uint8(values, value_range)[..., None], 3, axis=2)
    found: dict[str, None] = {}  # notes of all bands, each once
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    clear = 0
    for top in range(0, image.height, BAND):
        band = image.crop((0, top, image.width, min(top + BAND, image.height)))
        colours, alpha = _colours(band, found)
        if alpha is not None:
            clear += int((alpha < 255).sum())
            colours = on_white(np.dstack([colours, alpha]))
        pixels[top : top + BAND] = colours
    notes += found
    if clear / (image.width * image.height) > 0.01:
        notes.append("transparent: more than 1 % of the pixels, composited on white")
    return pixels


def _colours(image: Image.Image, notes: dict[str, None]) -> tuple[RGB, RGB | None]:
    """Colours ``(H, W, 3)``, and opacity ``(H, W)`` where the image has one."""
    mode = image.mode
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        return np.asarray(in_srgb(whole.convert("RGB"), notes)), np.asarray(whole)[..., 3]
    if mode == "1":
        notes["black_and_white: an image of 1 bit a pixel is not a photograph"] = None
    if mode == "LAB":
        return np.asarray(lab_in_srgb(image)), None
    if mode == "P":
        image = image.convert("RGB")
    if image.mode in ("RGB", "CMYK"):
        image = in_srgb(image, notes)
    if mode == "CMYK" and not image.info.get("icc_profile"):
        notes["colour_profile: CMYK without one, converted by the plain formula"] = None
    if image.mode not in ("RGB", "L", "P", "1", "CMYK", "YCbCr", "HSV"):
        raise UnsupportedImageError(f"image must have a known colour mode, got {image.mode!r}.")
    return np.asarray(image.convert("RGB")), None


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
