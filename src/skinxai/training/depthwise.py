"""Depthwise convolutions in bfloat16 on the CPU, with the backward passes that are fast there.

oneDNN's bfloat16 kernels beat its float32 ones everywhere but in two places: the input gradient
of a strided depthwise convolution and the weight gradient of a large depthwise kernel, which are
several times slower. EfficientNets spend half their time there, so plain bfloat16
makes their training slower. `FastDepthwise` computes the first as the gradient of an unstrided
convolution of the zero-filled output gradient, which is the same sum, and the second in float32.

A processor without instructions for bfloat16 computes all of it in float32, rounded once: torch's
own loops there round every partial sum, and take some twenty times as long.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.utils import _pair

from skinxai.backbones.torch_calls import TorchCalls

Pair = tuple[int, int]
_SMALL_KERNEL = 3  # up to this size bfloat16 computes the weight gradient as fast as float32
_backward = torch.ops.aten.convolution_backward


@cache
def computed_in() -> torch.dtype:
    """bfloat16 if oneDNN has bfloat16 kernels for this processor, which sum in float32."""
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else torch.float32


class FastDepthwise(TorchCalls):
    """Context in which depthwise convolutions run in bfloat16, forward and backward."""

    def _called(self, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
        """Replace ``torch.conv2d`` of depthwise form; everything else runs as it is."""
        if function is torch.conv2d and len(args) == 7 and not named:
            images, weight, bias, stride, padding, dilation, groups = args
            plain = bias is None and _pair(dilation) == (1, 1) and not isinstance(padding, str)
            if plain and groups > 1 and groups == images.shape[1] == weight.shape[0]:
                return _Depthwise.apply(images, weight, _pair(stride), _pair(padding))
        return function(*args, **named)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: Pair, padding: Pair) -> Tensor:
        images16 = images.bfloat16()
        ctx.save_for_backward(images16, weight)
        ctx.stride, ctx.padding, ctx.dtype = stride, padding, images.dtype
        groups = images.shape[1]
        result: Tensor = torch.ops.aten.convolution(
            images16.to(computed_in()), weight.bfloat16().to(computed_in()), None, stride, padding,
            (1, 1), False, (0, 0), groups,
        )  # fmt: skip
        return result.bfloat16()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors  # (N, C, H, W), (C, 1, k, k)
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        wants_images, wants_weight = ctx.needs_input_grad[:2]
        of_images = of_weight = None
        if wants_images:
            filled = _zero_filled(grad, images, weight, ctx.stride, ctx.padding)
            dtype = computed_in()
            of_images = _gradients(
                filled.to(dtype), images.to(dtype), weight.bfloat16().to(dtype), (1, 1),
                ctx.padding, 0,
            ).bfloat16().to(ctx.dtype)  # fmt: skip
        if wants_weight:
            dtype = computed_in() if weight.shape[-1] <= _SMALL_KERNEL else torch.float32
            of_weight = _gradients(
                grad.to(dtype), images.to(dtype), weight.to(dtype), ctx.stride, ctx.padding, 1
            ).to(weight.dtype)
        return of_images, of_weight, None, None


def _zero_filled(
    grad: Tensor, images: Tensor, weight: Tensor, stride: Pair, padding: Pair
) -> Tensor:
    """The output gradient that an unstrided convolution would have got, zero between strides."""
    if stride == (1, 1):
        return grad
    height, width = (
        images.shape[2 + axis] + 2 * padding[axis] - weight.shape[2 + axis] + 1 for axis in (0, 1)
    )
    shape = (*grad.shape[:2], height, width)
    filled = torch.empty(
        shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last
    ).zero_()
    filled[:, :, :: stride[0], :: stride[1]] = grad
    return filled


def _gradients(
    grad: Tensor, images: Tensor, weight: Tensor, stride: Pair, padding: Pair, which: int
) -> Tensor:
    mask = (which == 0, which == 1, False)
    found: tuple[Tensor, ...] = _backward(
        grad, images, weight, None, stride, padding, (1, 1), False, (0, 0), images.shape[1], mask
    )
    return found[which]
