"""Which weights learn, and how fast."""

from typing import Any

import pytest
import torch
from small_runs import BASE, build_small, coloured
from torch import nn

from skinxai import Trainer, backbones
from skinxai.errors import OptionError
from skinxai.training.checkpointing import CheckpointFolder
from skinxai.training.optimising import frozen_norms, parameter_groups
from skinxai.training.settings import TrainConfig
from skinxai.training.state import _below


def groups(model: Any, **settings: Any) -> list[dict[str, Any]]:
    layers = backbones.layer_groups(model)
    return parameter_groups(model.network, layers, TrainConfig(**settings))


def names(model: Any, parameters: list[nn.Parameter]) -> list[str]:
    known = {id(p): name for name, p in model.network.named_parameters()}
    return [known[id(p)] for p in parameters]


def test_vectors_do_not_decay() -> None:
    model = build_small("small", 3, 0.0)
    found = [
        (names(model, group["params"]), group["weight_decay"], group["scale"])
        for group in groups(model, weight_decay=0.1)
    ]
    norms = [f"body.{n}.{part}" for n in (1, 4) for part in ("weight", "bias")]
    assert found == [
        (["body.0.weight", "body.3.weight"], 0.1, 1.0),
        (norms, 0.0, 1.0),
        (["fc.weight"], 0.1, 1.0),
        (["fc.bias"], 0.0, 1.0),
    ]


def test_learning_rates_fall_with_the_distance_from_the_head() -> None:
    """ResNet-18: a stem, four stages and the classifier."""
    model = backbones.build("resnet18", 3)
    scales = {}
    for group in groups(model, layer_decay=0.5):
        for name in names(model, group["params"]):
            scales[name.partition(".")[0]] = group["scale"]
    assert scales == {
        "conv1": 1 / 32, "bn1": 1 / 32, "layer1": 1 / 16, "layer2": 1 / 8, "layer3": 1 / 4,
        "layer4": 1 / 2, "fc": 1.0,
    }  # fmt: skip
    assert sum(len(g["params"]) for g in groups(model)) == len(list(model.parameters()))


def test_something_must_learn() -> None:
    model = build_small("small", 3, 0.0)
    assert len(groups(model, frozen_groups=1)) == 2
    with pytest.raises(OptionError, match=r"must be below the 2 groups of layers .* got 2"):
        groups(model, frozen_groups=2, backbone="small")


def test_norms_without_weights_of_their_own_are_not_frozen() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False), nn.BatchNorm2d(3))
    for parameter in network[2].parameters():
        parameter.requires_grad_(False)
    assert frozen_norms(network) == [network[2]]


def test_frozen_groups_do_not_move_and_neither_do_their_statistics(tmp_path) -> None:
    train, val = coloured(tmp_path / "train", 4, 0), coloured(tmp_path / "val", 2, 1)
    settings = BASE | {"backbone": "resnet18", "frozen_groups": 3, "epochs": 1, "seed": 5}
    Trainer(**settings, output_dir=tmp_path / "run").fit(train, val)
    torch.manual_seed(5)
    before = backbones.build("resnet18", 3).state_dict()
    found = CheckpointFolder(tmp_path / "run" / "checkpoints").newest()
    assert found is not None
    from safetensors.torch import load

    after = _below(load(found[1]), "network")
    average = _below(load(found[1]), "average")
    frozen = ("network.conv1", "network.bn1", "network.layer1", "network.layer2")
    for name, tensor in before.items():
        for now in (after[name], average[name]):
            assert torch.equal(now, tensor) == name.startswith(frozen), name
