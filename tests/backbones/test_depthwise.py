"""`FastDepthwise` against torch's own convolution and gradients in float64."""

import copy
import itertools
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from skinxai import backbones
from skinxai.training import depthwise
from skinxai.training.depthwise import FastDepthwise
from skinxai.training.precision import mixed_precision

CPU = torch.device("cpu")
ROUNDING = 2**-8  # of bfloat16: half a unit in the last of 8 bits


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Values that bfloat16 holds exactly, so that only results are rounded."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draws).bfloat16().float()


def gradients(
    images: Tensor, weight: Tensor, grad: Tensor, stride: int, padding: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    leaves = [t.detach().to(dtype).requires_grad_() for t in (images, weight)]
    result = conv2d(*leaves, None, stride, padding, 1, images.shape[1])
    return (result, *torch.autograd.grad(result, leaves, grad.to(result.dtype)))


CASES = list(itertools.product((3, 5), (1, 2), (0, 1, 2), ((8, 12), (9, 13), (7, 10))))


@pytest.fixture(params=["this processor", "one without bfloat16"])
def processor(request, monkeypatch) -> None:
    if request.param != "this processor":
        monkeypatch.setattr(depthwise, "computed_in", lambda: torch.float32)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), CASES)
def test_gradients_of_depthwise_convolutions(kernel, stride, padding, size) -> None:
    images, weight = numbers(2, 6, *size), numbers(6, 1, kernel, kernel, seed=1)
    images = images.to(memory_format=torch.channels_last)
    shape = conv2d(images, weight, None, stride, padding, 1, 6).shape
    grad = numbers(*shape, seed=2)
    expected = gradients(images, weight, grad, stride, padding, torch.float64)
    with FastDepthwise():
        found = gradients(images, weight, grad, stride, padding, torch.float32)
    assert found[0].dtype is torch.bfloat16 and found[0].shape == shape
    assert found[1].dtype is found[2].dtype is torch.float32
    # each sum is rounded once; its terms are exact and summed in float32
    for own, wanted in zip(found, expected, strict=True):
        bound = ROUNDING * wanted.abs() + 1e-4
        assert bool(((own.double() - wanted).abs() <= bound).all())
    if kernel == 5:  # computed in float32 throughout
        torch.testing.assert_close(found[2].double(), expected[2], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("size", [(10, 7), (7, 10)])
def test_rows_and_columns_are_not_mixed_up(size) -> None:
    images, weight = numbers(1, 3, *size), numbers(3, 1, 3, 5, seed=1)
    leaves = [t.clone().requires_grad_() for t in (images, weight)]
    with FastDepthwise():
        result = conv2d(*leaves, None, (2, 1), (0, 2), 1, 3)
    grad = numbers(*result.shape, seed=2)
    found = torch.autograd.grad(result, leaves, grad.bfloat16())
    exact = [t.double().requires_grad_() for t in (images, weight)]
    wanted = conv2d(*exact, None, (2, 1), (0, 2), 1, 3)
    expected = torch.autograd.grad(wanted, exact, grad.double())
    for own, right in zip(found, expected, strict=True):
        torch.testing.assert_close(own.double(), right, atol=1e-3, rtol=2 * ROUNDING)


def test_only_what_learns_gets_a_gradient() -> None:
    for which in (0, 1):
        leaves = [numbers(2, 4, 9, 9), numbers(4, 1, 3, 3)]
        leaves[which].requires_grad_()
        with FastDepthwise():
            conv2d(*leaves, None, 2, 1, 1, 4).sum().backward()
        assert leaves[which].grad is not None and leaves[1 - which].grad is None


@pytest.mark.parametrize(
    ("channels", "layer"),
    [
        (8, nn.Conv2d(8, 8, 3, bias=False)),  # one group
        (8, nn.Conv2d(8, 8, 3, groups=2, bias=False)),  # two channels of a group
        (8, nn.Conv2d(8, 16, 3, groups=8, bias=False)),  # two results of a channel
        (8, nn.Conv2d(8, 8, 3, groups=8)),  # with a bias
        (8, nn.Conv2d(8, 8, 3, groups=8, dilation=2, bias=False)),
        (8, nn.Conv2d(8, 8, 3, groups=8, padding="same", bias=False)),
        (1, nn.Conv2d(1, 1, 3, bias=False)),
        (8, nn.Conv2d(8, 8, 3, groups=8, padding=1, padding_mode="reflect", bias=True)),
    ],
)
def test_other_convolutions_are_left_alone(channels, layer) -> None:
    images = numbers(2, channels, 9, 9)
    before = layer(images)
    with FastDepthwise():
        inside = layer(images)
    assert inside.dtype is torch.float32 and torch.equal(inside, before)


def test_nothing_is_left_after_the_context() -> None:
    layer, images = nn.Conv2d(8, 8, 3, groups=8, bias=False), numbers(2, 8, 9, 9)
    before, others = layer(images), []
    with FastDepthwise():
        assert layer(images).dtype is torch.bfloat16
        thread = threading.Thread(target=lambda: others.append(layer(images)))
        thread.start()  # another thread's convolutions are its own
        thread.join()
        copied = copy.deepcopy(layer)
    for result in (layer(images), copied(images), *others):
        assert result.dtype is torch.float32 and torch.equal(result, before)
    with pytest.raises(RuntimeError, match="stops"), FastDepthwise():
        raise RuntimeError("stops")
    assert layer(images).dtype is torch.float32


def network_gradients(model: nn.Module, images: Tensor, precision: torch.dtype | None) -> Tensor:
    model.zero_grad()
    with mixed_precision(CPU, precision):
        logits = model(images)
    logits.float().square().mean().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_efficientnet_lite_under_autocast() -> None:
    """Its gradients are as far from float32's as those of bfloat16 as it comes, and no further."""
    model = backbones.build("tf_efficientnet_lite0", 7).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    images = numbers(2, 3, 64, 64)
    exact = network_gradients(model, images, None)
    fast = network_gradients(model, images, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images)
    model.zero_grad()
    logits.float().square().mean().backward()
    plain = torch.cat([p.grad.flatten() for p in model.parameters()])
    errors = [float((found - exact).norm() / exact.norm()) for found in (fast, plain)]
    assert 0 < errors[0] < 1.1 * errors[1] < 0.5


def test_the_networks_depthwise_layers_are_reached(monkeypatch) -> None:
    calls: list[int] = []
    original = FastDepthwise.__torch_function__

    def counted(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = original(self, func, types, args, kwargs)
        if func is torch.conv2d and type(result.grad_fn).__name__ == "_DepthwiseBackward":
            calls.append(args[1].shape[0])
        return result

    monkeypatch.setattr(FastDepthwise, "__torch_function__", counted)
    model = backbones.build("tf_efficientnet_lite0", 7).train()
    with mixed_precision(CPU, torch.bfloat16):
        model(numbers(2, 3, 64, 64))
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert calls == [layer.out_channels for layer in layers] and len(calls) == 16
