"""What stands in for pixels that are taken away."""

import torch
from torch import Tensor
from torch.nn import functional

from skinxai.errors import OptionError

BASELINES = ("mean", "zero", "blur")
BLUR = 0.1
"""Standard deviation of ``blur``, a share of the image's shorter side."""


def check_baseline(kind: str) -> None:
    """Refuse an unknown kind.

    Raises:
        OptionError: not one of `BASELINES`.
    """
    if kind not in BASELINES:
        raise OptionError(f"baseline must be one of {BASELINES}, got {kind!r}.")


def baseline(images: Tensor, kind: str) -> Tensor:
    """Images without what is to be explained.

    Args:
        images: ``(N, 3, H, W)`` float32, preprocessed.
        kind: ``"mean"``: each image's mean colour; ``"zero"``: 0 after preprocessing, which is the
            mean colour of the preprocessing; ``"blur"``: a Gaussian blur that leaves colours.

    Returns:
        ``(N, 3, H, W)`` float32.

    Raises:
        OptionError: another kind.
    """
    check_baseline(kind)
    if kind == "zero":
        return torch.zeros_like(images)
    if kind == "mean":
        return images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    return blurred(images, BLUR * min(images.shape[2:]))


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with reflected borders.

    Args:
        images: ``(N, C, H, W)`` float.
        sigma: standard deviation in pixels, > 0.
    """
    reach = min(int(3 * sigma + 0.5), min(images.shape[2:]) - 1)
    places = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    rows = kernel.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
    padded = functional.pad(images, (reach, reach, reach, reach), mode="reflect")
    once = functional.conv2d(padded, rows, groups=channels)
    return functional.conv2d(once, rows.transpose(2, 3), groups=channels)
