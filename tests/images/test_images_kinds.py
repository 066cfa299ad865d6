"""Colour profiles, sizes and checks of files that other tests do not tell apart."""

import io
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from picture_files import chunk, encode, gradient, matrix_profile
from PIL import Image, ImageCms, ImageOps

from skinxai import read_image
from skinxai.configs import PreprocessConfig
from skinxai.errors import (
    ImageDecodeError,
    ImageTooLargeError,
    InputError,
    InputRangeError,
    UnsupportedImageError,
)
from skinxai.images import rgb
from skinxai.images.formats import sniff
from skinxai.images.transforms import resize

PIXELS = gradient()


def grey_ink_profile() -> bytes:
    """An ICC profile of CMYK in which the fourth ink alone makes grey, and the others nothing."""
    corners = bytes([255, 128, 128, 0, 128, 128]) * 8  # Lab; the last ink varies fastest
    ramp, name = bytes(range(256)), b"Grey\0"
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    table += b"".join(struct.pack(">i", 65536 * one) for one in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    table += 4 * ramp + corners + 3 * ramp
    white = struct.pack(">iii", 63190, 65536, 54061)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + white, b"A2B0": table,
    }  # fmt: skip
    directory, body, place = b"", b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        directory += tag + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s", place + len(body), b"", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    header = (header + bytes(12) + b"acsp" + bytes(28) + white).ljust(128, b"\0")
    return header + struct.pack(">I", len(tags)) + directory + body


def test_grey_that_is_multiplied_by_its_opacity_is_read_as_grey_and_opacity() -> None:
    grey = Image.fromarray(PIXELS).convert("LA")
    grey.putalpha(128)
    multiplied = grey.convert("La")
    expected = read_image(multiplied.convert("LA"))
    found = read_image(multiplied)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.warnings == expected.warnings != ()


