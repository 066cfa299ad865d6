"""What a plugin leaves changed is named and put back, also while others run."""

import numpy as np
import pytest
import torch
from test_explaining import THREE, same
from torch.nn.modules.module import (
    _has_any_global_hook,
    register_module_forward_hook,
    register_module_full_backward_hook,
)
from waiting import Meeting, WatchedLock

from skinxai import Attribution, Explainer
from skinxai.errors import PluginMannersError
from skinxai.explaining import attributing
from skinxai.explaining.guarding import NetworkState
from skinxai.testing.networks import ColourNetwork, of_network


def widen(network) -> None:
    network.double()


def change_weights(network) -> None:
    next(network.parameters()).data.add_(1)


def freeze(network) -> None:
    network.requires_grad_(False)


def train(network) -> None:
    network.train()


def hook(network) -> None:
    network.colours.register_full_backward_hook(lambda *_: None)


def leave_grad(network) -> None:
    network.classifier.weight.grad = torch.ones_like(network.classifier.weight)


def accumulate_grad(network) -> None:
    network.colours.weight.grad += 1


def swap_activation(network) -> None:
    network.dropout = torch.nn.Identity()


def replace_forward(network) -> None:
    network.classifier.forward = lambda values: values


def stride(network) -> None:
    network.colours.stride = (2, 2)


def drop_less(network) -> None:
    network.dropout.p = 0.1


def pad(network) -> None:
    del network.colours.padding


def hook_all(network) -> None:
    register_module_forward_hook(lambda module, given, made: 0 * made)


def hook_all_backward(network) -> None:
    register_module_full_backward_hook(lambda *_: None)


def remove_hooks(network) -> None:
    network.colours._forward_hooks.clear()


def exchange_hook(network) -> None:
    network.colours._forward_hooks.clear()
    network.colours.register_forward_hook(lambda *_: None)


def seed_torch(network) -> None:
    torch.manual_seed(7)


def seed_numpy(network) -> None:
    np.random.seed(7)


def threads(network) -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


def default_dtype(network) -> None:
    torch.set_default_dtype(torch.float64)


def default_device(network) -> None:
    torch.set_default_device("meta")


def deterministic(network) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)


def numpy_errors(network) -> None:
    np.seterr(divide="raise")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (change_weights, "weights"),
        (widen, "weights"),
        (freeze, "requires_grad"),
        (train, "train flags"),
        (hook, "hooks"),
        (leave_grad, ".grad"),
        (accumulate_grad, ".grad"),
        (swap_activation, "modules"),
        (replace_forward, "modules"),
        (stride, "modules"),
        (drop_less, "modules"),
        (pad, "modules"),
        (hook_all, "hooks of all modules"),
        (hook_all_backward, "hooks of all modules"),
        (remove_hooks, "hooks"),
        (exchange_hook, "hooks"),
        (seed_torch, "torch's random state"),
        (seed_numpy, "NumPy's random state"),
        (threads, "torch's number of threads"),
        (default_dtype, "torch's default dtype"),
        (default_device, "torch's default device"),
        (deterministic, "torch's deterministic algorithms"),
        (numpy_errors, "NumPy's error handling"),
    ],
)
@pytest.mark.parametrize("raises", [False, True])
def test_what_a_plugin_leaves_is_named_and_put_back(
    registered, change, named: str, raises: bool
) -> None:
    class Rude(Explainer):
        def attribute(self, images, target, *, options):
            change(self.model.network)
            if raises:
                raise ValueError("after that")
            return Attribution(maps={"map": torch.ones(len(images), 2, 2)})

    registered("rude", Rude)
    network = ColourNetwork().eval()
    network.colours.weight.grad = torch.full_like(network.colours.weight, torch.nan)
    network.colours.weight.grad[0] = 1
    network.colours.register_forward_hook(of_its_owner := lambda *_: None)
    classifier = of_network(network)
    before = classifier.explain(THREE, target="red")
    state, drawn = NetworkState.of(network), torch.get_rng_state()
    assert torch.get_default_dtype() == torch.float32
    number, drawn_numpy = torch.get_num_threads(), np.random.get_state()[1].copy()
    numpy_before = np.geterr()
    with pytest.raises(PluginMannersError, match=f"but changed {named}"):
        classifier.explain(THREE, "rude", target="red")
    assert state.differences(network) == []
    assert list(network.colours._forward_hooks.values()) == [of_its_owner]
    assert not _has_any_global_hook()
    assert (network.colours.stride, network.colours.padding) == ((1, 1), (0, 0))
    assert network.dropout.p == 0.2
    assert torch.get_default_dtype() == torch.float32
    assert network.colours.weight.grad[0].unique().tolist() == [1]
    assert type(network.dropout) is torch.nn.Dropout and "forward" not in vars(network.classifier)
    assert torch.equal(drawn, torch.get_rng_state()) and number == torch.get_num_threads()
    assert torch.get_default_device() == torch.device("cpu") and np.geterr() == numpy_before
    assert not torch.are_deterministic_algorithms_enabled()
    np.testing.assert_array_equal(drawn_numpy, np.random.get_state()[1])
    assert same(before, classifier.explain(THREE, target="red"))


def test_plugins_run_one_at_a_time(registered, monkeypatch) -> None:
    """Also for a network without gradients, which built-in methods explain in all threads."""
    lock = WatchedLock(attributing._one_plugin_at_a_time)
    monkeypatch.setattr(attributing, "_one_plugin_at_a_time", lock)
    meeting = Meeting(lock)

    class Alone(Explainer):
        def attribute(self, images, target, *, options):
            meeting.attend()
            return Attribution(maps={"map": torch.arange(4.0).reshape(1, 2, 2)})

    registered("alone", Alone)
    classifier = of_network(ColourNetwork().requires_grad_(False))
    assert meeting.of(lambda: classifier.explain(THREE, "alone")) == 1
