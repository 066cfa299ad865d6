"""Training augmentation. The only file that imports albumentations."""

import random
from collections.abc import Callable
from typing import Any

import albumentations
import cv2
import numpy as np
import numpy.typing as npt

from skinxai.artefacts.hairs import draw_hairs
from skinxai.errors import OptionError, closest
from skinxai.training.randomness import seeded
from skinxai.training.recipes import FLIP, HUE, JITTER, RATIO, RECIPES, Damage, Recipe

ALBUMENTATIONS: str = albumentations.__version__
AUGMENTATIONS = tuple(RECIPES)
AREA, REFLECT = cv2.INTER_AREA, cv2.BORDER_REFLECT_101
Pixels = npt.NDArray[np.uint8]


class Augmentation:
    """Random turns, flips, crops and colour changes that a dermatoscope could have made.

    Args:
        image_size: ``(height, width)`` of the result.
        recipe: ``"light"`` (right angles, flips, crops from 70 % of the area, faint colour),
            ``"standard"`` (any angle, crops from 45 %, colour jitter), ``"heavy"`` (also shear,
            blur, compression, noise and boxes left out), or a function of RGB uint8 ``(H, W, 3)``
            that returns such an image of any size, or an ``albumentations.Compose``. A function may
            draw from the global generators of NumPy, Python and torch: they are seeded for it.
        hair: share of the images on which hairs are drawn, before the recipe.
        colour_constancy: share of the images whose lighting is made neutral, before the recipe.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        recipe: Any = "standard",
        *,
        hair: float = 0.0,
        colour_constancy: float = 0.0,
    ) -> None:
        self._own: Callable[[Pixels], Pixels] | None = None
        self._size, self._hair, self._constancy = image_size, hair, colour_constancy
        if isinstance(recipe, albumentations.Compose):
            self._steps = recipe
        elif callable(recipe):
            self._steps, self._own = albumentations.Compose([]), recipe
        elif recipe in AUGMENTATIONS:
            self._steps = albumentations.Compose(_steps(RECIPES[recipe], *image_size))
        else:
            near = closest(recipe, AUGMENTATIONS)
            meant = "one of them" if near is None else repr(near)
            raise OptionError(
                f"augmentation must be one of {AUGMENTATIONS}, got {recipe!r}",
                python=f"pass {meant}, or a pipeline of albumentations",
                command=f"give {near or 'one of them'}",
            )

    def __call__(self, pixels: Pixels, seed: int) -> Pixels:
        """Augment RGB uint8 ``(H, W, 3)``; the same seed, 0 to 2³² − 1, gives the same result.

        Returns:
            RGB uint8 ``(h, w, 3)`` with ``(h, w) = image_size``.

        Raises:
            OptionError: if a pipeline of your own returned anything but RGB uint8.
        """
        if self._hair or self._constancy:
            draws = np.random.default_rng([seed, 1])
            if draws.random() < self._constancy:
                pixels = shades_of_gray(pixels)
            if draws.random() < self._hair:
                pixels = draw_hairs(pixels, draws)
        if self._own is not None:
            with seeded(seed):
                result = np.asarray(self._own(pixels))
        else:
            # set_random_seed would give every step the same draws: all of them happen, or none
            self._steps.set_random_state(np.random.default_rng(seed), random.Random(seed))
            result = self._steps(image=pixels)["image"]
        if result.dtype != np.uint8 or result.ndim != 3 or result.shape[2] != 3:
            raise OptionError(
                f"augmentation must return RGB uint8 (H, W, 3), got {result.dtype} "
                f"{tuple(result.shape)}; normalising is not its part."
            )
        height, width = self._size
        if result.shape[:2] != self._size:
            result = np.asarray(cv2.resize(result, (width, height), interpolation=AREA), np.uint8)
        return result


def _steps(recipe: Recipe, height: int, width: int) -> list[Any]:
    aspect, strength = width / height, recipe.strength
    around = (1 - strength, 1 + strength)
    flips = [
        albumentations.RandomRotate90(p=FLIP),
        albumentations.HorizontalFlip(p=FLIP),
        albumentations.VerticalFlip(p=FLIP),
    ]
    turns = [] if not recipe.turned else [
        albumentations.Affine(
            rotate=(-recipe.angle, recipe.angle),
            shear=(-recipe.shear, recipe.shear) if recipe.shear else 0.0,
            border_mode=REFLECT,
            p=recipe.turned,
        )
    ]  # fmt: skip
    crop = albumentations.RandomResizedCrop(
        size=(height, width),
        scale=(recipe.area, 1.0),
        ratio=(RATIO * aspect, aspect / RATIO),
        interpolation=AREA,  # shrinks without aliasing
    )
    colour = albumentations.ColorJitter(
        brightness=around, contrast=around, saturation=around,
        hue=(-strength * HUE, strength * HUE), p=JITTER,
    )  # fmt: skip
    return [
        *flips,
        *turns,
        crop,
        colour,
        *([] if recipe.damage is None else _damage(recipe.damage)),
    ]


def _damage(damage: Damage) -> list[Any]:
    return [
        albumentations.OneOf(
            [
                albumentations.GaussianBlur(blur_limit=damage.kernel, sigma_limit=damage.sigma),
                albumentations.ImageCompression(quality_range=damage.quality),
                albumentations.Downscale(scale_range=damage.scale),
                albumentations.GaussNoise(std_range=tuple(each / 255 for each in damage.noise)),
            ],
            p=damage.probability,
        ),
        albumentations.CoarseDropout(
            num_holes_range=damage.count, hole_height_range=damage.side,
            hole_width_range=damage.side, p=damage.boxes,
        ),
    ]  # fmt: skip


MINKOWSKI = 6.0


def shades_of_gray(pixels: Pixels) -> Pixels:
    """Make the lighting of RGB uint8 ``(H, W, 3)`` neutral: one Minkowski mean for all channels.

    Finlayson & Trezzi, "Shades of Gray and Colour Constancy", CIC 2004, with p = 6, as Barata
    et al. (IEEE JBHI 19, 2015) use it on dermatoscopic images; brightness is kept.
    """
    result: Pixels = np.clip(pixels * neutral_gains(pixels), 0, 255).round().astype(np.uint8)
    return result


def neutral_gains(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Factors ``(3,)`` on the channels of an image that `shades_of_gray` multiplies by."""
    values = pixels.astype(np.float32)
    light = np.power(np.power(values, MINKOWSKI).mean(axis=(0, 1)), 1 / MINKOWSKI)  # (3,)
    gains: npt.NDArray[np.float32] = light.mean() / np.maximum(light, 1.0)
    return gains
