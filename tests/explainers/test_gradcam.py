"""Grad-CAM against Captum, against a map worked out by hand, and against its own rules."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from skinxai import Classifier, PreprocessConfig, backbones
from skinxai.explainers.cam import GradCAM

LAYERS = {
    "tf_efficientnet_lite0": "bn2",
    "efficientnet_b0": "bn2",
    "resnet18": "layer4",
    "densenet121": "features",
    "convnext_atto": "norm_pre",
}


@pytest.mark.parametrize("name", LAYERS)
def test_equals_captum(name: str) -> None:
    model = backbones.build(name, 7, 0.2)
    with torch.no_grad():  # random normalisation statistics, so that the maps are not all alike
        for buffer_name, buffer in model.named_buffers():
            if buffer_name.endswith(("running_mean", "running_var")):
                buffer.add_(0.1 * torch.rand_like(buffer))
    images, target = torch.randn(3, 3, 160, 192), torch.tensor([0, 3, 6])

    found = GradCAM(model).attribute(images, target, options=None).maps["gradcam"]

    captum = LayerGradCam(model.network, getattr(model.network, LAYERS[name]))
    expected = captum.attribute(images, target=target, relu_attributions=True)[:, 0].detach()
    assert expected.abs().max() > 0
    assert ((found - expected).abs().max() / expected.abs().max()) < 1e-4


class TwoCells(nn.Module):
    """Identity features; logits = (mean of red, mean of green − 2 × mean of blue)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, -2.0]]))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images, 32)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean(dim=(2, 3)) @ self.weight.T


def hand_made() -> Classifier:
    module = TwoCells()
    preprocessing = PreprocessConfig((64, 64), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return Classifier.from_module(
        module, ["first", "second"], preprocessing, module.features, module.head
    )


def test_equals_a_map_worked_out_by_hand() -> None:
    # Four cells of 32×32 pixels. d(second)/d(channel) is (0, 1, −2) / 4 in every cell, so the
    # channel weights are (0, 1/4, −1/2) and the map is relu(green / 4 − blue / 2).
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32] = (255, 255, 0)  # 1/4
    image[:32, 32:] = (0, 255, 51)  # 1/4 − 1/10
    image[32:, :32] = (0, 51, 255)  # 1/20 − 1/2 < 0
    explanation = hand_made().explain(image, target="second")

    heatmap = explanation.heatmap
    assert heatmap.dtype == np.float32 and heatmap.shape == (64, 64)
    corners = heatmap[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, [0.25, 0.15, 0.0, 0.0], atol=1e-6)
    # Half-pixel centres, 32 pixels from one cell's centre to the next: pixel 31 is 15/32 + 1/64.
    share = (31 + 0.5 - 16) / 32
    np.testing.assert_allclose(heatmap[0, 31], 0.25 * (1 - share) + 0.15 * share, atol=1e-6)
    np.testing.assert_array_equal(heatmap.argmax() // 64 < 32, True)


def test_probability_score_is_the_logit_map_times_the_softmax_slope() -> None:
    # For two classes d p2 / d z = p2 (1 − p2) (0, 1) − p1 p2 (1, 0): the weights of channel c are
    # p1 p2 (w2 − w1) / 4.
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :, 1] = 255
    classifier = hand_made()
    p = classifier.predict(image).probabilities
    found = classifier.explain(image, target="second", score="probability").heatmap
    np.testing.assert_allclose(found, p["first"] * p["second"] * 0.25, rtol=1e-5)


def test_targets(classifier: Classifier, photos: list) -> None:
    own = classifier.explain(photos[:2])
    predicted = classifier.predict(photos[:2])
    assert [e.target for e in own] == [p.label for p in predicted]
    every = classifier.explain(photos[0], all_classes=True)
    assert list(every) == list(classifier.labels)
    named = classifier.explain(photos[:2], target=["mel", "bcc"])
    assert [e.target for e in named] == ["mel", "bcc"]
    np.testing.assert_array_equal(
        named[0].heatmap, classifier.explain(photos[:2], target="mel")[0].heatmap
    )
    np.testing.assert_allclose(every["mel"].heatmap, named[0].heatmap, atol=1e-5)


def test_heatmap_is_in_pixels_of_the_upright_source(classifier: Classifier, tmp_path) -> None:
    from PIL import Image

    draws = np.random.default_rng(3)
    coarse = Image.fromarray(draws.integers(0, 255, (4, 6, 3), dtype=np.uint8))
    upright = coarse.resize((300, 200), Image.Resampling.BICUBIC)
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: show it 90° clockwise
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    first, second = classifier.explain([tmp_path / "upright.png", tmp_path / "turned.png"])
    assert first.heatmap.shape == (200, 300)
    np.testing.assert_array_equal(first.heatmap, second.heatmap)


def test_leaves_the_network_as_it_was(classifier: Classifier, photos: list) -> None:
    network = classifier.network
    before = {name: t.clone() for name, t in network.state_dict().items()}
    random = torch.get_rng_state()
    classifier.explain(photos[:3])
    assert not any(module.training for module in network.modules())
    assert all(p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in network.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())


def test_efficientnet_b0_has_the_published_size() -> None:
    model = backbones.build("efficientnet_b0", 7)
    assert sum(p.numel() for p in model.parameters()) == 4_016_515
