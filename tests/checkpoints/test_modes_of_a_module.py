"""A network of one's own answers as in evaluation mode, whatever is done with it meanwhile."""

import copy
import threading

import numpy as np
import pytest
import torch
from test_from_module import PHOTO, Net, probability, wrap
from torch import nn

from skinxai.errors import ModelError


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_network_in_training_mode_answers_as_in_evaluation_mode(when: str) -> None:
    network = Net().train(when == "before")
    classifier = wrap(network)
    expected = wrap(copy.deepcopy(network).eval())
    network.train()
    network.body[1].eval()  # frozen batch normalisation
    flags = [module.training for module in network.modules()]
    kept, draws = state(network), torch.get_rng_state()
    assert probability(classifier) == probability(expected)
    for method in ("gradcam", "occlusion"):
        one, two = (each.explain(PHOTO, method).heatmap for each in (classifier, expected))
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(classifier.embed(PHOTO), expected.embed(PHOTO))
    assert [module.training for module in network.modules()] == flags
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)


def test_wrapping_leaves_flags_statistics_and_random_states() -> None:
    network = Net().train()
    kept, draws = state(network), torch.get_rng_state()
    wrap(network)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)


def test_wrapping_a_network_on_the_processor_leaves_what_a_gpu_will_draw(monkeypatch) -> None:
    """A program may train another network there, whose dropout must not begin anew."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(3)
    assert seeded == [3]  # as `torch.manual_seed` does on every machine
    wrap(Net())
    assert seeded == [3]


def test_answers_between_epochs_are_those_of_the_current_weights() -> None:
    network = Net()
    classifier, step = wrap(network), torch.optim.SGD(network.parameters(), 0.5)
    before = probability(classifier)
    network.train()
    network(torch.randn(4, 3, 64, 64)).square().sum().backward()
    step.step()
    after = probability(classifier)
    assert after != before
    assert after == probability(wrap(copy.deepcopy(network).eval()))


def test_threads_share_a_network_in_training_mode() -> None:
    network = Net()
    expected = probability(wrap(copy.deepcopy(network)))
    classifier, found = wrap(network), []
    network.train()
    threads = [
        threading.Thread(target=lambda: found.extend(probability(classifier) for _ in range(20)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 80 and all(module.training for module in network.modules())


def test_a_thread_that_starts_to_train_meanwhile_is_an_error() -> None:
    network, begins = Net(), []
    classifier = wrap(network, features=lambda x: (network.train(bool(begins)), network.body(x))[1])
    begins.append(True)
    with pytest.raises(ModelError, match="another thread put it into training mode"):
        classifier.predict(PHOTO)


def test_a_network_that_was_moved_says_so() -> None:
    network = Net()
    classifier = wrap(network)
    network.to("meta")
    for ask in (classifier.predict, classifier.explain):
        with pytest.raises(ModelError, match=r"must stay on cpu, where it was wrapped.* to meta"):
            ask(PHOTO)
