"""Augmentation that knows dermatoscopes: hairs across the lesion, and light of another colour."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
MINKOWSKI = 6.0


def shades_of_gray(pixels: Pixels) -> Pixels:
    """Make the light neutral: each channel's Minkowski mean becomes the three channels' mean.

    Finlayson & Trezzi, "Shades of Gray and Colour Constancy", CIC 2004, with p = 6, as Barata
    et al. (IEEE JBHI 19, 2015) use it on dermatoscopic images; brightness is kept.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
    """
    values = pixels.astype(np.float32)
    light = np.power(np.power(values, MINKOWSKI).mean(axis=(0, 1)), 1 / MINKOWSKI)  # (3,)
    gain = light.mean() / np.maximum(light, 1.0)
    result: Pixels = np.clip(values * gain, 0, 255).round().astype(np.uint8)
    return result


def draw_hairs(pixels: Pixels, draws: np.random.Generator) -> Pixels:
    """Draw 3 to 20 dark, thin, curved hairs across a copy of the image.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        draws: decides where and how.
    """
    height, width = pixels.shape[:2]
    scale = np.array([width, height])
    result = np.ascontiguousarray(pixels).copy()
    shade = draws.integers(10, 90)
    along = np.linspace(0, 1, 24)[:, None]
    for _ in range(draws.integers(3, 21)):
        start, middle, end = (draws.uniform(-0.1, 1.1, 2) for _ in range(3))
        middle = 0.7 * (start + end) / 2 + 0.3 * middle  # a gentle curve
        curve = (1 - along) ** 2 * start + 2 * along * (1 - along) * middle + along**2 * end
        points = (curve * scale).round().astype(np.int32)
        colour = (int(shade) + 20, int(shade) + 8, int(shade))
        thickness = int(draws.integers(1, max(2, round(height / 100)) + 1))
        cv2.polylines(result, [points], False, colour, thickness, cv2.LINE_AA)
    return result
