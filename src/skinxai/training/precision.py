"""Choose the precision of a run; on CPUs it is measured."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from skinxai.training.depthwise import FastDepthwise

PRECISIONS: dict[str, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Name → type of mixed precision."""
WITHOUT_BFLOAT16 = "AVX2"
"""What torch calls processors of Intel and AMD that have no AVX-512: bfloat16 takes them some
twenty times as long. The few newer ones that can convert it train in float32 as well."""
STEPS = 3
HOPELESS = 2.0  # of float32's time: no further trial
CLEARLY = 0.9  # of float32's time: less than that is taken for chance


@contextmanager
def mixed_precision(device: torch.device, precision: torch.dtype | None) -> Iterator[None]:
    """`torch.autocast` to ``precision``, on CPUs with `FastDepthwise`; no effect for ``None``."""
    with ExitStack() as stack:
        if precision is not None:
            stack.enter_context(torch.autocast(device.type, precision))
            if device.type == "cpu" and precision is torch.bfloat16:
                stack.enter_context(FastDepthwise())
        yield


@contextmanager
def fastest_kernels() -> Iterator[None]:
    """Context in which cuDNN times its convolutions at each new shape and takes the fastest one.

    It is for shapes that recur in each step; see `expected_kernels` for others. The choice may
    differ from run to run, and with it the last bits; on CUDA no run promises equal bits. Nothing
    is changed where the caller asked torch for deterministic algorithms.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = before or not (
        cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    )
    try:
        yield
    finally:
        cudnn.benchmark = before


@contextmanager
def expected_kernels() -> Iterator[None]:
    """Context in which cuDNN takes the convolutions that it expects to be fast, and times none.

    To time all convolutions of a network at one shape takes seconds, more than they save where the
    shape does not recur in each step.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = False
    try:
        yield
    finally:
        cudnn.benchmark = before


def choose_precision(
    amp: bool | str,
    device: torch.device,
    network: nn.Module | None = None,
    images: Tensor | None = None,
) -> torch.dtype | None:
    """Choose the precision for `mixed_precision`, or ``None`` for float32 throughout.

    On CUDA ``amp=True`` means bfloat16 if the card has it, otherwise float16. On the CPU it means
    bfloat16 if training steps of the network on a batch ``(N, 3, H, W)``, timed in turn, are
    clearly faster with it; none are timed where torch knows no more than AVX2. The network, in
    training mode, gets its batch statistics back.
    """
    if amp is not True:
        return PRECISIONS[amp or "float32"]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if network is None or images is None:
        return None
    if torch.backends.cpu.get_cpu_capability() == WITHOUT_BFLOAT16:
        return None
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    random = torch.get_rng_state()
    best: dict[torch.dtype | None, float] = {None: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(STEPS):
        for precision in best:
            seconds = _seconds(network, images, device, precision)
            best[precision] = min(best[precision], seconds)
        if best[torch.bfloat16] > HOPELESS * best[None]:
            break  # another processor without instructions for it
    network.load_state_dict(before)
    network.zero_grad(set_to_none=True)
    torch.set_rng_state(random)
    return torch.bfloat16 if best[torch.bfloat16] < CLEARLY * best[None] else None


def precision_name(precision: torch.dtype | None) -> str:
    """Name of a precision that `choose_precision` returns."""
    return next(name for name, own in PRECISIONS.items() if own is precision)


def _seconds(
    network: nn.Module, images: Tensor, device: torch.device, precision: torch.dtype | None
) -> float:
    start = time.perf_counter()
    with mixed_precision(device, precision):
        loss = network(images).float().square().mean()
    loss.backward()
    return time.perf_counter() - start