def test_a_mode_without_a_meaning_in_rgb_is_named_with_a_remedy() -> None:
    with pytest.raises(UnsupportedImageError, match=r"got 'RGBX'; convert it to 'RGB' with its co"):
        read_image(Image.new("RGBX", (64, 48)))
    assert read_image(Image.new("RGBX", (64, 48)).convert("RGB")).pixels.shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (pd.Series(["a.png", "b.png"]), r"got Series; for several images pass its values as a "),
        (pd.DataFrame({"image": ["a.png"]}), r"got DataFrame; .* those of one of its columns as a"),
        (
            np.array(["a.png", "b.png"]),
            r"got \(2,\); for an array of images or paths pass arr",
        ),
        (np.array([Path("a.png")]), r"got \(1,\); for an array of images or paths pass arr"),
        (3, r"got int; convert it to one of them\.$"),
    ],
)
def test_what_holds_several_images_is_named_with_a_remedy(given, words) -> None:
    with pytest.raises(InputError, match=words):
        read_image(given)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_srgb_profiles_change_no_bit_and_are_not_noted(format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = read_image(encode(PIXELS, format, icc_profile=profile))
    np.testing.assert_array_equal(found.pixels, read_image(encode(PIXELS, format)).pixels)
    assert found.warnings == ()


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk_is_converted_by_its_profile(format: str) -> None:
    inks = Image.new("CMYK", (40, 40), (200, 100, 50, 0))
    found = read_image(encode(inks, format, icc_profile=grey_ink_profile()))
    assert found.pixels.min() >= 253  # the plain formula gives (55, 155, 205)
    assert found.warnings == ("colour_profile: converted to sRGB",)


def test_fill_bytes_before_any_marker_of_a_jpeg_are_skipped() -> None:
    data = encode(PIXELS, "JPEG", quality=90)
    expected = read_image(data).pixels
    for marker in (b"\xff\xe0", b"\xff\xdb", b"\xff\xc0", b"\xff\xda", b"\xff\xd9"):
        filled = data.replace(marker, b"\xff\xff" + marker, 1)
        np.testing.assert_array_equal(read_image(filled).pixels, expected)


def test_fill_bytes_before_a_restart_within_a_scan_are_skipped() -> None:
    data = encode(PIXELS, "JPEG", quality=90, restart_marker_blocks=2)
    assert b"\xff\xd0" in data
    filled = data.replace(b"\xff\xd0", b"\xff\xff\xff\xd0")
    np.testing.assert_array_equal(read_image(filled).pixels, read_image(data).pixels)


@pytest.mark.parametrize("zeros", [1, 40])
@pytest.mark.parametrize("fill", [0, 1, 3])
def test_zeros_and_fill_bytes_before_the_end_of_a_jpeg_are_skipped(zeros: int, fill: int) -> None:
    data = encode(PIXELS, "JPEG", quality=90)
    padded = data[:-2] + bytes(zeros) + b"\xff" * fill + data[-2:]
    np.testing.assert_array_equal(read_image(padded).pixels, read_image(data).pixels)


def test_the_checksum_of_every_png_chunk_is_checked() -> None:
    data, text = encode(PIXELS), chunk(b"tEXt", b"a\0b")
    np.testing.assert_array_equal(read_image(data[:33] + text + data[33:]).pixels, PIXELS)
    wrong = text[:-1] + bytes([text[-1] ^ 1])
    with pytest.raises(ImageDecodeError, match=r"tEXt.*bad checksum"):
        read_image(data[:33] + wrong + data[33:])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_floating_tiffs_without_a_range_say_where_they_are_not_finite(bad: float) -> None:
    values = np.ones((40, 50), np.float32)
    values[7, 9] = bad
    with pytest.raises(InputRangeError, match=rf"finite, got {bad} at index \(7, 9\)"):
        read_image(encode(Image.fromarray(values), "TIFF"))


def test_encoded_bytes_in_memory_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(PIXELS)
    monkeypatch.setattr("skinxai.images.limits.MAX_BYTES", len(data))
    np.testing.assert_array_equal(read_image(data).pixels, PIXELS)
    monkeypatch.setattr("skinxai.images.limits.MAX_BYTES", len(data) - 1)
    with pytest.raises(ImageTooLargeError, match=f"got {len(data)}"):
        read_image(data)
    monkeypatch.setattr("skinxai.images.decoding.MAX_BYTES", len(data) - 1)
    with Image.open(io.BytesIO(data)) as image, pytest.raises(ImageTooLargeError):
        read_image(image)


@pytest.mark.parametrize(("most", "noted"), [(4095, True), (4096, False)])
def test_twelve_bits_in_sixteen_are_noted(most: int, noted: bool) -> None:
    values = np.full((40, 40), most, np.uint16)
    found = read_image(encode(Image.fromarray(values), "TIFF"))
    assert [note.partition(":")[0] for note in found.warnings] == ["dark"] * noted


def test_mpo_as_a_pil_image_equals_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.mpo"
    second = Image.fromarray(255 - PIXELS)
    path.write_bytes(encode(Image.fromarray(PIXELS), "MPO", save_all=True, append_images=[second]))
    expected = read_image(path)
    for loaded in (False, True):
        with Image.open(path) as image:
            if loaded:
                image.load()
            found = read_image(image)
        np.testing.assert_array_equal(found.pixels, expected.pixels)
        assert found.warnings == expected.warnings


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_large_images_are_resized_without_an_approximation(interpolation: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8)
    config = PreprocessConfig(image_size=(224, 224), interpolation=interpolation)
    expected = Image.fromarray(noise).resize(
        (224, 224), getattr(Image.Resampling, interpolation.upper())
    )
    np.testing.assert_array_equal(resize(noise, config), np.asarray(expected))


def test_profiles_are_used_whatever_the_mode_of_the_file() -> None:
    swapped = np.array([[0.385, 0.717, 0.097], [0.436, 0.222, 0.014], [0.143, 0.061, 0.714]])
    profile = matrix_profile(swapped, 2.2)  # red and green primaries exchanged
    few = np.asarray(Image.fromarray(PIXELS).quantize(64).convert("RGB"))
    plain = read_image(encode(few, icc_profile=profile))
    assert np.abs(plain.pixels.astype(int) - few).mean() > 5
    opaque = np.dstack([few, np.full(few.shape[:2], 255, np.uint8)])
    buffer = io.BytesIO()
    Image.fromarray(few).quantize(64).save(buffer, "PNG", icc_profile=profile)
    for data in (encode(opaque, icc_profile=profile), buffer.getvalue()):
        found = read_image(data)
        np.testing.assert_array_equal(found.pixels, plain.pixels)
        assert found.warnings == ("colour_profile: converted to sRGB",)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("PDF", b"%PDF-1.7"), ("EPS or PostScript", b"%!PS-Adobe"), ("EPS", b"\xc5\xd0\xd3\xc6"),
        ("PSD", b"8BPS"), ("FITS", b"SIMPLE  ="), ("DICOM", 128 * b"\0" + b"DICM"),
        ("JPEG 2000", b"\0\0\0\x0cjP  "), ("JPEG 2000", b"\xff\x4f\xff\x51"),
        ("HEIC or AVIF", b"\0\0\0\x18ftypheic"), ("ICNS", b"icns"), ("McIdas", 7 * b"\0" + b"\4"),
        ("ZIP", b"PK\3\4"), ("gzip", b"\x1f\x8b"), ("ELF", b"\x7fELF"), ("SVG", b"<svg "),
        ("HTML", b"\n<!DOCTYPE html>"), ("XML", b"<?xml version='1.0'?>"), ("JSON", b'{"a": 1}'),
        ("SVG", b"<?xml version='1.0'?><svg/>"),
    ],
)  # fmt: skip
def test_files_of_other_kinds_are_named(name: str, start: bytes) -> None:
    assert sniff(start + b"\xff\xfe" * 8) == name
    assert sniff(b"\x01" + start + b"\xff\xfe" * 8) != name


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "CMYK"])
def test_images_converted_in_bands_have_the_same_bits_and_notes(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    image = Image.fromarray(rng.integers(0, 256, (101, 64, 4), np.uint8), "RGBA").convert(mode)
    whole = read_image(image)
    monkeypatch.setattr(rgb, "BAND", 7)
    again = read_image(image)
    np.testing.assert_array_equal(again.pixels, whole.pixels)
    assert again.warnings == whole.warnings
    assert len(whole.warnings) == (mode not in ("RGB", "L"))


@pytest.mark.parametrize("rows", [1, 2])
def test_transparency_is_measured_over_all_bands(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rgb, "BAND", 10)
    rgba = np.full((100, 40, 4), 255, np.uint8)
    rgba[-rows:, :, 3] = 0  # in the last band alone: 1 % of the pixels is no more than 1 %
    notes = read_image(Image.fromarray(rgba, "RGBA")).warnings
    assert [note.partition(":")[0] for note in notes] == (rows - 1) * ["transparent"]


@pytest.mark.parametrize("value", range(1, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(value: int) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = value
    Image.fromarray(pixels).save(buffer, "PNG", exif=exif)
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(buffer.getvalue()).pixels, expected)
