"""Whether a plugin's explainer left the network and the process as it found them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as every_module

from skinxai.errors import PluginMannersError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PARTS = ("_modules", "_parameters", "_buffers")
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
    ),
    "torch's deterministic algorithms": (
        torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode,
    ),
    "NumPy's error handling": (np.geterr, lambda kinds: np.seterr(**kinds)),
}  # fmt: skip
"""Of the process or the thread: what is named → what reads it and what sets it."""


@dataclass(frozen=True)
class _ModuleState:
    """One module as it was.

    Args:
        module: itself.
        parts: its submodules, weights and buffers, the objects themselves by name.
        hooks: its hooks of each kind, by their numbers.
        settings: what its class declares as its constants, such as ``stride`` or ``eps``; other
            attributes may be ones that a pass writes.
        forward: a ``forward`` that was set on this one module, or ``None``.
        training: whether it is in training mode.
    """

    module: nn.Module
    parts: tuple[dict[str, Any], ...]
    hooks: tuple[dict[int, Any], ...]
    settings: dict[str, Any]
    forward: Any
    training: bool

    @classmethod
    def of(cls, module: nn.Module) -> "_ModuleState":
        """As it is now."""
        parts, hooks = (
            tuple(dict(getattr(module, kind).items()) for kind in kinds)
            for kinds in (_PARTS, _HOOKS)
        )
        training = bool(getattr(module, "training", False))  # frozen TorchScript has no such flag
        own = vars(module)
        declared = getattr(type(module), "__constants__", ())
        settings = {name: own[name] for name in declared if name in own}
        return cls(module, parts, hooks, settings, own.get("forward"), training)

    def put_back(self) -> None:
        """Make it so again."""
        module, now = self.module, _ModuleState.of(self.module)
        if now.training != self.training:
            module.training = self.training
        kinds = zip((*_PARTS, *_HOOKS), self.parts + self.hooks, now.parts + now.hooks, strict=True)
        for kind, before, after in kinds:
            if not _same_objects(before, after):
                getattr(module, kind).clear()
                getattr(module, kind).update(before)
        if not _same_settings(self.settings, now.settings):
            for name in now.settings:
                del vars(module)[name]
            vars(module).update(self.settings)
        if now.forward is not self.forward:
            del module.__dict__["forward"]
            if self.forward is not None:
                module.__dict__["forward"] = self.forward


@dataclass(frozen=True)
class NetworkState:
    """What must not change in a shared network.

    Args:
        tensors: copies of all weights and buffers, by name.
        grads: copies of the weights' ``.grad``, by name, where they have one.
        frozen: names of weights that need no gradient.
        modules: name of each module → its state.
    """

    tensors: dict[str, Tensor]
    grads: dict[str, Tensor]
    frozen: frozenset[str]
    modules: dict[str, _ModuleState]

    @classmethod
    def of(cls, network: nn.Module) -> "NetworkState":
        """As it is now."""
        weights = dict(network.named_parameters())
        tensors = weights | dict(network.named_buffers())
        return cls(
            {name: tensor.detach().clone() for name, tensor in tensors.items()},
            {n: w.grad.detach().clone() for n, w in weights.items() if w.grad is not None},
            frozenset(name for name, weight in weights.items() if not weight.requires_grad),
            {name: _ModuleState.of(module) for name, module in network.named_modules()},
        )

    def differences(self, network: nn.Module) -> list[str]:
        """What has changed, in words."""
        now = NetworkState.of(network)
        kept = self.modules.keys() == now.modules.keys()
        pairs = [(each, now.modules[name]) for name, each in self.modules.items()] if kept else []
        checks = {
            "weights": _same_tensors(self.tensors, now.tensors),
            ".grad": _same_tensors(self.grads, now.grads),
            "requires_grad": self.frozen == now.frozen,
            "modules": kept and all(
                one.module is two.module and one.forward is two.forward
                and _same_settings(one.settings, two.settings) for one, two in pairs
            ),
            "train flags": all(one.training == two.training for one, two in pairs),
            "hooks": all(
                all(map(_same_objects, one.hooks, two.hooks)) for one, two in pairs
            ),
        }  # fmt: skip
        return [name for name, same in checks.items() if not same]

    def put_back(self, network: nn.Module) -> None:
        """Make all of it so again."""
        for each in self.modules.values():
            each.put_back()
        tensors = dict(network.named_parameters()) | dict(network.named_buffers())
        for name, before in self.tensors.items():
            tensors[name].data = before.clone()
        for name, weight in network.named_parameters():
            weight.requires_grad_(name not in self.frozen)
            weight.grad = self.grads[name].clone() if name in self.grads else None


def _same_objects(before: dict[Any, Any], after: dict[Any, Any]) -> bool:
    return list(before) == list(after) and all(after[key] is each for key, each in before.items())


def _same_settings(before: dict[str, Any], after: dict[str, Any]) -> bool:
    plain = (bool, int, float, str, tuple)  # others, such as tensors, are compared by identity
    return before.keys() == after.keys() and all(
        after[name] is each
        or (isinstance(each, plain) and type(after[name]) is type(each) and after[name] == each)
        for name, each in before.items()
    )


def _same_tensors(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    return before.keys() == after.keys() and all(
        each.dtype == after[name].dtype
        and each.device == after[name].device
        and each.shape == after[name].shape
        and (torch.equal(each, after[name]) or _equal_but_for_nan(each, after[name]))
        for name, each in before.items()
    )


def _equal_but_for_nan(before: Tensor, after: Tensor) -> bool:
    if not before.is_floating_point():
        return False
    return torch.allclose(before, after, rtol=0, atol=0, equal_nan=True)


@contextmanager
def global_states_kept() -> Iterator[None]:
    """Within it, random states may be set; afterwards the whole `_Process` is as before."""
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
        PluginMannersError: the network, a random state, one of `_SETTINGS`, or the hooks of all
            modules were left changed; also in the place of an error of the explainer's own.
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
    """Random states, settings, and hooks that torch calls for all modules.

    Args:
        settings: of `_SETTINGS`, by name.
        hooks: by their kind.
    """

    of_torch: list[Tensor]
    of_numpy: Any
    of_python: Any
    settings: dict[str, Any]
    hooks: dict[str, dict[int, Any]]

    @classmethod
    def now(cls) -> "_Process":
        of_torch = [torch.get_rng_state()]
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # asking starts it
            of_torch += torch.cuda.get_rng_state_all()
        states = (of_torch, np.random.get_state(), random.getstate())
        hooks = {kind: dict(found) for kind, found in _hooks_of_all_modules().items()}
        return cls(*states, {name: read() for name, (read, _) in _SETTINGS.items()}, hooks)

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
        for name, before in self.settings.items():
            if now.settings[name] != before:
                left.append(name)
                _SETTINGS[name][1](before)
        if not all(_same_objects(each, now.hooks[kind]) for kind, each in self.hooks.items()):
            left.append("hooks of all modules")
            for kind, found in _hooks_of_all_modules().items():
                found.clear()
                found.update(self.hooks[kind])
        return left


def _hooks_of_all_modules() -> dict[str, dict[int, Any]]:
    """The dictionaries themselves, by their names in torch."""
    return {
        name: found
        for name, found in vars(every_module).items()
        if name.startswith("_global_") and isinstance(found, dict)
    }
