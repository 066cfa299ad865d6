"""Modules and tensors of a network, found as torch finds them."""

import pytest
import torch
from torch import nn

from skinxai import Classifier
from skinxai.backbones.module_walk import modules_of, tensors_of


class Shared(nn.Module):
    """A part that is used twice, one that is none, a buffer, and a module that holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.again = nn.Linear(2, 2)
        self.none = None
        self.register_module("empty", None)
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("nothing", None)
        self.tied = nn.Linear(2, 2, bias=False)
        self.tied.weight = self.first.weight


def ids(found) -> set[int]:
    return {id(each) for each in found}


@pytest.mark.parametrize("build", [Shared, lambda: Classifier.from_pretrained().network])
def test_it_finds_what_torch_finds(build) -> None:
    network = build()
    assert ids(modules_of([network])) == ids(network.modules())
    assert len(modules_of([network, network])) == len(list(network.modules()))
    expected = ids([*network.parameters(), *network.buffers()])
    assert ids(tensors_of(network)) == expected


def test_a_part_that_was_exchanged_is_found() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    before = tensors_of(network)
    network[0] = nn.Linear(2, 2)
    assert not ids(before) & ids(tensors_of(network))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:`torch.jit")
def test_torchscript_and_its_frozen_form() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    script = torch.jit.trace(network, torch.zeros(1, 3, 8, 8))
    within = nn.Sequential(script)
    assert len(tensors_of(within)) == len([*within.parameters(), *within.buffers()])
    assert len(modules_of([within])) == len(list(within.modules()))
    assert modules_of([torch.jit.freeze(script)])
