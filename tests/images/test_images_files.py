"""Files that are no plain RGB picture: each read rightly, or refused in one sentence."""

import io
import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from picture_files import (
    chunk,
    deflated_zeros,
    encode,
    gradient,
    matrix_profile,
    png_rgb16,
    tiff_loop,
    with_exif,
)
from PIL import Image, ImageCms, ImageFile
from refused_pictures import REFUSED

from skinxai import read_image, samples
from skinxai.errors import ImageDecodeError, InputPathError, InputRangeError

PIXELS = gradient()
JPEG = encode(PIXELS, "JPEG", quality=90)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spawn(*_: object, **__: object) -> None:
        raise AssertionError("reading an image started a program")

    monkeypatch.setattr(subprocess, "Popen", spawn)
    data, error, words = REFUSED[case]
    path = tmp_path / "lesion.jpg"
    path.write_bytes(data)
    for image in (path, data, io.BytesIO(data)):
        with pytest.raises(error, match=words) as caught:
            read_image(image)
        assert type(caught.value) is error
        assert not re.search(r"\w=", caught.value.on_command_line)  # a keyword of Python
    assert path.read_bytes() == data


@pytest.mark.parametrize("kind", ["folder", "fifo", "socket", "device"])
def test_no_regular_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path = Path("/dev/zero")
    with pytest.raises(InputPathError, match="not a regular file"):
        read_image(path)


def test_content_wins_over_the_name(tmp_path: Path) -> None:
    (tmp_path / "lesion.jpg").write_bytes(encode(PIXELS))
    found = read_image(tmp_path / "lesion.jpg")
    assert found.format == "PNG"
    np.testing.assert_array_equal(found.pixels, PIXELS)


@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_at_500_places(progressive: bool) -> None:
    whole = encode(PIXELS, "JPEG", quality=95, progressive=progressive)
    for length in np.linspace(3, len(whole) - 1, 500).astype(int):
        with pytest.raises(ImageDecodeError):
            read_image(whole[:length])


def test_truncated_within_the_end_marker() -> None:
    with Image.open(samples.paths()[0]) as photo:
        whole = encode(photo.convert("RGB"), "JPEG", quality=95)
    for cut in (1, 2):  # libjpeg has all it needs, and would add the marker without a word
        with pytest.raises(ImageDecodeError, match="truncated before its end marker"):
            read_image(whole[:-cut])


def test_pillows_switch_for_truncated_images_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageDecodeError, match="LOAD_TRUNCATED_IMAGES must be False"):
        read_image(JPEG)


def test_smallest_side_can_be_chosen() -> None:
    np.testing.assert_array_equal(read_image(encode(PIXELS[:7, :9]), min_side=7).pixels.shape[0], 7)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_inflates(kind: bytes, tmp_path: Path) -> None:
    middle = {b"zTXt": b"\0\0", b"iTXt": b"\0\1\0\0\0", b"iCCP": b"\0\0"}[kind]
    bomb = chunk(kind, b"key" + middle + deflated_zeros(1 << 30))
    start = encode(PIXELS)
    path = tmp_path / "bomb.png"
    path.write_bytes(start[:33] + bomb + start[33:])
    code = (
        "import resource, sys; from skinxai import read_image; from skinxai.errors import *\n"
        "from PIL import PngImagePlugin\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_image(sys.argv[1]); print('read')\n"
        "except ImageDecodeError: print('refused')\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    words = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert words[0] == "refused" and int(words[1]) < 100_000  # KiB


def test_mpo() -> None:
    second = Image.fromarray(255 - PIXELS)
    data = encode(Image.fromarray(PIXELS), "MPO", save_all=True, append_images=[second], quality=95)
    found = read_image(data)
    assert np.abs(found.pixels.astype(int) - PIXELS).mean() < 4
    assert any(note.startswith("several_pictures") for note in found.warnings)


TURNS = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a, 1),
}  # fmt: skip


@pytest.mark.parametrize("value", range(1, 9))
def test_orientations(value: int) -> None:
    plain = read_image(with_exif(1, PIXELS))
    found = read_image(with_exif(value, PIXELS))
    np.testing.assert_array_equal(found.pixels, TURNS[value](plain.pixels))
    turned = ("turned: upright by the EXIF orientation of the file",)
    assert found.warnings == (() if value == 1 else turned)


@pytest.mark.parametrize("value", [0, 9])
def test_orientations_that_do_not_exist(value: int) -> None:
    found = read_image(with_exif(value, PIXELS))
    np.testing.assert_array_equal(found.pixels, read_image(with_exif(1, PIXELS)).pixels)
    assert found.warnings[0].startswith("orientation:")


