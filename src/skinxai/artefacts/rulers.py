"""A ruler along the edge that is farthest from the lesion."""

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from skinxai.artefacts.changed import Changed, Floats, Mask, Pixels, blended, distance_to, unit

SHARPER = 3
"""The ruler is drawn so many times larger and then reduced."""
MILLIMETRES = 16
"""Length of the image's shorter side."""
TILT = 3.0
"""Largest turn, in degrees."""


def ruler(pixels: Pixels, mask: Mask, draws: np.random.Generator, *, paper: bool) -> Changed | None:
    """Draw a millimetre scale along an edge, nowhere on the lesion; ``None``: there is no room.

    It is on a white paper ruler, or in black on the glass of the dermatoscope.
    """
    tilt, start = draws.uniform(-TILT, TILT), int(draws.integers(0, 10))
    side = unit(pixels)
    for share in (0.17, 0.14, 0.11):
        for turns in sorted(range(4), key=lambda k: _depth(np.rot90(mask, k)), reverse=True):
            size = np.rot90(mask, turns).shape
            alpha, shade = _strip(size, side, share * side, tilt, start, paper=paper)
            alpha, shade = np.rot90(alpha, -turns), np.rot90(shade, -turns)
            if not (distance_to(mask)[alpha > 0] <= 0.01 * side).any():
                colour = shade[..., None] * np.array((1, 0.99, 0.96), np.float32)
                return blended(pixels, colour, np.ascontiguousarray(alpha))
    return None


def _depth(mask: Mask) -> int:
    """Rows between the lesion and the lower edge."""
    return int(mask.shape[0] - 1 - np.nonzero(mask.any(axis=1))[0][-1])


def _strip(
    size: tuple[int, ...], side: int, high: float, tilt: float, start: int, *, paper: bool
) -> tuple[Floats, Floats]:
    """Opacity and shade of a ruler along the lower edge, each ``(H, W)``."""
    width = size[1]
    pitch, scale = side / MILLIMETRES * SHARPER, high * SHARPER
    long = round(1.2 * width * SHARPER)
    marks = Image.new("L", (long, round(2 * scale)), 0)
    draw = ImageDraw.Draw(marks)
    font = ImageFont.load_default(0.34 * scale)
    line = max(2, round(side / 240 * SHARPER * 0.9))
    for number in range(int(long / pitch) + 1):
        x, millimetre = number * pitch, number + start
        share = 0.5 if millimetre % 10 == 0 else 0.38 if millimetre % 5 == 0 else 0.24
        draw.rectangle((x, 0, x + line, share * scale), fill=255)
        if millimetre % 5 == 0:
            draw.text((x + 2 * line, 0.3 * scale), str(millimetre), 255, font)
    dark = _placed(np.asarray(marks), size, high, tilt)
    if not paper:
        return 0.85 * dark, np.full(size, 18, np.float32)
    sheet = _placed(np.full((round(2 * scale), long), 255, np.uint8), size, high, tilt)
    across = np.linspace(0.97, 1.03, width, dtype=np.float32)  # light from one side
    return 0.97 * sheet, (236 * (1 - dark) + 25 * dark) * across


def _placed(strip: Pixels, size: tuple[int, ...], high: float, tilt: float) -> Floats:
    """A strip reduced, turned and put along the lower edge, 0–1."""
    height, width = size
    small = cv2.resize(
        strip, (strip.shape[1] // SHARPER, strip.shape[0] // SHARPER), interpolation=cv2.INTER_AREA
    )
    # Its upper edge's middle stands ``high`` above the middle of the image's lower edge.
    move = cv2.getRotationMatrix2D((small.shape[1] / 2, 0), tilt, 1)
    move[:, 2] += np.array((width / 2 - small.shape[1] / 2, height - high))
    found = cv2.warpAffine(small, move, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(found, np.float32) / 255
