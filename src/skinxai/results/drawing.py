"""Pictures from numbers: heatmap overlays and grids, with Pillow and numpy alone."""

import io
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from skinxai.errors import OptionError
from skinxai.flags import check_flags

# Eleven anchors of matplotlib's "inferno" (van der Walt & Smith, CC0): perceptually uniform,
# dark to bright, readable in grey and by colour-blind eyes. Interpolated linearly between.
_INFERNO = np.array(
    [
        (0, 0, 4), (22, 11, 57), (66, 10, 104), (106, 23, 110), (147, 38, 103), (188, 55, 84),
        (221, 81, 58), (243, 120, 25), (252, 165, 10), (246, 215, 70), (252, 255, 164),
    ],
    np.float64,
)  # fmt: skip

# ColorBrewer's eleven-class "PuOr" (Brewer, Apache-2.0), turned: purple, white, orange.
_PURPLE_ORANGE = np.array(
    [
        (45, 0, 75), (84, 39, 136), (128, 115, 172), (178, 171, 210), (216, 218, 235),
        (247, 247, 247), (254, 224, 182), (253, 184, 99), (224, 130, 20), (179, 88, 6),
        (127, 59, 8),
    ],
    np.float64,
)  # fmt: skip


def colour_map(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Inferno colours of values in 0–1.

    Args:
        values: float, any shape; NaN is an error.

    Returns:
        RGB float, the shape of ``values`` plus ``(3,)``, 0–255, not rounded.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all() or (values.size and (values.min() < 0 or values.max() > 1)):
        raise OptionError("colour_map values must be finite and in 0–1; scale them first.")
    return _between(_INFERNO, values)


def map_colours(
    values: npt.ArrayLike, low: float | None = None, high: float | None = None
) -> npt.NDArray[np.float64]:
    """Colours of a heatmap's raw values, linear in them.

    A scale that starts at 0 or above, or ends below 0: inferno, from the lowest value to the
    highest. A scale that has values below 0 and reaches 0 (`has_signs`): purple for what is below
    0, white for 0, orange for what is above, one step as long on both sides.

    Args:
        values: float, any shape, finite.
        low: lowest value of the scale; the values' own by default.
        high: its highest value.

    Returns:
        RGB float, the shape of ``values`` plus ``(3,)``, 0–255, not rounded.
    """
    values, low, high = _scaled(values, low, high)
    if has_signs(low, high):
        return _between(_PURPLE_ORANGE, values / max(-low, high) / 2 + 0.5)
    return colour_map(scale_to_unit(values, low, high))


def _scaled(
    values: npt.ArrayLike, low: float | None, high: float | None
) -> tuple[npt.NDArray[np.float64], float, float]:
    """Values as float64, and the ends of their scale, which are their own where none are given."""
    found = np.asarray(values, np.float64)
    return (
        found,
        float(found.min()) if low is None else low,
        float(found.max()) if high is None else high,
    )


def _between(anchors: npt.NDArray[np.float64], values: Any) -> npt.NDArray[np.float64]:
    places = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(values, places, anchors[:, c]) for c in range(3)], axis=-1)


def has_signs(low: float, high: float) -> bool:
    """Whether a scale is drawn around 0, in purple and orange.

    Not where its values below 0 are less than 1/255 of the highest one: nobody would see their
    purple, and what is 0 but for rounding would change the colours of the whole map.
    """
    return low < 0 <= high < -low * 255


def scale_to_unit(
    heatmap: npt.ArrayLike, low: float | None = None, high: float | None = None
) -> npt.NDArray[np.float64]:
    """Heatmap linearly to 0–1: its minimum to 0, its maximum to 1; constant maps to 0.

    Args:
        heatmap: float ``(H, W)``, finite.
        low: as in `map_colours`.
        high: as there.
    """
    values, low, high = _scaled(heatmap, low, high)
    return np.zeros_like(values) if high <= low else (values - low) / (high - low)


