"""Small networks of timm's families, with random weights at their own size, predict and explain.

HiResCAM has a map of a network, or a typed error says why not. `benchmarks/backbones.py` examines a
network of each family.
"""

import numpy as np
import pytest
import timm
import torch

from skinxai import Classifier, backbones
from skinxai.checkpoints import LoadedModel
from skinxai.configs import ModelConfig, PreprocessConfig
from skinxai.errors import ExplainError
from skinxai.labels import LabelSet
from skinxai.timm_networks import split_of

LABELS = LabelSet(("a", "b", "c"))
MAPS = (
    "convnext_atto", "eva02_tiny_patch14_224", "vit_tiny_patch16_dinov3_qkvb", "lcnet_035",
    "mobilevit_xxs", "pvt_v2_b0", "regnetx_002", "tinynet_e",
)  # fmt: skip
WITHOUT = ("pit_ti_224", "rexnet_100", "convit_tiny", "xcit_nano_12_p8_224")
PHOTO = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def classifier_of(name: str) -> tuple[Classifier, torch.nn.Module]:
    """Of a network of timm, and the network itself."""
    model = backbones.build(f"timm/{name}", len(LABELS))
    with torch.no_grad():  # some begin with a classifier of zeros
        for own in backbones.classifier_names(model):
            model.network.get_parameter(own).normal_(0, 0.1)
    size = model.network.default_cfg["input_size"][1:]
    config = ModelConfig(name, f"timm/{name}", LABELS, PreprocessConfig(tuple(size)))
    return Classifier(LoadedModel(model, config, "", "new"), device="cpu"), model.network


@pytest.mark.parametrize("name", (*MAPS, *WITHOUT))
def test_a_network_of_a_family_predicts_and_has_a_map_or_says_why_not(name: str) -> None:
    classifier, network = classifier_of(name)
    found = classifier.predict(PHOTO)
    rows = np.array(list(found.probabilities.values()))
    assert np.isfinite(rows).all() and rows.sum() == pytest.approx(1)
    assert found.label in LABELS
    if name in WITHOUT:
        with pytest.raises(ExplainError, match=f"{type(network).__name__} is refused"):
            classifier.explain(PHOTO)
    else:
        heatmap = classifier.explain(PHOTO, "hirescam", target=found.label, signed=True).heatmap
        assert heatmap.shape == PHOTO.shape[:2] and np.isfinite(heatmap).all()
        assert np.ptp(heatmap) > 0


def test_attention_within_windows_is_refused_where_the_grid_is_as_large_as_a_window() -> None:
    classifier, _ = classifier_of("davit_tiny")
    with pytest.raises(ExplainError, match="attention methods need a transformer whose layers all"):
        classifier.explain(PHOTO, "attention_rollout")


def test_a_class_token_alone_has_no_map() -> None:
    network = timm.create_model("eva02_tiny_patch14_224", num_classes=3, global_pool="token")
    with pytest.raises(ExplainError, match="Eva is refused: its head reads the class token alone"):
        split_of(network).grid(network, torch.zeros(1, 257, 192), (224, 224))
