"""Explaining networks of every kind: compiled, pruned, quantised, frozen, in half precision."""

import numpy as np
import pytest
import timm
import torch
from test_explaining import THREE, same
from torch import nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

from skinxai import Classifier, PreprocessConfig
from skinxai.errors import ExplainError
from skinxai.explaining.guarding import NetworkState
from skinxai.testing import colour_classifier
from skinxai.testing.networks import ColourNetwork, ColourTransformer, of_network


def colour_of_peak(found) -> str:
    row, column = np.unravel_index(found.heatmap.argmax(), found.heatmap.shape)
    return ("red", "green", "blue")[int(THREE[row, column].argmax())]


class NoMap(nn.Module):
    """Features are vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def features(self, images):
        return images.mean(dim=(2, 3))

    def head(self, features):
        return self.layer(features)


def test_no_feature_map_names_the_methods_that_work() -> None:
    module = NoMap()
    classifier = Classifier.from_module(
        module, ["a", "b", "c"], PreprocessConfig((32, 32)), module.features, module.head
    )
    with pytest.raises(ExplainError, match=r"got \(1, 3\).*integrated_gradients, occlusion, rise"):
        classifier.explain(THREE)
    assert classifier.explain(THREE, "occlusion").heatmap.shape == THREE.shape[:2]


def wrapped(kind: str) -> Classifier:
    network = ColourNetwork().eval()
    if kind == "compiled":
        compiled = torch.compile(network.features, backend="eager")
        return _of(network, compiled, network.head)
    if kind == "scripted":
        images = torch.zeros(1, 3, 48, 80)

        class Features(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, images):
                return nn.functional.avg_pool2d(self.network.colours(images).relu(), 8)

        traced = torch.jit.trace(Features(), images)
        return _of(network, traced, network.head)
    if kind == "pruned":
        prune.l1_unstructured(network.classifier, "weight", amount=6)
    if kind == "parallel":
        return _of(network, network.features, nn.DataParallel(network.classifier), pooled=True)
    return _of(network, network.features, network.head)


def _of(network, features, head, *, pooled: bool = False) -> Classifier:
    own = (lambda f: head(f.mean(dim=(2, 3)))) if pooled else head
    preprocessing = PreprocessConfig((48, 80), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return Classifier.from_module(
        network, ["red", "green", "blue"], preprocessing, features, own, device="cpu"
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:`torch.jit")
@pytest.mark.parametrize("kind", ["compiled", "scripted", "pruned", "parallel"])
def test_networks_that_were_changed(kind: str) -> None:
    plain = colour_classifier().explain(THREE, "hirescam", target="blue", signed=True)
    found = wrapped(kind).explain(THREE, "hirescam", target="blue", signed=True)
    assert plain.heatmap.min() < 0
    if kind == "pruned":  # the classifier's six weights of −½ are 0: nothing speaks against blue
        assert colour_of_peak(found) == "blue" and found.heatmap.min() == 0
    else:
        assert same(plain, found)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor", "ignore:quantized"
)
def test_a_quantised_head_has_no_gradient_and_says_so() -> None:
    network = ColourNetwork().eval()
    with torch.no_grad():
        network.classifier = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(network.classifier), {nn.Linear}
        )
    classifier = of_network(network)
    with pytest.raises(ExplainError, match="automatic differentiation can follow"):
        classifier.explain(THREE, target="red")
    assert not classifier.explain(THREE, "ablationcam", target="red").degenerate


class Detached(ColourNetwork):
    @torch.no_grad()
    def features(self, images):
        return super().features(images)


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("method", ["saliency", "smoothgrad", "integrated_gradients"])
def test_features_without_a_gradient_say_so(method: str, learns: bool) -> None:
    classifier = of_network(Detached().requires_grad_(learns).eval())
    with pytest.raises(ExplainError, match="automatic differentiation can follow"):
        classifier.explain(THREE, method, target="red")
    (found,) = classifier.explain([THREE], method, target="red", on_error="return")
    assert isinstance(found.error, ExplainError)


class DetachedTransformer(ColourTransformer):
    @torch.no_grad()
    def head(self, tokens):
        return super().head(tokens)


class WrittenOver(ColourNetwork):
    def features(self, images):
        found = super().features(images)
        squared = found * found
        found.mul_(1)  # automatic differentiation needs it as it was
        return squared


class Recomputed(ColourNetwork):
    def features(self, images):
        return checkpoint(super().features, images, use_reentrant=True)


class RecomputedTransformer(ColourTransformer):
    def head(self, tokens):
        return checkpoint(super().head, tokens, use_reentrant=False)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize(
    ("network", "method"),
    [
        (DetachedTransformer, "gradient_attention"),
        (RecomputedTransformer, "gradient_attention"),
        (WrittenOver, "saliency"),
        (WrittenOver, "integrated_gradients"),
        (Recomputed, "smoothgrad"),
    ],
)
def test_gradients_that_torch_refuses_are_said_to_be(network, method: str) -> None:
    classifier = of_network(network().eval())
    with pytest.raises(ExplainError, match="automatic differentiation can follow"):
        classifier.explain(THREE, method, target="red")
    (found,) = classifier.explain([THREE], method, target="red", on_error="return")
    assert isinstance(found.error, ExplainError)
    assert not classifier.explain(THREE, "occlusion", target="red").degenerate


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_explained_in_float32(dtype) -> None:
    expected = colour_classifier().explain(THREE, target="red").heatmap
    classifier = colour_classifier()
    classifier.network.to(dtype)
    found = classifier.explain(THREE, target="red")
    assert found.heatmap.dtype == np.float32
    assert np.corrcoef(found.heatmap.ravel(), expected.ravel())[0, 1] > 0.99
    assert next(classifier.network.parameters()).dtype == dtype


def test_weights_that_were_made_in_inference_mode() -> None:
    with torch.inference_mode():
        classifier = colour_classifier()
    assert same(colour_classifier().explain(THREE), classifier.explain(THREE))


def test_frozen_weights() -> None:
    classifier = colour_classifier()
    classifier.network.requires_grad_(False)
    assert same(colour_classifier().explain(THREE), classifier.explain(THREE))
    assert not any(weight.requires_grad for weight in classifier.network.parameters())


def test_a_network_in_training_mode_is_left_in_it() -> None:
    classifier = colour_classifier()
    network = classifier.network.network
    network.colours = nn.Sequential(network.colours, nn.BatchNorm2d(3).eval())
    expected = classifier.explain(THREE, target="red")
    network.train()
    before = NetworkState.of(network)
    assert same(expected, classifier.explain(THREE, target="red"))
    assert before.differences(network) == [] and network.training


class InPlace(nn.Module):
    def features(self, images):
        return nn.functional.avg_pool2d(images, 8)

    def head(self, features):
        return nn.functional.relu(features, inplace=True).mean(dim=(2, 3))


def test_a_head_that_works_in_place() -> None:
    module = InPlace()
    preprocessing = PreprocessConfig((48, 80), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    classifier = Classifier.from_module(
        module, ["red", "green", "blue"], preprocessing, module.features, module.head
    )
    found = classifier.explain(THREE, "hirescam", target="red", signed=True)
    features = module.features(torch.from_numpy(_input(THREE)))[0, 0]
    expected = np.maximum(features.numpy(), 0) / features.numel()  # the gradient is 1 / (h w)
    np.testing.assert_allclose(found.heatmap.max(), expected.max(), rtol=1e-3)


class Viewing(nn.Module):
    """Joins dimensions by ``view``, which takes what a convolution makes of contiguous images."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.layer = nn.Conv2d(3, 4, 8, 8), nn.Linear(4 * 6 * 10, 3)

    def features(self, images):
        return self.convolution(images)

    def head(self, features):
        return self.layer(features.view(len(features), -1))