@pytest.mark.parametrize(
    "exif", [b"junk", b"II*\0\xff\xff\xff\x7f", bytes(range(256)) * 250, tiff_loop()]
)
def test_damaged_exif(exif: bytes) -> None:
    found = read_image(with_exif(exif, PIXELS))
    np.testing.assert_array_equal(found.pixels, read_image(with_exif(1, PIXELS)).pixels)


def test_opaque_alpha() -> None:
    rgba = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(read_image(encode(rgba)).pixels, PIXELS)


def test_transparent_pixels_become_white() -> None:
    alpha = np.full(PIXELS.shape[:2], 255, np.uint8)
    alpha[:10], alpha[10:20] = 0, 102
    found = read_image(encode(np.dstack([PIXELS, alpha])))
    assert (found.pixels[:10] == 255).all()
    np.testing.assert_array_equal(found.pixels[20:], PIXELS[20:])
    expected = PIXELS[10:20] * 0.4 + 255 * 0.6
    assert np.abs(found.pixels[10:20] - expected).max() <= 0.5 + 1e-9
    assert found.warnings[0].startswith("transparent:")


@pytest.mark.parametrize("mode", ["LA", "PA", "P"])
def test_transparency_of_other_modes(mode: str) -> None:
    grey = PIXELS[..., 0]
    alpha = np.where(np.arange(48)[:, None] < 24, 0, 255).astype(np.uint8).repeat(64, 1)
    if mode == "LA":
        found = read_image(encode(np.dstack([grey, alpha])))
    elif mode == "PA":
        found = read_image(Image.fromarray(np.dstack([grey, grey, grey, alpha])).convert("PA"))
    else:
        image = Image.fromarray((alpha // 255) * np.uint8(1), "P")
        image.putpalette([10, 20, 30, 40, 50, 60])
        found = read_image(encode(image, transparency=0))
        assert (found.pixels[24:] == (40, 50, 60)).all()
    assert (found.pixels[:24] == 255).all() and (found.pixels[24:, :20] < 255).all()
    assert found.warnings[0].startswith("transparent:")


def test_palette_grey_and_bilevel() -> None:
    palette = Image.fromarray((np.arange(64)[None] // 32).repeat(48, 0).astype(np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    found = read_image(encode(palette)).pixels
    assert (found[:, :32] == (10, 20, 30)).all() and (found[:, 32:] == (40, 50, 60)).all()
    grey = read_image(encode(PIXELS[..., 0])).pixels
    np.testing.assert_array_equal(grey, PIXELS[..., :1].repeat(3, 2))
    bilevel = read_image(encode(Image.fromarray(PIXELS).convert("1")))
    assert set(np.unique(bilevel.pixels)) == {0, 255}
    assert bilevel.warnings[0].startswith("black_and_white:")


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled(format: str, order: str) -> None:
    values = np.linspace(0, 65535, 48 * 64).round().reshape(48, 64)
    mode = "I;16B" if order == ">u2" else "I;16"
    image = Image.frombytes(mode, (64, 48), values.astype(order).tobytes())
    if format == "PNG" and mode == "I;16B":
        found = read_image(image).pixels  # PNG files have one order: the image itself
    else:
        found = read_image(encode(image, format)).pixels
    assert found.mean() == pytest.approx(127.5, abs=0.5)
    assert np.abs(found[..., 0] - values / 257).max() <= 0.5


def test_colour_of_16_bits() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (40, 50, 3))
    found = read_image(png_rgb16(values)).pixels
    np.testing.assert_array_equal(found, values >> 8)


@pytest.mark.parametrize("format", ["PNG", "TIFF", None])
def test_grey_of_12_bits_in_16_is_read_in_its_range(format: str | None) -> None:
    """As an array of the same values is."""
    values = np.linspace(0, 4095, 48 * 64).round().reshape(48, 64).astype(np.uint16)
    image = Image.fromarray(values)
    given = image if format is None else encode(image, format)
    found = read_image(given, value_range=(0, 4095))
    expected = read_image(values, value_range=(0, 4095)).pixels
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.pixels.max() == 255 and not found.warnings
    with pytest.raises(InputRangeError, match="must be in 0 to 1023, got 0 to 4095"):
        read_image(given, value_range=(0, 1023))


def test_a_range_of_colours_of_16_bits_is_refused() -> None:
    """Their low bytes are not read."""
    data = png_rgb16(np.random.default_rng(0).integers(0, 4096, (40, 50, 3)))
    with pytest.raises(InputRangeError, match=r"value_range must be left out.*got \(0, 4095\)"):
        read_image(data, value_range=(0, 4095))
    whole = read_image(data, value_range=(0, 65535)).pixels
    np.testing.assert_array_equal(whole, read_image(data).pixels)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0), (-3.0, 5.0)])
