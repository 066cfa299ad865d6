"""Which precision a run trains in, measured where it cannot be known."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

from skinxai.errors import OptionError

CHOICES: dict[object, torch.dtype | None] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    False: None,
}
STEPS = 3


def choose_precision(
    amp: bool | str, network: nn.Module, images: Tensor, device: torch.device
) -> torch.dtype | None:
    """Precision for `torch.autocast`, or ``None`` for float32 throughout.

    On CUDA ``amp=True`` means bfloat16 where the card has it, else float16. On the CPU it means
    bfloat16 where a timed training step on ``images`` is faster with it.

    Args:
        amp: ``True``, ``False``, ``"bfloat16"`` or ``"float16"``.
        network: in training mode; its batch statistics are put back.
        images: one batch ``(N, 3, H, W)``.
        device: where the run trains.
    """
    if amp is not True:
        if amp not in CHOICES:
            raise OptionError(f"amp must be True, False, 'bfloat16' or 'float16', got {amp!r}.")
        return CHOICES[amp]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    random = torch.get_rng_state()
    seconds = {dtype: _seconds(network, images, dtype) for dtype in (None, torch.bfloat16)}
    network.load_state_dict(before)
    network.zero_grad(set_to_none=True)
    torch.set_rng_state(random)
    return min(seconds, key=seconds.__getitem__)


def _seconds(network: nn.Module, images: Tensor, dtype: torch.dtype | None) -> float:
    best = float("inf")
    for _ in range(STEPS):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss = network(images).float().square().mean()
        loss.backward()
        best = min(best, time.perf_counter() - start)
    return best