@pytest.mark.parametrize(
    "method",
    ["gradcam", "ablationcam", "scorecam", "eigencam", "saliency", "smoothgrad", "occlusion",
     "integrated_gradients", "rise", "lime"],
)  # fmt: skip
def test_a_network_that_views_its_features_as_vectors(method: str) -> None:
    module = Viewing()
    preprocessing = PreprocessConfig((48, 80), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    classifier = Classifier.from_module(
        module, ["red", "green", "blue"], preprocessing, module.features, module.head
    )
    turned = np.ascontiguousarray(THREE[::-1])
    for tta in (False, True):
        found = classifier.explain([THREE, turned], method, target="red", tta=tta, progress=False)
        assert [each.heatmap.shape for each in found] == [THREE.shape[:2]] * 2
    inputs = torch.from_numpy(np.concatenate([_input(THREE), _input(turned)]))
    with torch.no_grad():
        expected = module.head(module.features(inputs)).softmax(dim=1).numpy()
    predicted = [list(each.probabilities.values()) for each in classifier.predict([THREE, turned])]
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_ablation_of_what_the_head_does_not_read_is_nothing(images: int) -> None:
    """A class token is read, and its patches are not: no rounding of the scores is a map."""
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3, img_size=64).eval()
    classifier = Classifier.from_module(
        network, ["a", "b", "c"], PreprocessConfig((64, 64)), network.forward_features,
        network.forward_head, grid=lambda found: found[:, 1:].transpose(1, 2).unflatten(2, (4, 4)),
    )  # fmt: skip
    for found in classifier.explain([THREE] * images, "ablationcam", progress=False):
        assert found.degenerate and not found.heatmap.any()


def _input(pixels: np.ndarray) -> np.ndarray:
    from skinxai.images.transforms import evaluation_transform

    preprocessing = PreprocessConfig((48, 80), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return evaluation_transform(pixels, preprocessing)[None]
