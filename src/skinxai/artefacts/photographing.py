"""The same skin photographed otherwise: light, focus, storage, angle and distance."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

from skinxai.artefacts.changed import Changed, Mask, Pixels, smoothed, unit, whole


def colour_cast(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *,
    gains: tuple[float, float, float],
) -> Changed:  # fmt: skip
    """Multiply red, green and blue.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        mask: not used.
        draws: not used.
        gains: of red, green and blue.
    """
    return whole(pixels * np.array(gains, np.float32))


def blur(pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, sigma: float) -> Changed:
    """Blur, as out of focus.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        mask: not used.
        draws: not used.
        sigma: standard deviation, of the image's shorter side; at least half a pixel.
    """
    return whole(smoothed(pixels, max(0.5, sigma * unit(pixels))))


def jpeg(pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, quality: int) -> Changed:
    """Store as JPEG and read again.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        mask: not used.
        draws: not used.
        quality: 1–95.
    """
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "JPEG", quality=quality)
    return whole(np.asarray(Image.open(stored)))


def turned(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, degrees: float,
    enlarged: float = 1.0,
) -> Changed:  # fmt: skip
    """Turn and enlarge around the middle; what was outside is mirrored in.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        mask: not used.
        draws: not used.
        degrees: anticlockwise.
        enlarged: times larger; below 1, smaller.
    """
    if degrees == 180 and enlarged == 1:
        return whole(pixels[::-1, ::-1])
    height, width = pixels.shape[:2]
    source = smoothed(pixels, 0.4 / enlarged) if enlarged < 1 else pixels
    move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, enlarged)
    return whole(
        cv2.warpAffine(
            np.ascontiguousarray(source), move, (width, height),
            flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101,
        )
    )  # fmt: skip
