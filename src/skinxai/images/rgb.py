"""Pillow images to RGB uint8, upright: modes, bits, opacity and orientation."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from skinxai.errors import ImageDecodeError, InputRangeError, UnsupportedImageError
from skinxai.images.arrays import on_white, to_uint8
from skinxai.images.colour_profiles import in_srgb, lab_in_srgb
from skinxai.images.tiffs import check_meaning
from skinxai.results.drawing import MARK

RGB = npt.NDArray[np.uint8]
ORIENTATION = 0x0112
BAND = 256
"""Rows that are converted at a time: a copy of a large image would take as much memory again."""
DARK = "dark: 16 bits a pixel, but no value above 4095; were they 12 bits?"
SEVERAL_PICTURES = "several_pictures: the primary picture of an MPO file was read"
_TURNS: dict[int, Callable[[RGB], RGB]] = {  # views: nothing is copied
    2: np.fliplr,
    3: lambda pixels: pixels[::-1, ::-1],
    4: np.flipud,
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}


def image_to_rgb(
    image: Image.Image,
    value_range: tuple[float, float] | None,
    decoded: RGB | None = None,
) -> tuple[RGB, tuple[str, ...]]:
    """Pillow image to RGB uint8 ``(H, W, 3)``, upright, and notes; the image is not changed.

    Args:
        image: open or loaded, of a size that was checked.
        value_range: as in `read_image`.
        decoded: its pixels in its own mode, ``(H, W, channels)``, where they were read already.

    Raises:
        UnsupportedImageError: several frames, a colour mode that has no one meaning in RGB, or a
            picture that skinxai drew.
        ImageDecodeError: Pillow is set to accept truncated images.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageDecodeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False, but it is True, so that missing "
            "parts would be filled with grey; set it back."
        )
    if MARK in image.info:
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
                to_uint8(
                    np.where(np.isfinite(values), 0.0, values), None, "image"
                )  # which says where
            raise InputRangeError(
                f"image has 32 bits a pixel, from {values.min():g} to {values.max():g}, and does "
                f"not say which are black and white",
                python="scale it to 8 bits or pass value_range=(low, high)",
                command="scale it to 8 bits",
            )
        return np.repeat(to_uint8(values, value_range, "image")[..., None], 3, axis=2)
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
    if image.mode == "La":  # which Pillow turns into nothing else
        image = image.convert("LA")
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
        raise UnsupportedImageError(
            f"image must have a known colour mode, got {image.mode!r}; convert it to 'RGB' with "
            f"its convert()."
        )
    return np.asarray(image.convert("RGB")), None