def test_floating_tiff(low: float, high: float) -> None:
    values = np.linspace(low, high, 48 * 64, dtype=np.float32).reshape(48, 64)
    data = encode(Image.fromarray(values), "TIFF")
    with pytest.raises(InputRangeError, match="value_range"):
        read_image(data)
    found = read_image(data, value_range=(low, high)).pixels
    expected = 255 * (values - low) / (high - low)
    assert np.abs(found[..., 0] - expected).max() < 0.51
    for bad in (np.nan, np.inf):
        values[3, 5] = bad
        with pytest.raises(InputRangeError, match=r"finite, got (nan|inf) at index \(3, 5\)"):
            read_image(encode(Image.fromarray(values), "TIFF"), value_range=(low, high))


def test_cmyk() -> None:
    found = read_image(encode(Image.fromarray(PIXELS).convert("CMYK"), "JPEG", quality=98))
    assert np.abs(found.pixels.astype(int) - PIXELS).mean() < 3  # inverted would be > 100
    assert any("CMYK" in note for note in found.warnings)


@pytest.mark.parametrize("mode", ["LAB", "YCbCr", "HSV"])
def test_other_colour_spaces(mode: str) -> None:
    image = Image.fromarray(PIXELS)
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        changed = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert changed is not None
        found = read_image(encode(changed, "TIFF"))
    elif mode == "YCbCr":
        found = read_image(encode(image.convert(mode), "TIFF"))
    else:
        found = read_image(image.convert(mode))  # no file format holds it
    assert np.abs(found.pixels.astype(int) - PIXELS).mean() < 3


SRGB_TO_XYZ = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)  # D50, IEC 61966-2-1 adapted by Bradford
ADOBE_TO_XYZ = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)


def test_wide_colours_become_srgb() -> None:
    colour = np.array([180, 120, 110])
    linear = np.linalg.solve(SRGB_TO_XYZ, ADOBE_TO_XYZ @ (colour / 255) ** 2.2)
    expected = 255 * np.where(
        linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    assert np.abs(expected - colour).max() > 10
    flat = np.full((40, 40, 3), colour, np.uint8)
    found = read_image(encode(flat, icc_profile=matrix_profile(ADOBE_TO_XYZ.T, 2.19921875)))
    np.testing.assert_allclose(found.pixels[0, 0], expected, atol=2)
    assert found.warnings == ("colour_profile: converted to sRGB",)


@pytest.mark.parametrize(
    "profile", [b"broken", bytes(128), matrix_profile(ADOBE_TO_XYZ.T, 2)[:200]]
)
def test_broken_profiles_are_ignored(profile: bytes) -> None:
    found = read_image(encode(PIXELS, icc_profile=profile))
    np.testing.assert_array_equal(found.pixels, PIXELS)
    assert found.warnings == ("colour_profile: damaged, ignored",)


def test_progressive_jpeg() -> None:
    found = read_image(encode(PIXELS, "JPEG", quality=90, progressive=True)).pixels
    np.testing.assert_array_equal(found, read_image(JPEG).pixels)


@pytest.mark.parametrize("kind", ["12 bits", "lossless", "lossless arithmetic", "differential"])
def test_rare_jpegs(kind: str) -> None:
    data = bytearray(JPEG)
    frame = data.index(b"\xff\xc0")
    if kind == "12 bits":
        data[frame + 4] = 12
    else:
        data[frame + 1] = {"lossless": 0xC3, "lossless arithmetic": 0xCB, "differential": 0xC5}[
            kind
        ]
    with pytest.raises(ImageDecodeError):
        read_image(bytes(data))


def test_polyglot() -> None:
    tail = io.BytesIO()
    with zipfile.ZipFile(tail, "w") as archive:
        archive.writestr("evil.php", "<?php")
    found = read_image(JPEG + tail.getvalue())
    np.testing.assert_array_equal(found.pixels, read_image(JPEG).pixels)


def test_png_equals_lossless_webp() -> None:
    webp = read_image(encode(PIXELS, "WEBP", lossless=True))
    np.testing.assert_array_equal(webp.pixels, read_image(encode(PIXELS)).pixels)
