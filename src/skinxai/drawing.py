"""Pictures from numbers: heatmap overlays and grids, with Pillow and numpy alone."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from skinxai.errors import OptionError

# Eleven anchors of matplotlib's "inferno" (van der Walt & Smith, CC0): perceptually uniform,
# dark to bright, readable in grey and by colour-blind eyes. Interpolated linearly between.
_INFERNO = np.array(
    [
        (0, 0, 4), (22, 11, 57), (66, 10, 104), (106, 23, 110), (147, 38, 103), (188, 55, 84),
        (221, 81, 58), (243, 120, 25), (252, 165, 10), (246, 215, 70), (252, 255, 164),
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
    places = np.linspace(0, 1, len(_INFERNO))
    return np.stack([np.interp(values, places, _INFERNO[:, c]) for c in range(3)], axis=-1)


def scale_to_unit(heatmap: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Heatmap linearly to 0–1: its own minimum to 0, its own maximum to 1; constant maps to 0.

    Args:
        heatmap: float ``(H, W)``, finite.
    """
    values = np.asarray(heatmap, np.float64)
    low, high = float(values.min()), float(values.max())
    return np.zeros_like(values) if high <= low else (values - low) / (high - low)


def overlay(pixels: npt.NDArray[np.uint8], heatmap: npt.ArrayLike, alpha: float) -> Image.Image:
    """Blend a heatmap over its image, computed in float and rounded once.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        heatmap: float ``(H, W)``, any range.
        alpha: 0 shows the image alone, 1 the heatmap alone.

    Raises:
        OptionError: alpha outside 0–1, or another shape than the image's.
    """
    values = np.asarray(heatmap)
    if not 0 <= alpha <= 1:
        raise OptionError(f"alpha must be in 0–1, got {alpha}.")
    if values.shape != pixels.shape[:2]:
        raise OptionError(
            f"heatmap must have the image's shape {pixels.shape[:2]}, got {values.shape}."
        )
    blended = (1 - alpha) * pixels + alpha * colour_map(scale_to_unit(values))
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


def encode_png(image: Image.Image, notes: PngImagePlugin.PngInfo | None = None) -> bytes:
    """A PNG file's bytes.

    Args:
        image: any picture.
        notes: text fields.
    """
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=notes)
    return buffer.getvalue()
