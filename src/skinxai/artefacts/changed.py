"""What every artefact returns, and the steps that they share."""

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]


COARSE = 4.0
"""Standard deviation in pixels above twice which a blur is computed on a reduced copy."""


class Changed(NamedTuple):
    """An image with an artefact.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``, outside of ``where`` the original's bits.
        where: bool ``(H, W)``, where the artefact is; everywhere for changes of the whole image.
    """

    pixels: Pixels
    where: Mask


def blended(pixels: Pixels, over: npt.ArrayLike, alpha: Floats) -> Changed:
    """Lay colours, 0–255, ``(3,)`` or ``(H, W, 3)``, over an image, rounded once.

    The artefact is where the opacity ``(H, W)``, 0–1, is at least a fiftieth.
    """
    where = alpha >= 0.02
    share = alpha[..., None]
    mixed = pixels * (1 - share) + np.asarray(over, np.float32) * share
    rounded = np.rint(mixed.clip(0, 255)).astype(np.uint8)
    return Changed(np.where(where[..., None], rounded, pixels), where)


def whole(pixels: npt.NDArray[np.generic]) -> Changed:
    """A change of the whole image ``(H, W, 3)``, rounded to uint8 where it has floats."""
    if pixels.dtype != np.uint8:
        pixels = np.rint(np.clip(pixels.astype(np.float32), 0, 255)).astype(np.uint8)
    return Changed(np.ascontiguousarray(pixels), np.ones(pixels.shape[:2], np.bool_))


def smoothed(values: npt.NDArray[np.generic], sigma: float) -> Floats:
    """Gaussian blur of ``(H, W)`` or ``(H, W, 3)``, mirrored at the borders; sigma in pixels."""
    source = np.ascontiguousarray(values, np.float32)
    height, width = source.shape[:2]
    coarse = max(1, int(sigma / COARSE))  # a wide blur of a reduced copy is the same, and quick
    if coarse > 1:
        size = max(1, width // coarse), max(1, height // coarse)
        source = np.asarray(cv2.resize(source, size, interpolation=cv2.INTER_AREA), np.float32)
    found = cv2.GaussianBlur(source, (0, 0), sigma / coarse, borderType=cv2.BORDER_REFLECT_101)
    if coarse > 1:
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(found, np.float32)


def noise(size: tuple[int, int], sigma: float, draws: np.random.Generator) -> Floats:
    """Smooth noise ``(H, W)`` of mean 0 and deviation 1, whose pixels are alike over sigma > 0."""
    found = smoothed(draws.standard_normal(size, np.float32), sigma)
    return np.asarray((found - found.mean()) / (found.std() + 1e-6), np.float32)


def distance_to(mask: Mask) -> Floats:
    """Distance of each pixel to the nearest of the mask, not empty, in pixels; 0 within it."""
    found = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(found, np.float32)


def unit(pixels: Pixels) -> int:
    """The shorter side in pixels, by which artefacts are scaled."""
    return int(min(pixels.shape[:2]))
