"""JPEG compression of many images at once, as torch operations, without the file."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from skinxai.training.colouring import WHITE

_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99, *(32 * (99,)),
)  # fmt: skip
_MIDDLE = 128.0


def compression(images: Tensor, qualities: Tensor) -> Tensor:
    """What is left of images after JPEG compression of the qualities ``(N,)``, 50 to 100.

    Quantisation tables of annex K of ITU-T T.81, scaled by the quality as libjpeg does, with half
    the resolution of the colours. Colours are enlarged by repetition, where libjpeg interpolates.
    Images are RGB ``(N, 3, h, w)``, float32, 0–255.
    """
    height, width = images.shape[2:]
    edge = (0, -width % 16, 0, -height % 16)
    red, green, blue = functional.pad(images, edge, mode="replicate").unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    blueness, redness = ((each - luma) * factor for each, factor in ((blue, 0.564), (red, 0.713)))
    luma = _quantised(luma - _MIDDLE, _LUMA, qualities) + _MIDDLE
    blueness, redness = (
        _quantised(_halved(each), _CHROMA, qualities)
        .repeat_interleave(2, 1)
        .repeat_interleave(2, 2)
        for each in (blueness, redness)
    )
    found = torch.stack(
        [luma + 1.402 * redness, luma - 0.344136 * blueness - 0.714136 * redness,
         luma + 1.772 * blueness], dim=1,
    )  # fmt: skip
    return _rounded(found[:, :, :height, :width]).clamp_(0, WHITE).to(images.dtype)


def _halved(plane: Tensor) -> Tensor:
    return functional.avg_pool2d(plane[:, None], 2)[:, 0]


def _quantised(plane: Tensor, table: tuple[int, ...], qualities: Tensor) -> Tensor:
    """Round the cosine transform of each block of 8 × 8, ``(N, h, w)``; float64."""
    count, height, width = plane.shape
    matrix = _cosines(plane.device)
    base = torch.tensor(table, dtype=torch.float64, pin_memory=plane.is_cuda)
    base = base.to(plane.device, non_blocking=True)
    steps = ((base * (200 - 2 * qualities[:, None]) + 50) / 100).floor().clamp_(1, 255)
    steps = steps.view(count, 1, 1, 8, 8)
    blocks = plane.double().view(count, height // 8, 8, width // 8, 8).transpose(2, 3)
    numbers = _rounded(matrix @ blocks @ matrix.T / steps) * steps
    return (matrix.T @ numbers @ matrix).transpose(2, 3).reshape(count, height, width)


def _rounded(values: Tensor) -> Tensor:
    """Rounded; halves go up also where the order of a sum took the last bits off them."""
    return torch.floor(values + (0.5 + 1e-6))


def _cosines(device: torch.device) -> Tensor:
    """The orthonormal cosine transform of 8 values."""
    places = torch.arange(8, dtype=torch.float64, device=device)
    matrix = torch.cos(math.pi / 8 * (places + 0.5) * places[:, None]) / 2
    matrix[0] /= math.sqrt(2)
    return matrix
