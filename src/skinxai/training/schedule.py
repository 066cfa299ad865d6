"""What changes from step to step: learning rate, and the average of the weights."""

from __future__ import annotations

import math

import torch
from torch import nn

from skinxai.training.settings import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps_each: int) -> float:
    """Learning rate of a step: a linear warm-up, then half a cosine down to 1 %.

    Loshchilov & Hutter, "SGDR", ICLR 2017, equation 5, without restarts.

    Args:
        config: the run's settings.
        step: from 0, over all epochs.
        steps_each: steps in one epoch.
    """
    total = config.epochs * steps_each
    warm_up = max(1, int(total * config.warm_up))
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    done = (step - warm_up) / max(1, total - warm_up)
    return config.learning_rate * max(0.01, 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the network: ``a ← d a + (1 − d) w``, buffers included.

    Args:
        average: changed in place.
        model: the network.
        step: from 0; at the start d is at most ``(1 + step) / (10 + step)``.
        decay: d.
    """
    decay = min(decay, (1 + step) / (10 + step))
    own, floats, targets = model.state_dict(), [], []
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            floats.append(tensor)
            targets.append(own[name])
        else:
            tensor.copy_(own[name])
    torch._foreach_lerp_(floats, targets, 1 - decay)
