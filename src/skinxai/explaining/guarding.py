"""Whether a plugin's explainer left the network and the process as it found them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skinxai.errors import PluginMannersError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class NetworkState:
    """What must not change in a shared network.

    Args:
        tensors: copies of all weights and buffers, by name.
        grads: names of weights that have a ``.grad``.
        frozen: names of weights that need no gradient.
        training: names of modules in training mode.
        hooks: name of each module → numbers of its hooks.
    """

    tensors: dict[str, Tensor]
    grads: frozenset[str]
    frozen: frozenset[str]
    training: frozenset[str]
    hooks: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, network: nn.Module) -> NetworkState:
        """As it is now."""
        weights, modules = dict(network.named_parameters()), dict(network.named_modules())
        tensors = {
            n: t.detach().clone() for n, t in (weights | dict(network.named_buffers())).items()
        }
        return cls(
            tensors,
            frozenset(name for name, weight in weights.items() if weight.grad is not None),
            frozenset(name for name, weight in weights.items() if not weight.requires_grad),
            frozenset(name for name, module in modules.items() if module.training),
            {n: tuple(len(getattr(m, kind)) for kind in _HOOKS) for n, m in modules.items()},
        )

    def differences(self, network: nn.Module) -> list[str]:
        """What has changed, in words."""
        now = NetworkState.of(network)
        kept = self.tensors.keys() == now.tensors.keys() and all(
            before.dtype == now.tensors[name].dtype
            and before.device == now.tensors[name].device
            and torch.equal(before, now.tensors[name])
            for name, before in self.tensors.items()
        )
        checks = {
            "weights": kept,
            ".grad": self.grads == now.grads,
            "requires_grad": self.frozen == now.frozen,
            "train flags": self.training == now.training,
            "hooks": self.hooks == now.hooks,
        }
        return [name for name, same in checks.items() if not same]

    def put_back(self, network: nn.Module) -> None:
        """Undo what can be undone: all but additional modules and weights."""
        tensors = dict(network.named_parameters()) | dict(network.named_buffers())
        for name, weight in network.named_parameters():
            weight.requires_grad_(name not in self.frozen)
            if name not in self.grads:
                weight.grad = None
        for name, before in self.tensors.items():
            if name in tensors:
                tensors[name].data = before.clone()
        for name, module in network.named_modules():
            module.training = name in self.training
            for kind, count in zip(_HOOKS, self.hooks.get(name, ()), strict=False):
                hooks = getattr(module, kind)
                for key in list(hooks)[count:]:
                    del hooks[key]


@contextmanager
def global_states_kept() -> Iterator[None]:
    """Within it, random states may be set; afterwards they and torch's threads are as before."""
    before = _Process.now()
    try:
        yield
    finally:
        before.put_back()


@contextmanager
def manners_checked(who: str, network: nn.Module, *, changes_network: bool) -> Iterator[None]:
    """Within it, nothing may change for good; what did is put back and named.

    Args:
        who: for the message.
        network: that the explainer is given.
        changes_network: it is a private copy, so that only the process is looked at.

    Raises:
        PluginMannersError: the network, a random state, or torch's threads were left changed; also
            in the place of an error of the explainer's own.
    """
    before = _Process.now()
    state = None if changes_network else NetworkState.of(network)

    def put_back() -> list[str]:
        left = [] if state is None else state.differences(network)
        if state is not None and left:
            state.put_back(network)
        return left + before.put_back()

    try:
        yield
    except Exception as error:
        if left := put_back():
            raise _changed(who, left) from error
        raise
    except BaseException:
        put_back()
        raise
    if left := put_back():
        raise _changed(who, left)


def _changed(who: str, left: list[str]) -> PluginMannersError:
    return PluginMannersError(
        f"{who} must leave the network and the process as it found them, but changed "
        f"{', '.join(left)}; everything was restored. An explainer that changes the network sets "
        f"changes_network."
    )


@dataclass(frozen=True)
class _Process:
    """Random states and threads."""

    of_torch: list[Tensor]
    of_numpy: Any
    of_python: Any
    threads: int

    @classmethod
    def now(cls) -> _Process:
        of_torch = [torch.get_rng_state()]
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # asking starts it
            of_torch += torch.cuda.get_rng_state_all()
        states = (of_torch, np.random.get_state(), random.getstate())
        return cls(*states, torch.get_num_threads())

    def put_back(self) -> list[str]:
        """Undo changes and name them."""
        now, left = _Process.now(), []
        pairs = zip(self.of_torch, now.of_torch, strict=False)  # it may have started CUDA
        if not all(torch.equal(before, after) for before, after in pairs):
            left.append("torch's random state")
            torch.set_rng_state(self.of_torch[0])
            torch.cuda.set_rng_state_all(self.of_torch[1:])
        if not all(map(np.array_equal, self.of_numpy, now.of_numpy)):
            left.append("NumPy's random state")
            np.random.set_state(self.of_numpy)
        if self.of_python != now.of_python:
            left.append("Python's random state")
            random.setstate(self.of_python)
        if self.threads != now.threads:
            left.append("torch's number of threads")
            torch.set_num_threads(self.threads)
        return left