def opacity(
    heatmap: npt.ArrayLike, low: float | None = None, high: float | None = None
) -> npt.NDArray[np.float64]:
    """How opaque each value is drawn, 0–1: what is coloured strongly covers the image.

    Of one sign: `scale_to_unit`, 0 at the map's minimum and 1 at its maximum. Of both signs, as
    in `map_colours`: the value's magnitude divided by the largest, 0 where the map is 0. Constant
    maps are transparent.

    Args:
        heatmap: float ``(H, W)``, finite.
        low: as in `map_colours`.
        high: as there.
    """
    values, low, high = _scaled(heatmap, low, high)
    if low < high and has_signs(low, high):
        return np.abs(values) / max(-low, high)
    return scale_to_unit(values, low, high)


def overlay(
    pixels: npt.NDArray[np.uint8], heatmap: npt.ArrayLike, alpha: float, *, uniform: bool = False,
    ends: tuple[float, float] | None = None,
) -> Image.Image:  # fmt: skip
    """Blend the colours of a heatmap (`map_colours`) over its image, rounded once.

    The blend follows the map: a pixel's share of colour is ``alpha`` times its `opacity`, so that
    the image shows unchanged where the map is 0 (or, in a map of one sign, at its minimum).

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        heatmap: float ``(H, W)``, any range.
        alpha: share of colour where the map is strongest: 0 shows the image alone.
        uniform: give every pixel the share ``alpha``, whatever the map's value.
        ends: lowest and highest value of the scale, for a map that was made smaller and has lost
            its own; ``None``: those of ``heatmap``.

    Raises:
        OptionError: alpha outside 0–1, another shape than the image's, or a value that is not
            finite.
    """
    check_flags(uniform=uniform)
    values = np.asarray(heatmap)
    if not (isinstance(alpha, Real) and 0 <= alpha <= 1):
        raise OptionError(f"alpha must be in 0–1, got {alpha!r}.")
    if values.shape != pixels.shape[:2]:
        raise OptionError(
            f"heatmap must have the image's shape {pixels.shape[:2]}, got {values.shape}."
        )
    low, high = ends or (None, None)
    if ends is not None:
        values = values.clip(*ends)  # resizing may round a little beyond them
    colours = map_colours(values, low, high)
    share = alpha if uniform else alpha * opacity(values, low, high)[..., None]  # (H, W, 1)
    blended = (1 - share) * pixels + share * colours
    return Image.fromarray(np.rint(blended).astype(np.uint8))


def resize_map(values: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize a raw map with bilinear interpolation, in float.

    Cell centres are aligned (half-pixel centres, as torch with ``align_corners=False``), so that
    a cell's peak lands in the middle of the pixels that the cell saw.

    Args:
        values: float32 ``(h, w)``.
        size: ``(H, W)`` of the result.
    """
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    height, width = size
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)


MARK = "skinxai"
MARK_WITHIN = 512
"""The mark of our own pictures is within the first bytes of their files."""


def encode_png(image: Image.Image, notes: Mapping[str, str] | None = None) -> bytes:
    """A PNG file's bytes, with a mark that says that it is no photograph (`is_own_picture`).

    Args:
        image: any picture.
        notes: further text fields, each written as ``skinxai:NAME``.
    """
    fields = PngImagePlugin.PngInfo()
    fields.add_text(MARK, "drawn by skinxai, not a photograph")
    for name, text in (notes or {}).items():
        fields.add_text(f"{MARK}:{name}", text)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=fields)
    return buffer.getvalue()


def is_own_picture(start: bytes) -> bool:
    """Whether a PNG file is an overlay or a sheet that skinxai wrote.

    Args:
        start: its first `MARK_WITHIN` bytes, or all of them.
    """
    if not start.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    place, own = 8, f"{MARK}\0".encode()
    while (kind := start[place + 4 : place + 8]) not in (b"", b"IDAT"):
        if kind == b"tEXt" and start[place + 8 :].startswith(own):
            return True
        place += 12 + int.from_bytes(start[place : place + 4], "big")
    return False
