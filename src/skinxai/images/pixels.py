"""Hashes of pixels: the same picture under any name, file format or turn."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


def orientations(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """The eight turns and flips of ``(H, W, ...)``, contiguous; the first is the image itself."""
    for mirrored in (values, values[:, ::-1]):
        for quarters in range(4):
            yield np.ascontiguousarray(np.rot90(mirrored, quarters))


def pixel_hash(pixels: npt.NDArray[np.uint8]) -> str:
    """sha256 of an image's pixels, the same for its eight orientations.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
    """
    import cv2  # turns pixels several times as fast as NumPy; takes a moment to import

    digests = []
    for upright in (pixels, cv2.transpose(pixels)):
        for mirrored in (upright, cv2.flip(upright, 1)):
            for turned in (mirrored, mirrored[::-1]):
                digest = hashlib.sha256(repr(turned.shape).encode())
                digest.update(np.ascontiguousarray(turned).data)
                digests.append(digest.hexdigest())
    return min(digests)
