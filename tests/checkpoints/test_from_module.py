"""A network of one's own is tried when it is wrapped, and answers as in evaluation mode."""

import copy
import dataclasses
import re
import threading
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from skinxai import Classifier, explainers
from skinxai.configs import PreprocessConfig
from skinxai.errors import (
    ExplainError,
    ModelConfigError,
    ModelError,
    NonFiniteOutputError,
    OptionError,
    SkinxaiWarning,
)
from skinxai.testing.networks import ColourTransformer
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


class ChannelsLast(nn.Module):
    """Features ``(N, h, w, C)``, as Swin's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, channels, 8, 8), nn.LayerNorm(channels)
        self.fc = nn.Linear(channels, 2)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images).permute(0, 2, 3, 1)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(features).mean((1, 2)))

    def plain_head(self, features: torch.Tensor) -> torch.Tensor:
        return self.fc(features.mean((1, 2)))


@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
@pytest.mark.parametrize("head", ["head", "plain_head"])
@pytest.mark.parametrize("channels", [7, 9, 12, 16, 96, 256])
def test_features_with_channels_last_predict_and_are_refused_without_grid(
    channels: int, head: str, size: tuple[int, int]
) -> None:
    network = ChannelsLast(channels)
    parts = (network, LABELS, PreprocessConfig(size), network.features, getattr(network, head))
    classifier = Classifier.from_module(*parts)
    assert 0 < probability(classifier) < 1
    with pytest.raises(ExplainError, match=r"grid=lambda features: features\.permute\(0, 3, 1, 2"):
        classifier.explain(PHOTO)
    with pytest.raises(ExplainError):
        classifier.embed(PHOTO)
    right = Classifier.from_module(*parts, grid=lambda features: features.permute(0, 3, 1, 2))
    assert right.explain(PHOTO).heatmap.shape == PHOTO.shape[:2]
    assert right.embed(PHOTO).shape == (1, channels)


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (lambda f: f.permute(0, 2, 1), "grid must take what features returned, but it raised Run"),
        (lambda f: f.repeat(1, 1, 16, 1), r"no more cells than the 64 × 64 pixels"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_where_a_map_is_asked_for(grid, words: str) -> None:
    classifier = wrap(grid=grid)
    assert 0 < probability(classifier) < 1
    with pytest.raises(ExplainError, match=words):
        classifier.explain(PHOTO)


def test_tokens_without_a_grid_point_to_it() -> None:
    network = ColourTransformer()
    classifier = Classifier.from_module(
        network, ["a", "b", "c"], INPUT, network.features, network.head
    )
    with pytest.raises(ExplainError, match=r"are not a map \(N, C, h, w\); pass grid="):
        classifier.explain(PHOTO)


@pytest.mark.parametrize("name", [entry.name for entry in explainers.entries()])
def test_the_refusal_names_the_methods_that_need_no_map(name: str) -> None:
    network = ColourTransformer()
    classifier = Classifier.from_module(
        network, ["a", "b", "c"], INPUT, network.features, network.head
    )
    with pytest.raises(ExplainError) as refused:
        classifier.explain(PHOTO, "gradcam")
    named = re.search("needs no such map: (.*)[.]", str(refused.value))[1].split(", ")
    if name in named:
        assert classifier.explain(PHOTO, name).heatmap.shape == PHOTO.shape[:2]
    elif name != "guided_backprop":  # needs no map, but ReLUs, which not every network has
        with pytest.raises(ExplainError):
            classifier.explain(PHOTO, name)
