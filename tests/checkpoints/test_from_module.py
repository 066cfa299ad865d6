"""A network of one's own is tried when it is wrapped, and answers as in evaluation mode."""

import copy
import dataclasses
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from skinxai import Classifier
from skinxai.configs import PreprocessConfig
from skinxai.errors import (
    ExplainError,
    ModelConfigError,
    ModelError,
    NonFiniteOutputError,
    OptionError,
    SkinxaiWarning,
)
from skinxai.testing.pictures import picture

INPUT = PreprocessConfig((64, 64))
LABELS = ["benign", "malignant"]
PHOTO = picture({"upper left": "red"})


class Net(nn.Module):
    """Batch normalisation, dropout, and a map of 16 × 16 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 2)

    def head(self, maps: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(maps.mean((2, 3))))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images))


def wrap(network: Net | None = None, head=None, features=None, **options) -> Classifier:
    network = network or Net()
    return Classifier.from_module(
        network, options.pop("labels", LABELS), options.pop("preprocessing", INPUT),
        features or network.body, head or network.head, device="cpu", **options,
    )  # fmt: skip


def probability(classifier: Classifier) -> float:
    return classifier.predict(PHOTO).probabilities["malignant"]


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor


class ModelOutput(OrderedDict):
    """As transformers has it: keys are attributes as well."""


def z(maps: torch.Tensor) -> torch.Tensor:
    return maps.mean((2, 3))[:, :2]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (lambda f: (z(f), f), r"got tuple with .*; return head\(features\)\[0\]"),
        (lambda f: [f, z(f)], r"got list with .*; return head\(features\)\[1\]"),
        (lambda f: {"logits": z(f)}, r"got dict .*; return head\(features\)\['logits'\]"),
        (lambda f: ModelOutput(logits=z(f)), r"got ModelOutput.*; return head\(features\)\['logi"),
        (lambda f: Output(z(f), f), r"got Output .*; return head\(features\)\.logits"),
        (lambda f: (f, f), "return the logits alone"),
        (lambda f: None, "got NoneType; return the logits alone"),
        (lambda f: z(f)[:, :, None, None], r"got \(1, 2, 1, 1\); return head\(features\)\.flatt"),
        (lambda f: z(f).squeeze(), r"got \(2,\); keep the images' dimension"),
        (lambda f: f.mean((2, 3)), r"\(N, 2\).* got \(1, 8\); give as many labels"),
        (lambda f: z(f)[:, :1], r"got \(1, 1\); for one logit z of the second label"),
        (lambda f: z(f).long(), "got integers .*without argmax"),
        (
            lambda f: f @ torch.zeros(3, 3),
            r"head must take .*a tensor \(1, 8, 16, 16\), but it raised RuntimeError: ",
        ),
    ],
)
def test_a_head_without_logits_is_refused_when_it_is_wrapped(head, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        wrap(head=head)


def test_a_head_that_is_not_finite_is_refused_when_it_is_wrapped() -> None:
    with pytest.raises(NonFiniteOutputError, match="for an image of noise"):
        wrap(head=lambda f: z(f) * float("nan"))


def test_features_that_raise_are_named() -> None:
    with pytest.raises(
        ModelError, match=r"features must take images \(N, 3, H, W\), but it raised RuntimeError: "
    ):
        wrap(features=nn.Conv2d(1, 8, 3))


def test_features_of_several_tensors_predict_and_have_no_map() -> None:
    network = Net()
    classifier = wrap(network, lambda f: network.head(f[0]), lambda x: (network.body(x), 0))
    assert probability(classifier) == probability(wrap(network))
    with pytest.raises(ExplainError, match="must return one tensor for maps, got tuple"):
        classifier.explain(PHOTO)
    assert classifier.explain(PHOTO, "saliency").heatmap.max() > 0


COMPOSE = transforms.Compose([
    transforms.Resize((96, 128), interpolation=InterpolationMode.BILINEAR), transforms.ToTensor(),
    transforms.Normalize([0.5, 0.4, 0.3], [0.2, 0.2, 0.2]),
])  # fmt: skip


@pytest.mark.parametrize(
    ("given", "call"),
    [
        (224, "got 224; give PreprocessConfig((224, 224)), "),
        ((96, 128), "give PreprocessConfig((96, 128)), "),
        (COMPOSE, "give PreprocessConfig((96, 128), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), "
                  "interpolation='bilinear')"),
        (transforms.Compose([transforms.Resize(64), transforms.ToTensor()]),
         "give PreprocessConfig((64, 64), mean=(0, 0, 0), std=(1, 1, 1)"),
        (nn.Identity(), "got Identity; give PreprocessConfig((224, 224), mean=(0.485,"),
        (None, "got NoneType; give PreprocessConfig((224, 224), mean=(0.485,"),
    ],
)  # fmt: skip
def test_another_preprocessing_is_refused_with_the_call_that_is_meant(given, call: str) -> None:
    with pytest.raises(OptionError) as caught:
        wrap(preprocessing=given) if given is not None else Classifier.from_module(
            Net(), LABELS, None, len, len
        )
    assert call in str(caught.value)


@pytest.mark.parametrize(
    "labels", ["ab", 2, {"benign": 0, "malignant": 1}, {"benign", "malignant"}]
)
def test_labels_are_a_list_of_codes(labels) -> None:
    """A set has no order: each process would name the logits in another way."""
    with pytest.raises(OptionError, match="labels must be a list of label codes"):
        wrap(labels=labels)


def test_module_and_functions_are_of_their_kinds() -> None:
    with pytest.raises(OptionError, match=r"module must be the torch\.nn\.Module"):
        Classifier.from_module(len, LABELS, INPUT, len, len)
    with pytest.raises(OptionError, match="head must be a method, a submodule or a function"):
        wrap(head="fc")


def test_an_integer_is_a_square() -> None:
    assert PreprocessConfig(224) == PreprocessConfig((224, 224))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mean": (123.675, 116.28, 103.53)}, r"mean must be .* by 255: \(0.485, 0.456, 0.406\)"),
        ({"std": (58.395, 57.12, 57.375)}, r"std must be .* by 255: \(0.229, 0.224, 0.225\)"),
        ({"mean": (-0.1, 0.5, 0.5)}, r"mean must be three numbers in \[0, 1\]"),
        ({"mean": (float("nan"), 0.5, 0.5)}, r"mean must be three numbers in \[0, 1\]"),
        ({"std": (0, 1, 1)}, r"std must be three numbers in \(0, 1\]"),
        ({"std": 0.5}, "std must be three numbers, one for each channel, got 0.5"),
        ({"mean": (0.5, 0.5)}, "mean must be three numbers"),
        ({"mean": {0.485, 0.456, 0.406}}, "mean must be three numbers, one for each channel, got"),
    ],
)
def test_means_and_deviations_are_on_the_scale_of_0_to_1(values, words: str) -> None:
    with pytest.raises(ModelConfigError, match=words):
        PreprocessConfig((64, 64), **values)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_the_weights_type_is_the_images_type(dtype: torch.dtype) -> None:
    network = Net()
    expected = wrap(copy.deepcopy(network))
    found = wrap(network.to(dtype))
    slack = {torch.float64: 1e-5, torch.float16: 1e-2, torch.bfloat16: 3e-2}[dtype]
    assert probability(found) == pytest.approx(probability(expected), abs=slack)
    assert all(weight.dtype == dtype for weight in network.parameters())
    for target in LABELS:
        one, two = (each.explain(PHOTO, "hirescam", target=target, signed=True)
                    for each in (expected, found))  # fmt: skip
        scale = np.abs(one.heatmap).max()
        np.testing.assert_allclose(two.heatmap, one.heatmap, atol=5 * slack * scale)


def test_logits_in_half_precision_are_predicted_and_explained() -> None:
    """A type that NumPy does not have."""
    network = Net().eval()
    short = wrap(network, head=lambda maps: network.head(maps).bfloat16())
    whole = probability(wrap(network))
    assert probability(short) == pytest.approx(whole, abs=0.01)
    for method in ("gradcam", "saliency"):
        assert np.isfinite(short.explain(PHOTO, method).heatmap).all()


def test_half_precision_in_functions_predicts_and_says_what_explains() -> None:
    network = Net().half()
    classifier = wrap(network, lambda f: network.head(f), lambda x: network.body(x))
    assert 0 < probability(classifier) < 1
    with pytest.raises(ExplainError, match=r"float32 weights.*methods or submodules"):
        classifier.explain(PHOTO)


def test_probabilities_in_the_place_of_logits_are_noticed() -> None:
    network = Net()
    with pytest.warns(SkinxaiWarning, match="softmax is applied to them again"):
        wrap(network, lambda f: network.head(f).softmax(1))
    wrap(network, lambda f: network.head(f).log_softmax(1))  # softmax gives the same again


def test_a_head_that_is_not_the_networks_is_noticed() -> None:
    network = Net()
    with pytest.warns(SkinxaiWarning, match=r"head\(features\(x\)\) differs from module\(x\)"):
        wrap(network, lambda f: network.head(f.relu() + 1))


class WithSoftmax(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).softmax(1)


class WithMore(Net):
    def forward(self, images: torch.Tensor):
        return {"loss": None, "logits": super().forward(images)}


class Backbone(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)


class NeedsMore(Net):
    def forward(self, images: torch.Tensor, ages: torch.Tensor) -> torch.Tensor:
        return super().forward(images) + ages


@pytest.mark.parametrize("kind", [Net, WithSoftmax, WithMore, Backbone, NeedsMore])
def test_networks_that_say_the_same_or_cannot_be_compared_are_quiet(kind: type[Net]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrap(kind())
