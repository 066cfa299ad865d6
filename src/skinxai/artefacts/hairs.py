"""Dark hairs across an image, for training's augmentation and for the stress test."""

from itertools import pairwise

import cv2
import numpy as np

from skinxai.artefacts.changed import Changed, Mask, Pixels, blended

POINTS = 24
"""Ends of the straight pieces of which a hair is drawn."""
SHADES = (10, 90)
"""Of the blue of dark hair, 0–255; red and green are a little brighter."""
FINE = 960
"""Least height in pixels of the drawing, which is then reduced to the image's size."""
FRACTION = 4
"""Bits of a coordinate's fraction, as OpenCV wants them."""


def hairs(pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, count: int) -> Changed:
    """Draw so many dark hairs across RGB uint8 ``(H, W, 3)``, over the lesion as well."""
    shade = int(draws.integers(*SHADES))
    height, width = pixels.shape[:2]
    finer = max(1, round(FINE / height))
    canvas = np.zeros((height * finer, width * finer), np.uint8)
    for _ in range(count):
        _draw_hair(canvas, draws, finer)
    alpha = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return blended(pixels, (shade + 20, shade + 8, shade), np.asarray(alpha / 255, np.float32))


def draw_hairs(pixels: Pixels, draws: np.random.Generator) -> Pixels:
    """Draw 3 to 20 dark, thin, curved hairs across a copy of RGB uint8 ``(H, W, 3)``."""
    return hairs(pixels, None, draws, count=int(draws.integers(3, 21))).pixels


def _draw_hair(canvas: Pixels, draws: np.random.Generator, finer: int) -> None:
    """Draw a curve of full opacity, thickest at its root, that ends in a point."""
    height, width = canvas.shape
    start, middle, end = (draws.uniform(-0.1, 1.1, 2) for _ in range(3))
    middle = 0.7 * (start + end) / 2 + 0.3 * middle  # a gentle curve
    along = np.linspace(0, 1, POINTS)[:, None]
    curve = (1 - along) ** 2 * start + 2 * along * (1 - along) * middle + along**2 * end
    points = np.rint(curve * (width, height) * 2**FRACTION).astype(int).tolist()
    thickest = draws.uniform(1.2, max(2.0, height / finer / 120)) * finer
    for number, (one, other) in enumerate(pairwise(points)):
        wide = max(1, round(thickest * min(1.0, 1.6 * (1 - number / POINTS))))
        cv2.line(canvas, one, other, 255, wide, cv2.LINE_AA, FRACTION)
