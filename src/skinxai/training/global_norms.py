"""Batch statistics of all ranks' images, and the agreement on a pass that does not fit in memory.

Within `GlobalNorms` every ``batch_norm`` in training mode takes mean and variance of the whole
batch, as one rank would. torch's ``SyncBatchNorm`` refuses the CPU, and other classes than its own.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from skinxai.backbones.torch_calls import TorchCalls
from skinxai.errors import TrainingError
from skinxai.training.ranks import Ranks, answering


class OtherRankOutOfMemoryError(MemoryError):
    """Another rank has no memory for its micro-batch."""


class Exchange:
    """Sums over all ranks in the middle of a pass, which end the pass if one rank has failed.

    A rank that runs out of memory cannot know which sum the others wait for. So all messages of
    a pass on the CPU have one length, with a place for the number of ranks that failed. On CUDA,
    where reading such a place would wait for the device, it is summed on the CPU beforehand.

    Args:
        ranks: the ranks.
        network: the network; its largest normalisation gives the length.
    """

    def __init__(self, ranks: Ranks, network: nn.Module) -> None:
        self.ranks = ranks
        sizes = [each.numel() for each in network.buffers() if each.device.type == "cpu"] + [1]
        self._length = 2 * max(sizes) + 1

    def total(self, values: Tensor) -> Tensor:
        """The sum of float64 ``values`` over all ranks.

        Raises:
            OtherRankOutOfMemoryError: if another rank called `fail`.
        """
        if values.device.type == "cpu" and len(values) <= self._length:
            return self._message(values, failed=0.0)[: len(values)]
        self._message(values.new_empty(0, device="cpu"), failed=0.0)
        return self.ranks.total(values)

    def fail(self, error: BaseException) -> None:
        """Tell the others that this rank is out of memory, unless one of them said it first."""
        if not self.ranks.alone and not isinstance(error, OtherRankOutOfMemoryError):
            self._message(torch.empty(0, dtype=torch.float64), failed=1.0)

    def end(self, gradients: int) -> None:
        """Agree that the pass, with so many weights that have a gradient, is complete on all ranks.

        Raises:
            OtherRankOutOfMemoryError: if another rank called `fail`.
            TrainingError: if ranks used different weights.
        """
        if self.ranks.alone:
            return
        every = self.total(torch.tensor([float(gradients), gradients**2], dtype=torch.float64))
        if float(every[0]) ** 2 != self.ranks.count * float(every[1]):  # Cauchy and Schwarz: equal
            raise TrainingError(
                "the network must use the same weights on every rank in each step, but ranks have "
                "gradients of different weights; train it on one rank."
            )

    def _message(self, values: Tensor, *, failed: float) -> Tensor:
        """The sum over all ranks; gathering takes gloo half as many turns as reducing."""
        own = torch.zeros(self._length + 1, dtype=torch.float64)
        own[: len(values)], own[-1] = values, failed
        every = own.new_empty(self.ranks.count, len(own))
        with answering():
            dist.all_gather(list(every), own)
        message = every.sum(0)
        if message[-1] and not failed:
            raise OtherRankOutOfMemoryError("out of memory on another rank")
        return message


class OwnNorms(TorchCalls):
    """Context in which batch statistics are those of the rank's own images.

    A rank without images, or with one value of each channel, has none and takes running ones.
    """

    def _called(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        """Replace ``batch_norm``; everything else runs as it is."""
        if function is functional.batch_norm:
            return self._batch_norm(*args, **named)
        return function(*args, **named)

    def _batch_norm(
        self, values: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
        weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
        momentum: float = 0.1, eps: float = 1e-5,
    ) -> Tensor:  # fmt: skip
        training = training and values.numel() > values.shape[1]
        return functional.batch_norm(
            values, running_mean, running_var, weight, bias, training, momentum, eps
        )


class GlobalNorms(OwnNorms):
    """Context in which batch statistics are those of all ranks' images."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def _batch_norm(
        self, values: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
        weight: Tensor | None = None, bias: Tensor | None = None, training: bool = False,
        momentum: float = 0.1, eps: float = 1e-5,
    ) -> Tensor:  # fmt: skip
        if not training:
            return functional.batch_norm(
                values, running_mean, running_var, weight, bias, False, momentum, eps
            )
        found, mean, var, count = _Normalised.apply(values, weight, bias, eps, self._exchange)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean, momentum)
                running_var.lerp_(var * (count / (count - 1).clamp(min=1)), momentum)
        normalised: Tensor = found
        return normalised


class _Normalised(torch.autograd.Function):
    """Ioffe & Szegedy, ICML 2015, algorithm 1 and its gradients, with sums over all ranks."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float,
        exchange: Exchange,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        channels = values.shape[1]
        own = values.numel() // channels
        sums = torch.zeros(2 * channels + 1, dtype=torch.float64, device=values.device)
        if own:
            mean, var = (each.double() for each in torch.batch_norm_update_stats(
                values, None, None, 0.0))  # fmt: skip
            torch.cat([own * mean, own * (var + mean**2), sums.new_tensor([own])], out=sums)
        sums = exchange.total(sums)
        count = sums[-1]
        mean, squares = sums[:channels] / count, sums[channels:-1] / count
        var = (squares - mean**2).clamp(min=0)
        mean, var, count = (each.to(torch.float32) for each in (mean, var, count))
        ctx.save_for_backward(values, weight, bias, mean, var, count)
        ctx.eps, ctx.exchange = eps, exchange
        found = functional.batch_norm(values, mean, var, weight, bias, False, 0.0, eps)
        ctx.mark_non_differentiable(mean, var, count)
        return found, mean, var, count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, bias, mean, var, count = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight.float()
        grad = grads[0].contiguous(memory_format=_format(values))
        if values.numel():
            _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                grad, values, scale, mean, var, None, None, False, ctx.eps, [False, True, True]
            )
        else:  # torch divides by the number of images
            of_weight, of_bias = torch.zeros_like(scale), torch.zeros_like(scale)
        sums = ctx.exchange.total(torch.cat([of_bias, of_weight]).double()).float() / count
        inverse = torch.rsqrt(var + ctx.eps)
        slope = -scale * inverse**2 * sums[len(mean) :]
        offset = -scale * inverse * sums[: len(mean)] - slope * mean
        shape = (1, -1, *[1] * (values.ndim - 2))
        scale, slope, offset = (e.view(shape) for e in (scale * inverse, slope, offset))
        found = torch.addcmul(offset, values, slope).addcmul_(grad, scale)  # cast by autograd
        return (
            found, of_weight if weight is not None else None,
            of_bias if bias is not None else None, None, None,
        )  # fmt: skip


def running_statistics(network: nn.Module) -> list[Tensor]:
    """Running means and variances that a pass in training mode has changed."""
    found = []
    for module in network.modules():
        if module.training:
            both = (getattr(module, name, None) for name in ("running_mean", "running_var"))
            found += [each for each in both if isinstance(each, Tensor)]
    return found


def _format(values: Tensor) -> torch.memory_format:
    last = values.ndim == 4 and values.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
