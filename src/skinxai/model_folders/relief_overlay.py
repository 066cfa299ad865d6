"""Two reliefs laid over each other, and their correlation where they show the same place.

The alignment is that of Evangelidis and Psarakis, "Parametric image alignment using enhanced
correlation coefficient maximization", IEEE TPAMI 2008, as OpenCV has it.
"""

from functools import cache

import cv2
import numpy as np

from skinxai.model_folders.relief_views import Affine, Floats
from skinxai.model_folders.reliefs import ORDERS, cosines

STEPS, MIN_ALIGNED = 3, 0.65
"""Steps of an alignment at each resolution, and least similarity at half resolution."""


def overlaid(asked: Floats, known: Floats, affine: Affine) -> float:
    """Correlation after alignment, first of the coarse half of the relief, then of all."""
    similarity = -1.0
    for orders, side in ((12, 24), (ORDERS, 40)):
        waves = _waves(orders, side)
        top = np.asarray(waves @ asked[:orders, :orders] @ waves.T, np.float32)
        below = np.asarray(waves @ known[:orders, :orders] @ waves.T, np.float32)
        matrix = _in_pixels(affine, side)
        try:
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, STEPS, 1e-3)
            _, found = cv2.findTransformECC(
                top, below, matrix, cv2.MOTION_AFFINE, criteria, np.ones((side, side), np.uint8), 1
            )
        except cv2.error:  # it does not converge: another image
            return -1.0
        matrix = np.asarray(found, np.float32)
        similarity = correlation(top, below, matrix)
        if similarity < MIN_ALIGNED:
            return similarity if orders == ORDERS else -1.0
        affine = _from_pixels(matrix, side)
    return similarity


def correlation(top: Floats, below: Floats, matrix: Floats) -> float:
    """Where both are, without a margin, over at least 40 % of the asked relief."""
    side, margin = len(top), len(top) // 20
    moved = cv2.warpAffine(
        below, matrix, (side, side), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    )
    inside = cv2.warpAffine(
        np.ones_like(below), matrix, (side, side), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST
    ).astype(bool)
    inside[:margin] = inside[-margin:] = inside[:, :margin] = inside[:, -margin:] = False
    if inside.mean() < 0.4:
        return -1.0
    first, second = top[inside] - top[inside].mean(), moved[inside] - moved[inside].mean()
    length = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / length if length > 0 else -1.0


@cache
def _waves(orders: int, side: int) -> Floats:
    return np.asarray(cosines((np.arange(side) + 0.5) / side, orders), np.float32)


def _in_pixels(affine: Affine, side: int) -> Floats:
    turn, move = affine[:, :2], affine[:, 2:]
    return np.asarray(np.hstack([turn, move * side + turn @ [[0.5], [0.5]] - 0.5]), np.float32)


def _from_pixels(matrix: Floats, side: int) -> Affine:
    turn, move = matrix[:, :2].astype(np.float64), matrix[:, 2:]
    return np.hstack([turn, (move - turn @ [[0.5], [0.5]] + 0.5) / side])
