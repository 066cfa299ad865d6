"""Changes of colour of many images at once, each with a factor of its own, as torchvision has them.

All take and return RGB ``(N, 3, h, w)``, float32, 0–255. A sum over pixels is of whole numbers in
float64, which is exact: the result of an image does not depend on the images beside it.
"""

import torch
from torch import Tensor

WHITE = 255.0
_LUMA = (0.299, 0.587, 0.114)


def grey(images: Tensor) -> Tensor:
    """Luma of ITU-R BT.601, ``(N, 1, h, w)``."""
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    return red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply by the factors ``(N,)``."""
    return (images * _each(factors)).clamp_(0, WHITE)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance from the image's mean grey by the factors ``(N,)``."""
    levels = grey(images).round_()
    mean = levels.sum((1, 2, 3), dtype=torch.float64) / levels[0].numel()
    added = (mean * (1 - factors.double())).float()
    return (images * _each(factors)).add_(_each(added)).clamp_(0, WHITE)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply the distance from the pixel's own grey by the factors ``(N,)``."""
    added = grey(images).mul_(_each(1 - factors))
    return (images * _each(factors)).add_(added).clamp_(0, WHITE)


def hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn the hue of HSV by the shifts ``(N,)``, in turns; value and saturation stay.

    A channel is ``V − C · clamp(min(k, 4 − k), 0, 1)`` with the chroma C and
    ``k = (n + 6 H) mod 6`` for n = 5, 3, 1 (red, green, blue).
    """
    red, green, blue = images[:, :1], images[:, 1:2], images[:, 2:]
    value = images.amax(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    divisor = torch.where(chroma > 0, chroma, 1.0)
    sector = torch.where(
        value == red, (green - blue) / divisor,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )  # fmt: skip
    sector += _each(6 * shifts)  # −1 … 5, and the shift
    channels = []
    for offset in (5, 3, 1):
        k = sector + offset
        k = k - 6 * torch.floor(k / 6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.cat(channels, dim=1)


def _each(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


CHANGES = (brightness, contrast, saturation, hue)
"""In the order of `skinxai.training.chance`."""
