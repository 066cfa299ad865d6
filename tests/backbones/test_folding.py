"""Folded networks are the same functions with less in them."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from skinxai import Classifier, backbones, samples
from skinxai.backbones.folding import folded
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import ModelError

NORMS = nn.BatchNorm2d


def drawn(name: str) -> SkinClassifier:
    """A network whose normalisations have statistics and weights of their own."""
    model = backbones.build(name, 7).eval()
    for module in model.network.modules():
        if isinstance(module, NORMS):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def count(model: SkinClassifier) -> int:
    return sum(isinstance(module, NORMS) for module in model.network.modules())


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "efficientnet_b0", "resnet18", "timm/convnext_atto"]
)
def test_logits_features_and_gradients_stay(name: str) -> None:
    model = drawn(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    less = folded(model, (96, 128))
    if "convnext" in name:  # it has none to fold
        assert less is model
        return
    assert count(model) > 10 and count(less) == 0
    images = torch.rand(2, 3, 96, 128)
    gradients = []
    for network in (model, less):
        own = images.clone().requires_grad_()
        network(own)[:, 3].sum().backward()
        gradients.append(own.grad)
    with torch.no_grad():
        for one, two in (
            (model(images), less(images)),
            (model.features(images), less.features(images)),
            gradients,
        ):
            assert (one - two).abs().max() < 1e-4 * one.abs().max()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in less.network.modules())


class Twice(nn.Module):
    """Its convolution's output is used beside the normalisation as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)
        nn.init.constant_(self.norm.running_var, 9.0)

    def features(self, images):
        found = self.conv(images)
        return self.norm(found) + found

    def classify(self, features):
        return self.head(features.mean((2, 3)))


class Again(Twice):
    """Its convolution is used twice, normalised once."""

    def features(self, images):
        return self.norm(self.conv(images)) + self.conv(images.flip(2))


class Across(Twice):
    """The split lies between the convolution and its normalisation."""

    def features(self, images):
        return self.conv(images)

    def classify(self, features):
        return self.head(self.norm(features).relu().mean((2, 3)))


class Own(nn.BatchNorm2d):
    """Whatever else it does, nobody knows."""


class OtherNorm(Twice):
    def __init__(self) -> None:
        super().__init__()
        self.norm = Own(4)

    def features(self, images):
        return self.norm(self.conv(images))


@pytest.mark.parametrize("kind", [Twice, Again, Across, OtherNorm])
def test_what_cannot_be_folded_is_left_alone(kind: type[Twice]) -> None:
    network = kind().eval()
    model = SkinClassifier(network, kind.features, kind.classify)
    assert folded(model, (32, 32)) is model


def test_a_classifier_answers_with_the_folded_network_and_saves_the_whole(tmp_path) -> None:
    classifier = Classifier.from_pretrained(device="cpu")
    whole = count(classifier.network)
    assert whole > 10 and count(classifier.torch_predictor.members[0].answering) == 0
    path = samples.paths()[0]
    found = classifier.predict(path)
    classifier.save_pretrained(tmp_path / "saved")
    again = Classifier.from_pretrained(tmp_path / "saved", device="cpu")
    assert count(again.network) == whole
    assert again.predict(path).probabilities == found.probabilities
    state = classifier.network.state_dict()
    assert all(
        torch.equal(tensor, state[name]) for name, tensor in again.network.state_dict().items()
    )


def test_a_changed_network_does_not_answer_with_its_old_weights() -> None:
    path = samples.paths()[0]
    for change in (
        lambda network: network.bn2.weight.mul_(2),
        lambda network: setattr(network.bn2, "weight", nn.Parameter(network.bn2.weight.clone())),
    ):
        classifier = Classifier.from_pretrained(device="cpu")
        classifier.predict(path)
        with torch.no_grad():
            change(classifier.network.network)
        for ask in (classifier.predict, classifier.explain, classifier.embed):
            with pytest.raises(ModelError, match="was changed after it was loaded"):
                ask(path)


def test_a_graph_does_not_answer_for_a_changed_network() -> None:
    path = samples.paths()[0]
    classifier = Classifier.from_pretrained(device="cpu", backend="onnx")
    classifier.predict(path)
    with torch.no_grad():
        classifier.network.network.bn2.weight.mul_(2)
    for ask in (classifier.predict, classifier.explain):
        with pytest.raises(ModelError, match="was changed after it was loaded, and its answers"):
            ask(path)
    assert "onnx" in classifier.backend.lower()
    assert classifier.model in repr(classifier)


def test_a_changed_network_is_not_saved_with_what_was_measured_before(tmp_path) -> None:
    classifier = Classifier.from_pretrained(device="cpu")
    with torch.no_grad():
        classifier.network.network.bn2.weight.mul_(2)
    for save in (classifier.save_pretrained, classifier.push_to_hub):
        with pytest.raises(ModelError, match="was changed after it was loaded, but its training"):
            save(str(tmp_path / "saved"))
    assert not (tmp_path / "saved").exists()


def test_an_explanation_copies_no_network(monkeypatch) -> None:
    """One in training mode is copied first; what is folded must not look like one."""
    from skinxai.explaining import views

    monkeypatch.setattr(views, "private_copy", lambda model: pytest.fail("a copy"))
    for method in ("gradcam", "saliency"):
        Classifier.from_pretrained(device="cpu").explain(samples.paths()[0], method)


def test_a_copy_answers_for_itself() -> None:
    path = samples.paths()[0]
    classifier = Classifier.from_pretrained(device="cpu")
    twin = copy.deepcopy(classifier)
    assert twin.predict(path).probabilities == classifier.predict(path).probabilities
    with torch.no_grad():
        twin.network.network.bn2.weight.mul_(2)
    classifier.predict(path)
    with pytest.raises(ModelError, match="was changed"):
        twin.predict(path)
    with pytest.raises(ModelError, match="was changed"):  # a copy must not make it the truth
        copy.deepcopy(twin)


def test_a_network_of_ones_own_waits_for_no_import_of_timm() -> None:
    """It takes as long as that of torch."""
    code = """
import sys
import numpy as np
from skinxai.testing import colour_classifier
found = colour_classifier().explain(np.zeros((32, 32, 3), np.uint8), "gradcam")
print(found.method, "timm" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["gradcam", "False"]
