"""What the one pass at the wrapping of a network sees of heads and grids, and what it lets be."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms._presets import ImageClassification

from skinxai import Classifier
from skinxai.configs import PreprocessConfig
from skinxai.errors import ExplainError, ModelError, OptionError, OutOfMemoryError, SkinxaiWarning
from skinxai.testing.pictures import picture

INPUT = PreprocessConfig((64, 64))
LABELS = ["a", "b", "c"]


class Net(nn.Module):
    """A map of 8 × 8 cells, and layers that a head may have."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 8, 8)
        self.norm, self.batch = nn.LayerNorm(channels), nn.BatchNorm2d(channels).eval()
        self.fc, self.last = nn.Linear(channels, 3), nn.Conv2d(channels, 3, 1)
        self.all = nn.Linear(channels * 64, 3)

    def features(self, images: Tensor) -> Tensor:
        return self.conv(images)

    def channels_last(self, images: Tensor) -> Tensor:
        return self.conv(images).permute(0, 2, 3, 1)

    def head(self, maps: Tensor) -> Tensor:
        return self.fc(maps.mean((2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def wrap(network: Net, head: Callable[[Tensor], Tensor] | None = None, **more) -> Classifier:
    return Classifier.from_module(
        network, LABELS, more.pop("preprocessing", INPUT), more.pop("features", network.features),
        head or network.head, device="cpu", **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("head", "channels"),
    [
        (lambda n, f: n.all(n.norm(f).flatten(1)), 9),
        (lambda n, f: n.last(f.permute(0, 3, 1, 2)).mean((2, 3)), 9),
        (lambda n, f: n.all(n.batch(f.permute(0, 3, 1, 2)).flatten(1)), 9),
        (lambda n, f: n.fc(f.mean((1, 2))), 9),
        # no layer that has weights: only the shape is left to see
        (lambda n, f: f.mean((1, 2)) @ n.fc.weight.T, 40),
        # what the head does in place is not done to the features
        (lambda n, f: n.last(f.transpose_(1, 3)).mean((2, 3)), 9),
    ],
    ids=["layer norm", "convolution", "batch norm", "linear", "none", "in place"],
)
def test_channels_that_come_last_are_seen_by_what_the_head_does(head, channels: int) -> None:
    network = Net(channels)
    more = {"features": network.channels_last}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkinxaiWarning)  # some heads are not the network's own
        classifier = wrap(network, lambda f: head(network, f), **more)
    with pytest.raises(ExplainError, match=r"grid=lambda features: features\.permute\(0, 3, 1, 2"):
        classifier.explain(picture({}))


def test_no_memory_for_one_image_is_said() -> None:
    def full(images: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(OutOfMemoryError, match="use a smaller image_size, or free memory"):
        wrap(Net(), features=full)


def test_the_transforms_of_torchvisions_weights_are_told_as_a_call() -> None:
    given = ImageClassification(crop_size=96, resize_size=112)
    with pytest.raises(OptionError) as caught:
        wrap(Net(), preprocessing=given)
    numbers = "mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation='bilinear'"
    assert f"give PreprocessConfig((96, 96), {numbers})" in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_probabilities_of_any_precision_are_noticed(dtype: torch.dtype) -> None:
    network = Net().to(dtype)
    rounded = torch.tensor([[0.1, 0.3, 0.6]], dtype=dtype)  # their sum is not quite 1 in each
    with pytest.warns(SkinxaiWarning, match="softmax is applied to them again"):
        wrap(network, lambda f: rounded + 0 * network.head(f))


@pytest.mark.parametrize("row", [[-0.5, 0.5, 1.0], [0.2, 0.3, 0.4], [1.0, 1.0, 1.0]])
def test_logits_that_are_no_probabilities_are_not_taken_for_them(row: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrap(Constant(row))


class Constant(Net):
    """Says the same of every image."""

    def __init__(self, row: list[float]) -> None:
        super().__init__()
        self.row = torch.tensor([row])

    def head(self, maps: Tensor) -> Tensor:
        return self.row + 0 * super().head(maps)


class WithSigmoid(Net):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).sigmoid()


class Shifted(Net):
    """Of the same probabilities."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + 2


class Noisy(Net):
    """Draws in every pass, in evaluation mode too."""

    def features(self, images: Tensor) -> Tensor:
        return super().features(images + torch.randn_like(images))


class InAnotherOrder(Net):
    def forward(self, images: Tensor) -> Tensor:
        return 1.01 * super().forward(images)  # stands for rounding: bfloat16 has 8 bits


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(Shifted, torch.float32), (Noisy, torch.float32),
     (InAnotherOrder, torch.bfloat16), (InAnotherOrder, torch.float16)],
)  # fmt: skip
def test_networks_that_say_the_same_in_another_way_are_quiet(kind, dtype) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrap(kind().to(dtype))


@pytest.mark.parametrize("kind", [InAnotherOrder])
def test_what_is_no_rounding_is_noticed(kind) -> None:
    with pytest.warns(SkinxaiWarning, match=r"head\(features\(x\)\) differs from module\(x\)"):
        wrap(kind())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_network_whose_labels_do_not_exclude_each_other_is_noticed(dtype) -> None:
    """Its own 0.9 and 0.9 would be a half each, and its 0.1 of every label a third."""
    with pytest.warns(SkinxaiWarning, match=r"module\(x\) returns a sigmoid.*exactly one of the"):
        wrap(WithSigmoid().to(dtype))


@pytest.mark.parametrize(
    "last", [torch.sigmoid, nn.Sigmoid(), Tensor.sigmoid, nn.functional.sigmoid, Tensor.sigmoid_]
)
def test_a_sigmoid_in_the_place_of_logits_is_noticed(last: Callable[[Tensor], Tensor]) -> None:
    network = Net()
    with pytest.warns(SkinxaiWarning, match="leave the sigmoid out of head"):
        wrap(network, lambda f: last(network.head(f)))


class WithoutStatistics(Net):
    """Normalised by the batch that an image comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)

    def features(self, images: Tensor) -> Tensor:
        return self.norm(super().features(images))


class AcrossTheBatch(Net):
    """Attention of the images to each other: ``batch_first`` was forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 1)

    def head(self, maps: Tensor) -> Tensor:
        tokens = maps.flatten(2).transpose(1, 2)
        return self.fc(self.attention(tokens, tokens, tokens)[0].mean(1))


class OneRow(Net):
    def head(self, maps: Tensor) -> Tensor:
        return super().head(maps).mean(0, keepdim=True)


class OneImage(Net):
    def head(self, maps: Tensor) -> Tensor:
        return super().head(maps).view(1, 3)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(WithoutStatistics, "depends on the other images of its batch.*batch_size=1"),
     (AcrossTheBatch, "depends on the other images of its batch.*batch_size=1"),
     (OneRow, r"return \(1, 3\) for two images.*batch_size=1"),
     (OneImage, "raise RuntimeError for two: .*batch_size=1")],
)  # fmt: skip
def test_answers_that_depend_on_the_batch_are_noticed(kind, words: str) -> None:
    with pytest.warns(SkinxaiWarning, match=words):
        classifier = wrap(kind())
    images = [picture({}), picture({"upper left": "red"})]
    one_by_one = [classifier.predict(image).probabilities for image in images]
    found = classifier.predict(images, batch_size=1)
    assert [each.probabilities for each in found] == one_by_one


def test_a_row_for_all_images_is_refused_where_several_are_asked() -> None:
    with pytest.warns(SkinxaiWarning, match="for two images"):
        classifier = wrap(OneRow())
    for ask in (classifier.predict, classifier.explain):
        with pytest.raises(ModelError, match="returned 1 for 2; pass batch_size=1"):
            ask([picture({})] * 2)
