"""Parameter groups, learning rate and moving average of the weights."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from skinxai.errors import OptionError
from skinxai.plain_text import counted
from skinxai.training.divided_weights import piece
from skinxai.training.settings import TrainConfig
from skinxai.training.transfers import copy_all


def parameter_groups(
    network: nn.Module, layers: Sequence[Sequence[str]], config: TrainConfig
) -> list[dict[str, Any]]:
    """Make groups for AdamW, each with ``scale``, the factor on the learning rate.

    Matrices and kernels have weight decay, vectors have none. The group of layers before the head
    has the scale ``layer_decay``, the one before that its square, and so on (Clark et al.,
    "ELECTRA", ICLR 2020). The first ``frozen_groups`` groups of layers, of those that
    ``backbones.layer_groups`` names from the input to the head, are left out and stop learning.

    Raises:
        OptionError: if at most the head would learn.
    """
    if config.frozen_groups >= len(layers):
        raise OptionError(
            f"frozen_groups must be below the {counted(len(layers), 'group')} of layers that "
            f"{config.backbone!r} has, got {config.frozen_groups}."
        )
    named = dict(network.named_parameters())
    groups = []
    for depth, names in enumerate(layers):
        parameters = [named[name] for name in names]
        if depth < config.frozen_groups:
            for parameter in parameters:
                parameter.requires_grad_(False)
            continue
        scale = config.layer_decay ** (len(layers) - 1 - depth)
        for decay, some in (
            (config.weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            if some:
                groups.append({"params": some, "weight_decay": decay, "scale": scale})
    return groups


def frozen_norms(network: nn.Module) -> list[nn.Module]:
    """BatchNorm layers whose weights do not learn: their statistics must not move either."""
    return [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm)
        and not any(parameter.requires_grad for parameter in module.parameters())
        and any(True for _ in module.parameters())
    ]


def learning_rate(config: TrainConfig, step: int, steps_each: int) -> float:
    """Learning rate of a step, from 0 over all epochs: a linear warm-up, then half a cosine to 1 %.

    Loshchilov & Hutter, "SGDR", ICLR 2017, equation 5, without restarts.
    """
    total = config.epochs * steps_each
    warm_up = max(1, int(total * config.warm_up))
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    done = (step - warm_up) / max(1, total - warm_up)
    return config.learning_rate * max(0.01, 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the average, in place, towards the network: ``a ← d a + (1 − d) w``, buffers included.

    d is ``decay``, and at the start at most ``(1 + step) / (10 + step)``, with steps from 0. Both
    are divided among the ranks alike.
    """
    decay = min(decay, (1 + step) / (10 + step))
    stored = set(model.state_dict())
    own, weights = (
        {name: piece(tensor) for name, tensor in _each_once(network) if name in stored}
        for network in (average, model)
    )
    floats = [name for name, tensor in own.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([own[n] for n in floats], [weights[n] for n in floats], 1 - decay)
    others = sorted(set(own) - set(floats))
    copy_all([own[n] for n in others], [weights[n] for n in others])


def _each_once(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers; a weight that is tied to another is named only once."""
    yield from network.named_parameters()
    yield from network.named_buffers()
