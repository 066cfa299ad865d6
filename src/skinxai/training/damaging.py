"""Damage to many images at once: blur, fewer pixels, noise, boxes left out.

All take and return RGB ``(N, 3, h, w)``, float32, 0–255; each image has parameters of its own.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from skinxai.training.colouring import WHITE

_WORD = 0xFFFFFFFF


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


def noise(images: Tensor, draws: Tensor) -> Tensor:
    """Add Gaussian noise in place, which depends on the image's seed alone, on every device.

    Each row of ``draws``, float64 ``(N, 2)``, is a standard deviation, of 255, and a seed. Each
    pair of values comes from two words of 32 bits, by the method of Box and Muller (Ann. Math.
    Stat. 29, 1958). The words are hashes of their places and of the seed, by the finaliser of
    MurmurHash3.
    """
    count = images[0].numel()
    half = (count + 1) // 2
    places = torch.arange(2 * half, device=images.device)
    key = _hashed(draws[:, 1].long())[:, None]
    words = _hashed(_hashed((_hashed(places) + key) & _WORD) ^ _hashed((key + 1) & _WORD))
    first, second = ((words.float() + 0.5) / 2**32).view(len(images), 2, half).unbind(1)
    radius, angle = (-2 * first.log()).sqrt(), 2 * math.pi * second
    drawn = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]
    deviations = draws[:, 0].float().view(-1, 1, 1, 1)
    return images.add_(drawn.view(images.shape) * deviations).clamp_(0, WHITE)


def _hashed(words: Tensor) -> Tensor:
    """The finaliser of MurmurHash3 of words below 2³², int64."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        words = ((words ^ (words >> shift)) * factor) & _WORD
    return words ^ (words >> 16)


def without_boxes(images: Tensor, boxes: Tensor) -> Tensor:
    """Black boxes ``(N, boxes, 4)``: first row, row behind the last, the same of the columns."""
    rows, columns = (torch.arange(side, device=images.device) for side in images.shape[2:])
    edges = boxes[..., None]  # (N, boxes, 4, 1)
    down = (rows >= edges[:, :, 0]) & (rows < edges[:, :, 1])  # (N, boxes, h)
    across = (columns >= edges[:, :, 2]) & (columns < edges[:, :, 3])
    inside = (down[..., None] & across[:, :, None]).any(dim=1, keepdim=True)
    return images.masked_fill(inside, 0.0)
