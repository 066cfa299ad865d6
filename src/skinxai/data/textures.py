"""The texture of an image: its details without shading and contrast, whole, turned and cropped."""

from itertools import product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from skinxai.images.pixels import orientations

THUMB, COARSE, BLUR = 64, 32, 9
CROP_SIDES = (0.78, 0.81, 0.837, 0.865, 0.90)  # 0.837 squared is 70 % of the area
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)
MIN_ALIKE = 0.5

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def views(thumb: Pixels) -> Floats:
    """Details of eight orientations and of 25 crops of grey uint8 ``(64, 64)``: ``(33, 1024)``."""
    seen = list(orientations(resized(thumb, COARSE)))
    side = round(0.837 * THUMB)
    for row, column in product(GRID, GRID):
        top, left = round(row * (THUMB - side)), round(column * (THUMB - side))
        seen.append(resized(thumb[top : top + side, left : left + side], COARSE))
    return _unit(_texture(np.stack(seen, axis=2)).reshape(COARSE * COARSE, -1).T)


def details(thumb: Pixels) -> Floats:
    """Texture of a grey uint8 of any size at 32×32, as a row of mean 0 and norm 1."""
    rows = _unit(_texture(resized(thumb, COARSE)).reshape(1, -1))
    return np.asarray(rows[0], np.float32)


def resized(grey: npt.NDArray[Any], side: int) -> Pixels:
    """A square of this side."""
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def crop_similarity(image: Pixels, crop: Pixels) -> float:
    """Best correlation of a crop, shrunk, with a place in an image, −1 to 1.

    Other sizes are only tried if a crop of 70 % of the area fits to some degree.
    """
    place, margin, best = _texture(image), BLUR // 2, -1.0
    sides = [round(THUMB * side) for side in CROP_SIDES]
    middle = sides[len(sides) // 2]
    for height, width in ((middle, middle), *product(sides, sides)):
        small = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
        inside = _texture(small)[margin:-margin, margin:-margin]  # the blur ends there
        if inside.std() > 0.01:  # a flat patch correlates with anything
            found = cv2.matchTemplate(place, inside, cv2.TM_CCOEFF_NORMED)
            best = max(best, float(found.max()))
        if best < MIN_ALIKE:
            break
    return best


def _texture(grey: npt.NDArray[Any]) -> Floats:
    """Remove shading and equalise contrast, because dark corners would make all images similar.

    Of several images at once, ``(H, W, n)``, or of one.
    """
    values = np.asarray(grey, np.float32)
    detail = values - cv2.blur(values, (BLUR, BLUR))
    return np.asarray(detail / np.sqrt(cv2.blur(detail * detail, (BLUR, BLUR)) + 4), np.float32)


def _unit(rows: Floats) -> Floats:
    """Rows of mean 0 and norm 1."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / (np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6), np.float32)
