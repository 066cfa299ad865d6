"""Answers where torch makes new tensors on another device than the model's."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import timm
import torch
from torch import nn

from skinxai import Classifier, explainers
from skinxai.backbones.folding import folded
from skinxai.backbones.network import SkinClassifier
from skinxai.checkpoints.importing import import_timm
from skinxai.testing.networks import NETWORKS, of_network
from skinxai.testing.pictures import picture

PHOTO = picture({"upper left": "red"})
CHEAP = {"rise": {"budget": 20}, "lime": {"budget": 20, "segments": 5}, "smoothgrad": {"budget": 3},
         "occlusion": {"window": 0.5}, "integrated_gradients": {"budget": 3}}  # fmt: skip


@contextmanager
def elsewhere() -> Iterator[None]:
    """By default on a device that every machine has, and whose tensors have no values."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("method", explainers.names())
def test_every_method(method: str) -> None:
    kind = "transformer" if "attention" in method else "convolutions"
    classifier = of_network(NETWORKS[kind]().requires_grad_(False))
    asked = {"target": "red"} | CHEAP.get(method, {})
    expected = classifier.explain(PHOTO, method, **asked)
    with elsewhere():
        found = classifier.explain(PHOTO, method, **asked)
    assert not expected.degenerate
    np.testing.assert_array_equal(found.heatmap, expected.heatmap)
    assert found.scores == expected.scores


def test_dropout_passes() -> None:
    classifier = of_network(NETWORKS["convolutions"]())
    expected = classifier.predict(PHOTO, dropout_passes=3)
    with elsewhere():
        found = classifier.predict(PHOTO, dropout_passes=3)
    assert found.probabilities == expected.probabilities
    assert found.uncertainty == expected.uncertainty


def test_folding() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)).eval()
    model = SkinClassifier(
        network, lambda own, images: own(images), lambda own, found: found.mean(dim=(2, 3))
    ).eval()
    with elsewhere():
        found = folded(model, (8, 8))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.network.modules())


def test_a_model_folder_is_loaded_and_a_network_of_timm_imported(tmp_path) -> None:
    network = timm.create_model("resnet10t", num_classes=3)
    timm.models.save_for_hf(network, tmp_path / "timm", safe_serialization=True)
    asked = {"labels": ("a", "b", "c"), "image_size": (64, 64), "name": "own"}
    expected = import_timm(tmp_path / "timm", tmp_path / "expected", **asked)
    known = Classifier.from_pretrained(tmp_path / "expected").predict(PHOTO)
    with elsewhere():
        assert import_timm(tmp_path / "timm", tmp_path / "found", **asked) == expected
        found = Classifier.from_pretrained(tmp_path / "found").predict(PHOTO)
    assert found.probabilities == known.probabilities
