"""Answers in evaluation mode from a network that its owner may be training."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from skinxai.backbones.exact_float32 import exact_float32
from skinxai.backbones.module_walk import modules_of
from skinxai.errors import ModelError

_changing = threading.Lock()
_lent: dict[int, int] = {}
"""``id`` of a module in training mode that answers in evaluation mode now → of how many answers."""


@contextmanager
def evaluating(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Within it, the networks are in evaluation mode; afterwards each train flag is as before.

    What they compute in float32 is exact float32; see `exact_float32`. Threads may be within it at
    the same time. Flags are set one by one, so that networks whose ``train()`` does more, such as
    keeping batch normalisation frozen, stay as they are.

    Args:
        networks: what answers.

    Raises:
        ModelError: another thread put a module into training mode in the meantime: the answer may
            be wrong, and statistics of batch normalisation may have been written.
    """
    modules = modules_of(networks)
    with _changing:
        lent = [module for module in modules if id(module) in _lent or _trains(module)]
        for module in lent:
            _lent[id(module)] = _lent.get(id(module), 0) + 1
            module.training = False
    try:
        with exact_float32():
            yield
    finally:
        with _changing:
            disturbed = any(map(_trains, modules))
            for module in lent:
                _lent[id(module)] -= 1
                if not _lent[id(module)]:
                    del _lent[id(module)]
                    module.training = True
    if disturbed:
        raise ModelError(
            "a network must stay in evaluation mode while it predicts, but another thread put it "
            "into training mode; train and predict one after the other, or predict with a "
            "copy.deepcopy() of it."
        )


def _trains(module: nn.Module) -> bool:
    return bool(getattr(module, "training", False))  # frozen TorchScript has no such flag


@contextmanager
def plain_float32(device: torch.device) -> Iterator[None]:
    """Gradients are possible and nothing is rounded, whatever the caller's modes are."""
    with (
        torch.inference_mode(False), torch.autocast(device.type, enabled=False), exact_float32(),
    ):  # fmt: skip
        yield
