"""Formats of images, told by their first bytes: those that are read, and those that are named."""

from typing import Any

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from skinxai.errors import UnsupportedImageError

PNG_START = b"\x89PNG\r\n\x1a\n"
# The formats that are read, each by Pillow's own class: Image.open() would warn about large
# images before our own cap can refuse them, and would try every registered format.
READERS: tuple[tuple[str, bytes, int, Any], ...] = (
    ("JPEG", b"\xff\xd8\xff", 0, JpegImagePlugin.JpegImageFile),
    ("PNG", PNG_START, 0, PngImagePlugin.PngImageFile),
    ("TIFF", b"II*\0", 0, TiffImagePlugin.TiffImageFile),
    ("TIFF", b"MM\0*", 0, TiffImagePlugin.TiffImageFile),
    ("TIFF", b"II+\0", 0, TiffImagePlugin.TiffImageFile),
    ("WEBP", b"WEBP", 8, WebPImagePlugin.WebPImageFile),
    ("GIF", b"GIF8", 0, GifImagePlugin.GifImageFile),
    ("BMP", b"BM", 0, BmpImagePlugin.BmpImageFile),
)
_FOREIGN = (
    ("PDF", b"%PDF", 0), ("EPS or PostScript", b"%!PS", 0), ("EPS", b"\xc5\xd0\xd3\xc6", 0),
    ("PSD", b"8BPS", 0), ("FITS", b"SIMPLE  =", 0), ("DICOM", b"DICM", 128),
    ("JPEG 2000", b"\0\0\0\x0cjP  ", 0), ("JPEG 2000", b"\xff\x4f\xff\x51", 0),
    ("HEIC or AVIF", b"ftyp", 4), ("ICNS", b"icns", 0), ("McIdas", b"\0\0\0\0\0\0\0\4", 0),
    ("ZIP", b"PK\3\4", 0), ("gzip", b"\x1f\x8b", 0), ("ELF", b"\x7fELF", 0),
)  # fmt: skip


def is_image(start: bytes) -> bool:
    """Whether a file begins as images do, of a format that is read or not; for texts False."""
    known = any(start[place : place + len(magic)] == magic for _, magic, place, _ in READERS)
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


def reader_of(data: bytes) -> tuple[str, Any]:
    """The format of encoded bytes, and Pillow's class that reads it.

    Raises:
        UnsupportedImageError: another format.
    """
    if data[128:132] == b"DICM":  # whatever comes before: a preamble may begin like a TIFF
        raise UnsupportedImageError(
            "image must be JPEG, PNG, TIFF, WebP, BMP or GIF, but its content is DICOM; convert it "
            "first."
        )
    for name, magic, offset, reader in READERS:
        if data[offset : offset + len(magic)] == magic:
            return name, reader
    content = sniff(data)
    table = ", or give a table of images with 'skinxai predict --manifest'"
    raise UnsupportedImageError(
        f"image must be JPEG, PNG, TIFF, WebP, BMP or GIF, but its content is {content}",
        python="convert it first",
        command=f"convert it first{table if content == 'text' else ''}",
    )
