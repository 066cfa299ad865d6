"""Networks of timm are split in the right place: twelve families; a script examines the rest."""

import importlib.util

import pytest
import torch
from places import ROOT

from skinxai import backbones
from skinxai.errors import ExplainError, UnknownNameError

SCRIPT = ROOT / "benchmarks/backbones.py"
spec = importlib.util.spec_from_file_location("examine_backbones", SCRIPT)
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)


@pytest.mark.parametrize(
    "name",
    [
        "tf_efficientnet_lite0", "resnet18", "densenet121", "convnext_atto", "regnetx_002",
        "mobilenetv3_small_050", "vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224",
        "vit_tiny_r_s16_p8_224", "swin_tiny_patch4_window7_224", "mixer_s32_224", "poolformer_s12",
    ],
)  # fmt: skip
def test_split(name: str) -> None:
    found = script.examine(name)
    assert found.problem is None and found.grid


def test_a_network_that_is_not_in_the_table_predicts_and_is_refused(monkeypatch) -> None:
    from skinxai.backbones import timm_networks

    monkeypatch.delitem(timm_networks.SPLITS, "ResNet")
    model = backbones.build("timm/resnet18", 7)
    features = model.features(torch.zeros(1, 3, 64, 64))
    assert model.pool_and_classify(features).shape == (1, 7)
    with pytest.raises(ExplainError, match="ResNet is refused: it is not in the table"):
        model.grid(features)


def test_an_unknown_network_of_timm() -> None:
    with pytest.raises(UnknownNameError, match="Unknown network 'resnet17' of timm"):
        backbones.build("timm/resnet17", 7)


def test_a_transformer_with_another_number_of_patches_asks_for_the_size() -> None:
    model = backbones.build("timm/vit_tiny_patch16_224", 7)
    features = model.features(torch.zeros(1, 3, 64, 96))
    with pytest.raises(ExplainError, match="give the images' size"):
        model.grid(features)
    assert model.grid(features, (64, 96)).shape == (1, 192, 4, 6)
