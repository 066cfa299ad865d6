"""Modules that the functions of a wrapped network use beside it answer in evaluation mode too."""

import copy
import functools
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from skinxai import Classifier
from skinxai.checkpoints.wrapping_closures import modules_beside
from skinxai.configs import PreprocessConfig
from skinxai.errors import SkinxaiWarning
from skinxai.testing.pictures import picture

PHOTO = picture({"upper left": "red"})
GLOBAL = nn.Dropout(0.5)


class Body(nn.Module):
    """What the wrapped module holds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 3)

    def pooled(self, maps: Tensor) -> Tensor:
        return self.fc(maps.mean((2, 3)))


def counted(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(function)
    def call(*given: Tensor) -> Tensor:
        return function(*given)

    return call


class Beside(nn.Module):
    """A head of its own, with dropout and batch normalisation."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.drop, self.norm, self.body = nn.Dropout(0.5), nn.BatchNorm2d(8), [body]

    def forward(self, maps: Tensor) -> Tensor:
        return self.body[0].pooled(self.drop(self.norm(maps)))

    @counted
    def decorated(self, maps: Tensor) -> Tensor:
        return self(maps)


class Holder:
    """No module: it has one."""

    def __init__(self, head: Beside) -> None:
        self.head = head

    def __call__(self, maps: Tensor) -> Tensor:
        return self.head(maps)

    def method(self, maps: Tensor) -> Tensor:
        return self.head(maps)


def applied(function: Callable[[Tensor], Tensor], maps: Tensor) -> Tensor:
    return function(maps)


HEADS: dict[str, Callable[[Beside], Callable[[Tensor], Tensor]]] = {
    "module": lambda head: head,
    "method": lambda head: head.forward,
    "decorated": lambda head: head.decorated,
    "function": lambda head: lambda maps: head(maps),
    "function of a function": lambda head: (lambda own: lambda maps: own(maps))(head.forward),
    "partial": lambda head: functools.partial(applied, head),
    "object": Holder,
    "object's method": lambda head: Holder(head).method,
}


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_beside_the_module_answers_in_evaluation_mode(kind: str) -> None:
    body = Body()
    head = Beside(body)
    with torch.no_grad():
        head.norm(body.conv(torch.randn(4, 3, 64, 64)))  # statistics of its own
    still = copy.deepcopy(head).eval()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    module = nn.ModuleList([body.conv, body.fc])
    asked = (module, ["a", "b", "c"], PreprocessConfig((64, 64)), body.conv)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkinxaiWarning)
        found = Classifier.from_module(*asked, HEADS[kind](head), device="cpu")
        expected = Classifier.from_module(*asked, still, device="cpu")
    for _ in range(2):
        assert found.predict(PHOTO).probabilities == expected.predict(PHOTO).probabilities
    assert (found.explain(PHOTO).heatmap == expected.explain(PHOTO).heatmap).all()
    assert all(each.training for each in head.modules())
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_a_copy_of_the_network_beside_it_answers_in_evaluation_mode() -> None:
    """As an exponential moving average of the weights is kept."""
    network = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.BatchNorm2d(8), nn.Flatten())
    mean = copy.deepcopy(network)
    found = modules_beside(network, mean[:2], lambda maps: GLOBAL(network[2](maps)))
    assert [type(each) for each in found] == [nn.Sequential, nn.Dropout] and GLOBAL in found


def test_what_the_module_holds_is_not_beside_it() -> None:
    body = Body()
    assert not modules_beside(body, body.conv, body.pooled)
    assert not modules_beside(body, lambda x: body.conv(x), functools.partial(Body.pooled, body))
