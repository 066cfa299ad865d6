"""Gradients of the input against Captum, an answer worked out by hand, or an axiom."""

import numpy as np
import pytest
import torch
from attributed import TARGET, alike, found, images, resnet
from captum.attr import GuidedBackprop, Saliency
from torch import Tensor, nn

from skinxai import backbones, explainers
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import ExplainError, OptionError
from skinxai.explainers.differentiating import score_gradient
from skinxai.explainers.gradients import SmoothGradOptions, noise

__all__ = ["images", "resnet"]  # fixtures
pytestmark = [  # of Captum's own
    pytest.mark.filterwarnings("ignore:Input Tensor .* did not already require gradients"),
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations"),
]


@pytest.mark.parametrize("learns", [True, False])
def test_scores_that_do_not_come_from_the_images_have_no_gradient(learns: bool) -> None:
    weight, leaf = torch.ones(3, requires_grad=learns), torch.ones(2, 3, requires_grad=True)
    scores = leaf.detach() * weight
    with pytest.raises(ExplainError, match="that automatic differentiation can follow"):
        score_gradient(scores, torch.tensor([0, 1]), leaf)
    assert score_gradient(leaf * weight, torch.tensor([0, 1]), leaf).tolist() == [
        [1, 0, 0],
        [0, 1, 0],
    ]


def test_saliency_is_captums(resnet, images) -> None:
    expected = Saliency(resnet.network).attribute(images, target=TARGET).amax(dim=1)
    assert alike(found(resnet, "saliency", images), expected)


def test_smoothgrad_is_the_mean_of_noisy_gradients(resnet, images) -> None:
    ours = found(resnet, "smoothgrad", images, budget=3, noise=0.2, seed=5)
    for image, target, own in zip(images, TARGET, ours, strict=True):
        spread = 0.2 * (image.max() - image.min())
        gradients = [
            Saliency(resnet.network).attribute(
                (image + spread * noise(image, 5, k))[None], target=int(target), abs=False
            )
            for k in range(3)
        ]
        assert alike(own, torch.cat(gradients).mean(dim=0).abs().amax(dim=0))
    draws = noise(torch.zeros(3, 200, 200), 5, 0)
    assert abs(draws.mean()) < 0.01 and abs(draws.std() - 1) < 0.01


class Quadratic(nn.Module):
    """Score k is Σ w_k x + Σ x², so that its integrated gradients are known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(7, 3, 32, 32))

    def forward(self, images: Tensor) -> Tensor:
        linear = (self.weight * images[:, None]).sum(dim=(2, 3, 4))
        return linear + (images**2).sum(dim=(1, 2, 3))[:, None]


@pytest.mark.parametrize("count", [1, 2])
def test_integrated_gradients_by_hand_and_complete(count: int) -> None:
    network, target = Quadratic(), TARGET[:count]
    model = SkinClassifier(network, lambda n, x: x, lambda n, x: n(x))
    images = torch.randn(count, 3, 32, 32)
    explainer = explainers.get("integrated_gradients")
    own = explainer.options_type(baseline="zero", budget=4)
    ours = explainer(model).attribute(images, target, options=own).maps["integrated_gradients"]
    # the path from 0 is t x: ∫ (w + 2 t x) x dt = w x + x²
    expected = (network.weight[target] * images + images**2).sum(dim=1)
    assert alike(ours, expected)
    torch.testing.assert_close(
        ours.sum(dim=(1, 2)), model(images)[range(count), target].detach(), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("baseline", ["mean", "zero", "blur"])
def test_integrated_gradients_completeness_on_a_network(resnet, images, baseline) -> None:
    explainer = explainers.get("integrated_gradients")
    own = explainer.options_type(budget=100, baseline=baseline)
    answer = explainer(resnet).attribute(images, TARGET, options=own)
    sums = answer.maps["integrated_gradients"].sum(dim=(1, 2))
    from skinxai.explainers.baselines import baseline as without

    with torch.no_grad():
        gain = resnet(images) - resnet(without(images, baseline))
    gain = gain[[0, 1], TARGET]
    torch.testing.assert_close(answer.scores["completeness_gap"].float(), sums - gain, atol=1e-4,
                               rtol=1e-3)  # fmt: skip
    assert (sums - gain).abs().max() < 0.05 * gain.abs().max()


class SixthPower(Quadratic):
    """Score k is Σ x⁶, whose gradient on the path from 0 is of degree 5."""

    def forward(self, images: Tensor) -> Tensor:
        return (images**6).sum(dim=(1, 2, 3))[:, None].expand(-1, 7)


@pytest.mark.parametrize(("budget", "share"), [(2, -1 / 12), (3, 0.0)])
def test_the_gap_is_what_few_steps_miss(budget: int, share: float) -> None:
    # Two points of Gauss–Legendre are exact to degree 3: ∫ 6 t⁵ dt = 1 comes out as 11/12.
    model = SkinClassifier(SixthPower(), lambda n, x: x, lambda n, x: n(x))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    explainer = explainers.get("integrated_gradients")
    own = explainer.options_type(budget=budget, baseline="zero")
    gap = explainer(model).attribute(images, TARGET, options=own).scores["completeness_gap"]
    whole = (images**6).sum(dim=(1, 2, 3))
    assert whole.min() > 1000
    torch.testing.assert_close(gap.float() / whole, torch.full((2,), share), atol=1e-4, rtol=0)


def test_each_seed_and_number_has_its_own_noise(resnet, images) -> None:
    first = noise(images[0], 0, 0)
    assert torch.equal(first, noise(images[0], 0, 0))
    for other in (noise(images[0], 1, 0), noise(images[0], 0, 1)):
        assert abs(np.corrcoef(first.flatten(), other.flatten())[0, 1]) < 0.05
    maps = [found(resnet, "smoothgrad", images[:1], budget=1, seed=seed) for seed in (0, 1)]
    assert not alike(*maps, tolerance=0.1)


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_noise_is_a_share_between_0_and_1(share: float) -> None:
    with pytest.raises(OptionError, match="noise must be"):
        SmoothGradOptions(noise=share)


def test_guided_backprop_needs_a_rectifier() -> None:
    model = SkinClassifier(Quadratic(), lambda n, x: x, lambda n, x: n(x))
    with pytest.raises(ExplainError, match="needs a network with ReLU activations, found none"):
        found(model, "guided_backprop", torch.randn(2, 3, 32, 32))


def test_guided_backprop_is_captums(resnet, images) -> None:
    network = backbones.build("timm/test_resnet", 7).network
    network.load_state_dict(resnet.network.state_dict())
    expected = GuidedBackprop(network).attribute(images, target=TARGET).abs().amax(dim=1)
    assert alike(found(resnet, "guided_backprop", images), expected)


@pytest.mark.parametrize(
    ("activation", "is_relu"),
    [(torch.nn.ReLU6(), True), (torch.nn.Hardtanh(0, 1), True), (torch.nn.Hardtanh(), False)],
)
def test_only_a_hardtanh_from_0_is_a_rectifier(activation, is_relu: bool) -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 7, 3), activation, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    model = SkinClassifier(network, lambda n, x: x, lambda n, x: n(x))
    images = torch.randn(2, 3, 8, 8)
    if is_relu:
        assert found(model, "guided_backprop", images).any()
    else:
        with pytest.raises(ExplainError, match="activations are ReLU, but this one has hardtanh"):
            found(model, "guided_backprop", images)
