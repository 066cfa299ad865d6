"""Batch normalisation folded into the convolutions before it: the same function, less work."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from skinxai.backbones.network import SkinClassifier

TOLERANCE = 1e-4


class Activation(nn.Module):
    """What is left of a normalisation that also rectifies (timm's ``BatchNormAct2d``).

    Args:
        drop: its dropout layer.
        act: its activation.
    """

    def __init__(self, drop: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.drop, self.act = drop, act

    def forward(self, values: Tensor) -> Tensor:
        """Any shape to the same."""
        result: Tensor = self.act(self.drop(values))
        return result


def folded(model: SkinClassifier, image_size: tuple[int, int]) -> SkinClassifier:
    """A copy for evaluation without the normalisations that follow a convolution directly.

    Which do is seen in a pass over a drawn image, whose features and logits must stay the same
    within 1e-4 of the largest; the model itself is returned where they don't, or where nothing can
    be folded.

    Args:
        model: in evaluation mode.
        image_size: ``(H, W)`` that it takes.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in model.network.modules()):
        return model
    device = next(model.network.parameters()).device
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, *image_size, generator=draws, device="cpu").to(device)
    try:
        with torch.no_grad(), _followers(model.network) as pairs:
            before = _outputs(model, images)
    except RuntimeError:  # no memory, say: an answer that is asked for will tell
        return model
    if not pairs:
        return model
    copied = copy.deepcopy(model)
    modules = dict(copied.network.named_modules())
    for convolution, norm in pairs.items():
        _fold(modules, convolution, norm)
    with torch.no_grad():
        after = _outputs(copied, images)
    same = [
        one.shape == two.shape and bool((one - two).abs().max() <= TOLERANCE * one.abs().max())
        for one, two in zip(before, after, strict=True)
    ]
    return copied.eval() if all(same) else model


def _outputs(model: SkinClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits: a normalisation must not move to the other side of the split."""
    features = model.features(images)
    logits = model.logits(features)
    return (features, logits) if isinstance(features, Tensor) else (logits, logits)


@contextmanager
def _followers(network: nn.Module) -> Iterator[dict[str, str]]:
    """Name of a convolution → name of the normalisation that alone is given its output."""
    pairs: dict[str, str] = {}
    outputs: dict[int, tuple[str, Tensor]] = {}  # keeps tensors, so that no id comes twice
    calls: Counter[str] = Counter()
    handles = []

    def after(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            outputs[id(output)] = (name, output)

        return hook

    def before(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            calls[name] += 1
            if id(inputs[0]) in outputs:
                pairs[outputs[id(inputs[0])][0]] = name

        return hook

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(after(name)))
        elif (type(module) is nn.BatchNorm2d or _rectifies(module)) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(before(name)))
    try:
        yield pairs
    finally:
        for handle in handles:
            handle.remove()
    for convolution, norm in list(pairs.items()):
        if calls[convolution] != 1 or calls[norm] != 1:
            del pairs[convolution]


def _rectifies(module: nn.Module) -> bool:
    """Whether it is timm's ``BatchNormAct2d``, told without timm, whose import takes seconds."""
    kind = type(module)
    return (kind.__module__, kind.__name__) == ("timm.layers.norm_act", "BatchNormAct2d")


def _fold(modules: dict[str, nn.Module], convolution: str, norm: str) -> None:
    conv, bn = modules[convolution], modules[norm]
    assert isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None and bn.running_var is not None
    conv.weight, bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    conv.bias = bias
    parent, _, own = norm.rpartition(".")
    left: nn.Module = nn.Identity()
    if _rectifies(bn):
        left = Activation(bn.get_submodule("drop"), bn.get_submodule("act"))
    setattr(modules[parent], own, left)
