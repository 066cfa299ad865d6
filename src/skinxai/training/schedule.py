"""What changes from step to step: learning rate, and the average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from skinxai.configs import TrainConfig


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups: matrices and kernels decay, vectors do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def learning_rate(config: TrainConfig, step: int, steps_each: int) -> float:
    """Learning rate of a step: 5 % linear warm-up, then half a cosine down to 1 %.

    Args:
        config: the run's settings.
        step: from 0, over all epochs.
        steps_each: steps in one epoch.
    """
    total = config.epochs * steps_each
    warm_up = max(1, total // 20)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    done = (step - warm_up) / max(1, total - warm_up)
    return config.learning_rate * max(0.01, 0.5 * (1 + math.cos(math.pi * done)))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, config: TrainConfig) -> None:
    """Move the average towards the network: ``a ← d a + (1 − d) w``, buffers included."""
    decay = min(config.average_decay, (1 + step) / (10 + step))  # follow closely at the start
    own = model.state_dict()
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(own[name], 1 - decay)
        else:
            tensor.copy_(own[name])
