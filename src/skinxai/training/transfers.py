"""Copies that nothing waits for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(values: Any, like: Tensor) -> Tensor:
    """A NumPy array as a tensor on the device of ``like``.

    From page-locked memory a copy to a CUDA device waits for nothing that the device computes.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if like.device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(like.device, non_blocking=True)


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors into others of the same type, at once instead of one by one."""
    pairs = list(zip(targets, sources, strict=True))
    for floating in (True, False):  # of mixed types torch would copy one by one
        some = [pair for pair in pairs if pair[0].is_floating_point() == floating]
        if some:
            torch._foreach_copy_([target for target, _ in some], [source for _, source in some])
