"""Damage to many images at once: blur, fewer pixels, noise, boxes left out.

All but `add_noise` take and return RGB ``(N, 3, h, w)``, float32, 0–255; each image has parameters
of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from skinxai.training.colouring import WHITE


def blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve rows and columns with the kernels ``(N, 5)``; the border is mirrored."""
    for axis in (2, 3):
        edge = [0, 0, 2, 2] if axis == 2 else [2, 2, 0, 0]
        padded, length = functional.pad(images, edge, mode="reflect"), images.shape[axis]
        images = torch.zeros_like(images)
        for place in range(5):
            images += padded.narrow(axis, place, length) * kernels[:, place].view(-1, 1, 1, 1)
    return images


def fewer_pixels(images: Tensor, scales: Tensor) -> Tensor:
    """Leave the share ``(N,)``, float64, of rows and columns, and repeat those to the old size."""
    for axis in (2, 3):
        length = images.shape[axis]
        left = (length * scales).round()[:, None]  # (N, 1)
        places = torch.arange(length, dtype=torch.float64, device=images.device)
        kept = (places * (left / length)).floor().minimum(left - 1)
        rows = (kept / scales[:, None]).floor().clamp_(max=length - 1).long()  # (N, length)
        shape = (-1, 1, length, 1) if axis == 2 else (-1, 1, 1, length)
        images = images.gather(axis, rows.view(shape).expand_as(images))
    return images


def add_noise(image: Tensor, deviation: float, seed: float) -> None:
    """Add Gaussian noise to one image in place; the device's generator of the seed draws it.

    Args:
        image: ``(3, h, w)``, float32, 0–255.
        deviation: standard deviation of the noise, of 255.
        seed: whole number from 0.
    """
    generator = torch.Generator(image.device).manual_seed(int(seed))
    drawn = torch.randn(image.shape, generator=generator, device=image.device)
    image.add_(drawn, alpha=float(deviation)).clamp_(0, WHITE)


def without_boxes(images: Tensor, boxes: Tensor) -> Tensor:
    """Black boxes ``(N, boxes, 4)``: first row, row behind the last, the same of the columns."""
    rows, columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
    edges = boxes[..., None]  # (N, boxes, 4, 1)
    down = (rows >= edges[:, :, 0]) & (rows < edges[:, :, 1])  # (N, boxes, h)
    across = (columns >= edges[:, :, 2]) & (columns < edges[:, :, 3])
    inside = (down[..., None] & across[:, :, None]).any(dim=1, keepdim=True)
    return images.masked_fill(inside, 0.0)
