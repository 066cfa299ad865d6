"""Mixup and CutMix: batches whose images are blends of two images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skinxai.training.transfers import to_device


@dataclass(frozen=True)
class MixedBatch:
    """A batch of blends of two images; the loss is ``share · L(target) + (1 − share) · L(other)``.

    Args:
        images: ``(N, 3, h, w)``.
        target: int64 ``(N,)``, class of the first image of each.
        other: int64 ``(N,)``, class of the second image of each.
        share: share of the first image, 0–1.
        positions: position of the first image of each in the training part.
    """

    images: Tensor
    target: Tensor
    other: Tensor
    share: float
    positions: Sequence[int] = ()

    def part(self, where: slice) -> "MixedBatch":
        """A part of the batch, with the same share."""
        return MixedBatch(
            self.images[where], self.target[where], self.other[where], self.share,
            self.positions[where],
        )  # fmt: skip


def _at(values: Tensor, order: Tensor) -> Tensor:
    return values[order]


def mix(
    images: Tensor, target: Tensor, *, mixup: float, cutmix: float, seed: tuple[int, ...],
    count: int | None = None, partners: Callable[[Tensor, Tensor], Tensor] = _at,
) -> MixedBatch:  # fmt: skip
    """Blend each image with another of the batch.

    Mixup (Zhang et al., ICLR 2018, equation 1): ``λ x_i + (1 − λ) x_j`` with λ from
    Beta(α, α). CutMix (Yun et al., ICCV 2019, section 3.1): a box of the other image with an
    area of ``1 − λ``; the share is corrected if the box leaves the image. The whole batch has one
    λ and, for CutMix, one box; if both are on, one of them is drawn. An α of 0 is off.

    Other ranks may have the rest of a batch of ``count`` images; ``partners`` then gives, of values
    ``(N, …)`` and the order of all partners ``(count,)``, those of these images.
    """
    if not mixup and not cutmix:
        return MixedBatch(images, target, target, 1.0)
    draws = np.random.default_rng(seed)
    cut = bool(cutmix) and (not mixup or draws.random() < 0.5)
    alpha = cutmix if cut else mixup
    share = float(draws.beta(alpha, alpha))
    order = to_device(draws.permutation(len(images) if count is None else count), images)
    other, label = partners(images, order), partners(target, order)
    if not cut:
        return MixedBatch(torch.lerp(other, images, share), target, label, share)
    height, width = images.shape[2:]
    rows = _span(int(draws.integers(height)), height, share)
    columns = _span(int(draws.integers(width)), width, share)
    mixed = images.clone(memory_format=torch.preserve_format)
    mixed[:, :, rows, columns] = other[:, :, rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return MixedBatch(mixed, target, label, 1 - area / (height * width))


def _span(centre: int, size: int, share: float) -> slice:
    half = int(size * np.sqrt(1 - share)) // 2
    return slice(max(0, centre - half), min(size, centre + half))
