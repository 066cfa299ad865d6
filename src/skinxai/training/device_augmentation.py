"""`DeviceAugmentation`: the recipes as torch operations on whole batches, on any device."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from skinxai.errors import OptionError
from skinxai.memory import in_parts
from skinxai.training import chance, damaging
from skinxai.training.chance import Draws, draw
from skinxai.training.colouring import CHANGES, WHITE
from skinxai.training.compressing import compression
from skinxai.training.recipes import RECIPES
from skinxai.training.transfers import to_device

CPU_PART = 8
"""Images at once on a CPU: more leave its caches."""


class DeviceAugmentation:
    """The recipes of `skinxai.training.augmentation.Augmentation`, computed where the images are.

    What happens to an image has the same ranges and probabilities and depends on its seed alone,
    but the draws are others. Right angles, mirror images, rotation, shear and crop are one affine
    map, so that pixels are interpolated once, bilinear, with a mirrored border. Where a pixel of
    the result covers more than 1.25 pixels of the source along an axis, two samples along each axis
    are averaged, above 2.5 three, and so on: that is close to the mean over the covered area. Where
    it covers less there is one sample. The result is not rounded to whole numbers.

    Args:
        image_size: ``(height, width)`` of the result.
        recipe: ``"light"``, ``"standard"`` or ``"heavy"``.
        hair: must be 0: hairs are drawn on the CPU alone.
        colour_constancy: share of the images whose lighting is made neutral, before the recipe.

    Raises:
        OptionError: if the recipe is a pipeline or a function, or hairs are to be drawn.
    """

    def __init__(
        self, image_size: tuple[int, int], recipe: Any = "standard", *, hair: float = 0.0,
        colour_constancy: float = 0.0,
    ) -> None:  # fmt: skip
        if not isinstance(recipe, str) or recipe not in RECIPES:
            raise OptionError(
                f"augmentation must be one of {tuple(RECIPES)} with augment_on 'device', got "
                f"{recipe!r}",
                python="pass one of them, or augment_on='cpu'",
                command="give one of them, or --augment-on cpu",
            )
        if hair:
            raise OptionError(
                f"hair must be 0 with augment_on 'device', got {hair}",
                python="leave it out, or pass augment_on='cpu'",
                command="leave it out, or give --augment-on cpu",
            )
        self._size, self._recipe, self._constancy = image_size, RECIPES[recipe], colour_constancy

    def draw(self, seeds: list[int], source: tuple[int, int]) -> Draws:
        """Draw what happens to images of the size ``source`` with these seeds."""
        return draw(self._recipe, seeds, source, self._size, colour_constancy=self._constancy)

    def __call__(self, pixels: Tensor, draws: Draws, gains: Tensor | None = None) -> Tensor:
        """Augment a batch of RGB uint8 ``(N, H, W, 3)``, on the device where it is.

        ``gains`` are the factors on the channels, ``(N, 3)``, that make each image's lighting
        neutral. The result is RGB float32 ``(N, h, w, 3)``, 0–255, of ``image_size``.

        Raises:
            OutOfMemoryError: if memory is too small for one image.
        """

        def part(where: slice) -> Tensor:
            return self._augmented(
                pixels[where], draws.part(where), None if gains is None else gains[where]
            )

        size = CPU_PART if pixels.device.type == "cpu" else len(pixels)
        return in_parts(len(pixels), part, size)

    def _augmented(self, pixels: Tensor, draws: Draws, gains: Tensor | None) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).to(torch.float32)
        if gains is not None and draws.neutral.any():
            factors = torch.where(to_device(draws.neutral, images)[:, None], gains, 1.0)
            images = (images * factors[:, :, None, None]).clamp_(0, WHITE).round_()
        images = warped(images, draws.matrix, draws.finer, self._size)
        for place in range(4):
            for number, change in enumerate(CHANGES):
                images = _on_some(
                    images, draws.order[:, place] == number, change, draws.factors[:, number]
                )
        for kind, damage, values in (
            (chance.BLUR, damaging.blur, draws.kernel),
            (chance.COMPRESSION, compression, draws.quality),
            (chance.FEWER_PIXELS, damaging.fewer_pixels, draws.scale),
            (chance.NOISE, damaging.noise, draws.noise),
        ):
            images = _on_some(images, draws.damage == kind, damage, values)
        left_out = draws.boxes.any(axis=(1, 2))
        images = _on_some(images, left_out, damaging.without_boxes, draws.boxes)
        return images.permute(0, 2, 3, 1).contiguous()


def warped(images: Tensor, matrix: Any, finer: Any, size: tuple[int, int]) -> Tensor:
    """Sample images, float32 ``(N, 3, H, W)``, where their affine maps say; see `Draws`."""
    counts = np.unique(finer)
    if len(counts) == 1:
        return _sampled(images, matrix, int(counts[0]), size)
    result = images.new_empty(len(images), images.shape[1], *size)
    for count in counts:
        chosen = np.flatnonzero(finer == count)
        places = to_device(chosen, images)
        result[places] = _sampled(images[places], matrix[chosen], int(count), size)
    return result


def _sampled(images: Tensor, matrix: Any, count: int, size: tuple[int, int]) -> Tensor:
    rows, columns = (
        (torch.arange(side * count, device=images.device, dtype=torch.float32) + 0.5) / count - 0.5
        for side in size
    )
    a, b, c, d, e, f = to_device(matrix, images).reshape(-1, 6, 1, 1).unbind(1)
    grid = torch.stack(
        [a * columns + (b * rows[:, None] + c), d * columns + (e * rows[:, None] + f)], dim=-1
    )
    found = functional.grid_sample(images, grid, "bilinear", "reflection", align_corners=True)
    return found if count == 1 else functional.avg_pool2d(found, count)


def _on_some(images: Tensor, chosen: Any, change: Any, values: Any) -> Tensor:
    """Apply a change to the chosen images, each with its own value; ``images`` is overwritten."""
    if not chosen.any():
        return images
    places = to_device(np.flatnonzero(chosen), images)
    images[places] = change(images[places], to_device(values[chosen], images))
    return images
