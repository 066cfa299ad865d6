"""Training augmentation. The only file that imports albumentations."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask a server otherwise

import albumentations


class Augmentation:
    """Random turns, flips, crops and colour changes that a dermatoscope could have made.

    Args:
        image_size: ``(height, width)`` of the result.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        height, width = image_size
        aspect = width / height
        self._steps = albumentations.Compose(
            [
                albumentations.RandomRotate90(p=0.5),
                albumentations.HorizontalFlip(p=0.5),
                albumentations.VerticalFlip(p=0.5),
                albumentations.RandomResizedCrop(
                    size=(height, width),
                    scale=(0.45, 1.0),
                    ratio=(0.75 * aspect, aspect / 0.75),
                    interpolation=3,  # area: shrinks without aliasing
                ),
                albumentations.ColorJitter(
                    brightness=(0.8, 1.2),
                    contrast=(0.8, 1.2),
                    saturation=(0.8, 1.2),
                    hue=(-0.03, 0.03),
                    p=0.8,
                ),
            ]
        )

    def __call__(self, pixels: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint8]:
        """Augment one image; the same seed gives the same result.

        Args:
            pixels: RGB uint8 ``(H, W, 3)``.
            seed: 0 to 2³² − 1.

        Returns:
            RGB uint8 ``(h, w, 3)`` with ``(h, w) = image_size``.
        """
        self._steps.set_random_seed(seed)
        result: npt.NDArray[np.uint8] = self._steps(image=pixels)["image"]
        return result
