"""What decoders say: damage is refused, damaged metadata is a note, and nothing is printed."""

import io
import random
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from skinxai import read_image, samples
from skinxai.errors import ImageDecodeError, SkinxaiError, UnsupportedImageError
from skinxai.images.decoder_reports import reports

PHOTO = Image.open(samples.paths()[0]).convert("RGB").resize((120, 90))
NOTE = "metadata: damaged in part, what cannot be read is ignored"
COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "lzma", "zstd"]


def saved(format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    PHOTO.convert(mode).save(buffer, format, **options)
    return buffer.getvalue()


def tag_changed(data: bytes, tag: int, *, count: int | None = None, value: int | None = None):
    """A little-endian TIFF with another count or value of one tag."""
    changed = bytearray(data)
    first = int.from_bytes(data[4:8], "little")
    for number in range(int.from_bytes(data[first : first + 2], "little")):
        entry = first + 2 + 12 * number
        if int.from_bytes(data[entry : entry + 2], "little") == tag:
            for place, new in ((4, count), (8, value)):
                if new is not None:
                    changed[entry + place : entry + place + 4] = new.to_bytes(4, "little")
            return bytes(changed)
    raise LookupError(tag)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


def first_strip(data: bytes) -> tuple[int, int]:
    with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
        return image.tag_v2[273][0], image.tag_v2[279][0]


DESCRIBED = saved("TIFF", compression="tiff_lzw", description="of nothing" * 9)
DAMAGED_METADATA = {
    "EXIF of a JPEG": saved("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0" + bytes(20)),
    "animation of a PNG": saved("PNG")[:33] + chunk(b"acTL", bytes(8)) + saved("PNG")[33:],
    "a TIFF tag that is too long": tag_changed(DESCRIBED, 270, count=10**6),
}


@pytest.mark.parametrize("kind", DAMAGED_METADATA)
def test_damaged_metadata_is_a_note_even_where_warnings_are_errors(kind: str, capfd) -> None:
    data = DAMAGED_METADATA[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_image(data)
        opened = read_image(Image.open(io.BytesIO(saved("PNG"))))
    assert found.warnings == (NOTE,) and opened.warnings == ()
    assert capfd.readouterr().err == ""


def test_a_palette_with_transparency_is_read_without_a_word(capfd) -> None:
    data = saved("PNG", "P", transparency=bytes(range(16)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert NOTE not in read_image(data).warnings
    assert capfd.readouterr().err == ""


def test_what_others_read_warns_as_before(capfd) -> None:
    read_image(saved("PNG"))
    with pytest.warns(UserWarning, match="Tag data larger than file"):
        TiffImagePlugin.TiffImageFile(io.BytesIO(DAMAGED_METADATA["a TIFF tag that is too long"]))
    damaged = bytearray(saved("TIFF", compression="tiff_lzw"))
    place, count = first_strip(bytes(damaged))
    damaged[place + 50 : place + count] = bytes([255]) * (count - 50)
    with pytest.raises(OSError), TiffImagePlugin.TiffImageFile(io.BytesIO(damaged)) as image:
        image.load()
    assert "not yet in table" in capfd.readouterr().err  # libtiff's own line
    with pytest.raises(ImageDecodeError, match="libtiff says"):
        read_image(bytes(damaged))
    assert capfd.readouterr().err == ""


def test_errors_that_pillow_logs_are_not_shown(caplog) -> None:
    with pytest.raises(ImageDecodeError):
        read_image(tag_changed(DESCRIBED, 277, value=2048))
    assert not caplog.records


def test_reports_belong_to_their_thread() -> None:
    data = DAMAGED_METADATA["a TIFF tag that is too long"]
    raised: list[str] = []

    def elsewhere() -> None:
        try:
            TiffImagePlugin.TiffImageFile(io.BytesIO(data))
        except UserWarning as warning:
            raised.append(str(warning))

    with reports() as said:  # the tests make warnings errors
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(raised) == 1 and said.metadata == []
        TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    assert set(said.metadata) == set(raised)


@pytest.mark.parametrize("name", ["group3", "group4", "tiff_ccitt"])
def test_fax_compressions_are_refused(name: str, capfd) -> None:
    data = saved("TIFF", "1", compression=name)
    for each in (data, data[:30] + bytes(60) + data[90:]):
        with pytest.raises(UnsupportedImageError, match=r"got (fax G[34]|CCITT fax); save it as"):
            read_image(each)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("number", [6, 32809, 34676, 50001])
def test_other_compressions_of_a_tiff_are_refused(number: int) -> None:
    data = tag_changed(saved("TIFF", compression="tiff_lzw"), 259, value=number)
    with pytest.raises(SkinxaiError):
        read_image(data)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_whole_tiffs_are_read_as_pillow_reads_them(name: str) -> None:
    for options in ({}, {"tiffinfo": {278: 16}}):  # rows of a strip
        data = saved("TIFF", compression=name, **options)
        expected = np.asarray(Image.open(io.BytesIO(data)))
        found = read_image(data)
        np.testing.assert_array_equal(found.pixels, expected)
        assert found.warnings == ()


@pytest.mark.parametrize("name", ["tiff_adobe_deflate", "tiff_deflate", "lzma", "jpeg"])
def test_damage_that_leaves_no_gap_in_a_strip_is_refused(name: str, capfd) -> None:
    data, draws = saved("TIFF", compression=name), random.Random(0)
    place, count = first_strip(data)
    kept = 0
    length = 300 if name == "jpeg" else 20  # libjpeg does not see all short damage
    for _ in range(60):
        start, damaged = place + draws.randrange(count // 3, count - length), bytearray(data)
        damaged[start : start + length] = draws.randbytes(length)
        try:
            read_image(bytes(damaged))
            kept += 1
        except ImageDecodeError:
            continue
    assert kept <= (5 if name == "jpeg" else 0)
    assert capfd.readouterr().err == ""


def test_the_checksum_of_deflated_pixels_is_checked() -> None:
    data = saved("TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 30})
    with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
        places = list(zip(image.tag_v2[273], image.tag_v2[279], strict=True))
    assert len(places) == 3
    for start, count in places:
        zlib.decompress(data[start : start + count])
        end = start + count
        with pytest.raises(ImageDecodeError, match="incorrect data check"):
            read_image(data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:])


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("tag", [273, 279])
def test_strips_that_are_not_there_are_refused(name: str, tag: int, capfd) -> None:
    data = saved("TIFF", compression=name)
    with TiffImagePlugin.TiffImageFile(io.BytesIO(data)) as image:
        several = len(image.tag_v2[273]) > 1
    for value in (0, 10**7) if tag == 279 else (10**7,):
        if several:  # the tag leads to a list
            first = int.from_bytes(data[4:8], "little")
            entry = next(e for e in range(first + 2, len(data), 12)
                         if int.from_bytes(data[e : e + 2], "little") == tag)  # fmt: skip
            place = int.from_bytes(data[entry + 8 : entry + 12], "little")
            size = 2 if data[entry + 2] == 3 else 4
            new = min(value, 65535) if size == 2 else value
            changed = data[:place] + new.to_bytes(size, "little") + data[place + size :]
        else:
            changed = tag_changed(data, tag, value=value)
        with pytest.raises(ImageDecodeError):
            read_image(changed)
    assert capfd.readouterr().err == ""


CUT = {
    "PNG": saved("PNG"), "WebP": saved("WEBP"), "lossless WebP": saved("WEBP", lossless=True),
    "BMP": saved("BMP"), "GIF": saved("GIF", "P"), "PNG with a palette": saved("PNG", "P"),
} | {f"TIFF, {name}": saved("TIFF", compression=name) for name in COMPRESSIONS}  # fmt: skip


@pytest.mark.parametrize("kind", CUT)
def test_cut_files_of_all_formats_are_refused(kind: str, capfd) -> None:
    data = CUT[kind]
    read_image(data)
    ends = {20, 60, len(data) // 4, len(data) // 2, 9 * len(data) // 10, len(data) - 20}
    for end in ends:
        with pytest.raises(SkinxaiError) as found:
            read_image(data[:end])
        assert isinstance(found.value, ImageDecodeError), (end, found.value)
    assert capfd.readouterr().err == ""


def test_png_chunks_with_a_wrong_checksum_are_refused() -> None:
    data = CUT["PNG"]
    place = data.index(b"IDAT") + 4
    for changed in (place, place + 500, data.index(b"IEND") - 5):
        with pytest.raises(ImageDecodeError, match="has a bad checksum"):
            read_image(data[:changed] + bytes([data[changed] ^ 1]) + data[changed + 1 :])
