"""Each method against an independent implementation, an answer worked out by hand, or an axiom."""

import numpy as np
import pytest
import torch
from captum.attr import (
    FeatureAblation,
    GuidedBackprop,
    LayerGradientXActivation,
    Occlusion,
    Saliency,
)
from sklearn.decomposition import PCA
from torch import Tensor, nn

from skinxai import backbones, explainers
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import ExplainError, OptionError
from skinxai.explainers.differentiating import score_gradient
from skinxai.explainers.gradients import SmoothGradOptions, noise
from skinxai.explainers.perturbation import RISEOptions, rise_mask, window_corners
from skinxai.explainers.superpixels import superpixels

TARGET = torch.tensor([0, 3])
pytestmark = [  # of Captum's own
    pytest.mark.filterwarnings("ignore:Input Tensor .* did not already require gradients"),
    pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations"),
]


@pytest.fixture(scope="module")
def resnet() -> SkinClassifier:
    """Random weights and random statistics, so that no map is like another."""
    torch.manual_seed(0)
    model = backbones.build("timm/test_resnet", 7)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(0.1 * torch.rand_like(buffer))
    return model


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(7))


def found(model: SkinClassifier, method: str, images: Tensor, **options: object) -> Tensor:
    explainer = explainers.get(method)
    own = explainer.options_type(**options)
    answer = explainer(model).attribute(images, TARGET[: len(images)], options=own)
    return answer.maps[method]


def alike(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> bool:
    ours, theirs = ours.detach(), theirs.detach()
    assert ours.shape == theirs.shape and theirs.abs().max() > 0
    return bool((ours - theirs).abs().max() / theirs.abs().max() < tolerance)


def channels_and_gradient(model: SkinClassifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """By a hook and a whole backward pass, float64."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = model.network.layer4.register_forward_hook(keep)
    try:
        logits = model.network(images)
    finally:
        handle.remove()
    logits[torch.arange(len(images)), TARGET].sum().backward()
    model.zero_grad()
    return kept[0].detach().double(), kept[0].grad.double()


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


def test_gradcam_plus_plus_is_equation_19(resnet, images) -> None:
    channels, g = channels_and_gradient(resnet, images)
    alpha = np.zeros(channels.shape)
    a, gradient = channels.numpy(), g.numpy()
    for n, c, y, x in np.argwhere(gradient != 0):
        total = a[n, c].sum()
        cell = gradient[n, c, y, x]
        alpha[n, c, y, x] = cell**2 / (2 * cell**2 + total * cell**3)
    weights = (alpha * np.maximum(gradient, 0)).sum(axis=(2, 3), keepdims=True)
    expected = torch.from_numpy(np.maximum((weights * a).sum(axis=1), 0)).float()
    assert alike(found(resnet, "gradcam++", images), expected)


def test_layercam(resnet, images) -> None:
    channels, g = channels_and_gradient(resnet, images)
    expected = (g.clamp_min(0) * channels).sum(1).clamp_min(0).float()
    assert alike(found(resnet, "layercam", images), expected)


def cells(channels: list[list[float]]) -> SkinClassifier:
    """Feature maps of 1 × 2 cells, whatever the image; every score is the sum of all cells."""
    features = torch.tensor(channels)[None, :, None]
    model = SkinClassifier(
        nn.Identity(), lambda n, x: features.expand(len(x), -1, -1, -1),
        lambda n, f: f.sum(dim=(1, 2, 3))[:, None].expand(-1, 4),
    )  # fmt: skip
    model.grid = lambda f, image_size=None: f  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize(
    ("method", "last"), [("gradcam", 1), ("gradcam++", 3), ("hirescam", 1), ("layercam", 1)]
)
def test_nothing_is_below_0_where_channels_are_negative(method: str, last: float) -> None:
    # The gradient is 1 everywhere: the sums over channels are −2 and 1. In Grad-CAM++ the channels
    # have the weights 2 / (2 − 1) and 2 / (2 + 0): their sums are −5 and 3.
    ours = found(cells([[-3.0, 2.0], [1.0, -1.0]]), method, torch.ones(1, 3, 32, 64))
    assert ours.tolist() == [[[0, last]]]


def test_gradcam_plus_plus_gives_no_share_where_the_denominator_is_0() -> None:
    # 2 + g Σ A is 0 in the first channel and 4 in the second, whose weight is then 1/4 + 1/4.
    ours = found(cells([[-3.0, 1.0], [1.5, 0.5]]), "gradcam++", torch.ones(1, 3, 32, 64))
    assert ours.tolist() == [[[0.75, 0.25]]]


def test_hirescam_is_captums_gradient_times_activation(resnet, images) -> None:
    captum = LayerGradientXActivation(resnet.network, resnet.network.layer4)
    expected = captum.attribute(images, target=TARGET).sum(dim=1)
    assert alike(found(resnet, "hirescam", images, signed=True), expected)
    assert alike(found(resnet, "hirescam", images), expected.relu())


def test_signed_hirescam_sums_to_the_logit_less_its_bias(resnet, images) -> None:
    sums = found(resnet, "hirescam", images, signed=True).sum(dim=(1, 2))
    logits = resnet(images)[torch.arange(2), TARGET] - resnet.network.fc.bias[TARGET]
    torch.testing.assert_close(sums, logits.detach(), rtol=1e-4, atol=1e-4)


def test_eigencam_is_the_first_component(resnet, images) -> None:
    channels = resnet.features(images).detach()
    cells = channels.flatten(2).transpose(1, 2)
    for ours, centred, own in zip(
        found(resnet, "eigencam", images, centred=False),
        found(resnet, "eigencam", images, centred=True),
        cells.double().numpy(),
        strict=True,
    ):
        _, _, vectors = np.linalg.svd(own, full_matrices=False)
        projected = own @ vectors[0]  # channels are rectified: by Perron all of one sign
        assert alike(ours.flatten(), torch.from_numpy(np.abs(projected)).float())
        component = PCA(1, svd_solver="full").fit_transform(own)[:, 0]
        sign = np.sign(np.corrcoef(component, own.sum(axis=1))[0, 1])
        assert alike(centred.flatten(), torch.from_numpy(sign * component).float())


@torch.no_grad()
def test_scorecam_channel_by_channel(resnet, images) -> None:
    image = images[:1]
    channels = resnet.features(image)[0, :24]

    class Few(SkinClassifier):  # the first 24 channels only, so that the test is quick
        def grid(self, features: Tensor, image_size: object = None) -> Tensor:
            return features[:, :24]

    few = Few(resnet.network, resnet._features, resnet._head)
    scores = []
    for channel in channels:
        mask = torch.nn.functional.interpolate(channel[None, None], image.shape[2:],
                                               mode="bilinear")[0, 0]  # fmt: skip
        spread = (mask.max() - mask.min()).clamp_min(1e-30)  # dead channels mask everything
        mask = (mask - mask.min()) / spread
        scores.append(resnet(image * mask)[0, TARGET[0]].item())
    weights = np.exp(np.asarray(scores) - max(scores))
    weights /= weights.sum()
    expected = np.maximum((weights[:, None, None] * channels.numpy()).sum(axis=0), 0)
    assert alike(found(few, "scorecam", image)[0], torch.from_numpy(expected).float())

    most = np.argsort([-float(c.max() - c.min()) for c in channels])[:5]
    part = np.exp(np.asarray(scores)[most])
    expected = np.maximum((part / part.sum()) @ channels.numpy()[most].reshape(5, -1), 0)
    ours = found(few, "scorecam", image, budget=5)[0].flatten()
    assert alike(ours, torch.from_numpy(expected).float())


def test_scorecam_gives_constant_channels_the_score_of_a_black_image() -> None:
    features = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]])  # one varies, one does not
    model = SkinClassifier(
        nn.Identity(), lambda n, x: features.expand(len(x), -1, -1, -1),
        lambda n, f: torch.zeros(len(f), 4),
    )  # fmt: skip
    model.grid = lambda f, image_size=None: f  # type: ignore[method-assign]
    image = torch.ones(1, 3, 32, 64)
    ours = found(model, "scorecam", image)  # all scores are 0: equal weights
    torch.testing.assert_close(ours, torch.tensor([[[1.5, 2.5]]]))


def test_ablationcam_is_captums_feature_ablation(resnet, images) -> None:
    # The channels are ablated in what the network's end gets: its beginning runs once.
    captum = FeatureAblation(nn.Sequential(resnet.network.global_pool, resnet.network.fc))
    channels = resnet.features(images).detach()
    each = torch.arange(channels.shape[1])[None, :, None, None].expand_as(channels[:1])
    for target, own, ours in zip(
        TARGET, channels, found(resnet, "ablationcam", images), strict=True
    ):
        falls = captum.attribute(
            own[None], baselines=0, target=int(target), feature_mask=each,
            perturbations_per_eval=64,
        )  # fmt: skip
        assert alike(ours, (falls[0, :, :1, :1] * own).sum(dim=0).relu())


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


def test_occlusion_is_captums(resnet, images) -> None:
    side, budget = 16, 48
    corners = window_corners((64, 96), side, budget)
    stride = corners[1][1] - corners[0][1]
    assert len(corners) <= budget and (corners[-1] == (64 - side, 96 - side))
    if (64 - side) % stride or (96 - side) % stride:  # captum's last windows stick out
        sides = {y for y, _ in corners}, {x for _, x in corners}
        assert all(max(s) + side == size for s, size in zip(sides, (64, 96), strict=True))
    captum = Occlusion(resnet.network)
    expected = captum.attribute(
        images, sliding_window_shapes=(3, side, side), strides=(3, 8, 8), target=TARGET,
        baselines=0, perturbations_per_eval=16,
    )  # fmt: skip
    count = len(window_corners((64, 96), side, 7 * 11))
    assert count == 7 * 11  # stride 8
    ours = found(resnet, "occlusion", images, window=0.25, budget=7 * 11, baseline="zero")
    assert alike(ours, expected[:, 0])


def test_rise_is_the_mean_score_given_that_a_pixel_is_kept(resnet, images) -> None:
    options = RISEOptions(budget=5, cells=4, kept=0.4, baseline="zero", seed=3)
    masks = torch.stack([rise_mask((64, 96), options, k) for k in range(5)])  # (5, 1, 64, 96)
    with torch.no_grad():
        scores = resnet(masks * images[0])[:, TARGET[0]]
    expected = (scores[:, None, None] * masks[:, 0]).sum(dim=0) / masks[:, 0].sum(dim=0)
    own = dict(budget=5, cells=4, kept=0.4, baseline="zero", seed=3)
    assert alike(found(resnet, "rise", images[:1], **own)[0], expected)


def test_rise_masks_keep_their_share_everywhere() -> None:
    options = RISEOptions(cells=5, kept=0.3)
    masks = torch.stack([rise_mask((80, 110), options, k)[0] for k in range(3000)])
    assert masks.min() >= 0 and masks.max() <= 1
    mean = masks.mean(dim=0)
    assert (mean - 0.3).abs().max() < 0.04 and masks[0].unique().numel() > 2


def test_lime_recovers_an_additive_model() -> None:
    """Without a penalty the coefficients are what each superpixel adds: w · (image − baseline)."""
    weight = torch.randn(3, 64, 80)
    image = torch.rand(1, 3, 64, 80)
    model = SkinClassifier(
        nn.Identity(), lambda n, x: x, lambda n, x: (weight * x).sum(dim=(1, 2, 3))[:, None]
    )
    explainer = explainers.get("lime")
    own = explainer.options_type(budget=200, segments=12, baseline="zero", ridge=0.0)
    answer = explainer(model).attribute(image, torch.tensor([0]), options=own)
    segments = superpixels(image[0].permute(1, 2, 0).numpy(), 12)
    added = (weight * image[0]).sum(dim=0).numpy()
    expected = np.asarray([added[segments == k].sum() for k in range(segments.max() + 1)])
    assert alike(answer.maps["lime"][0], torch.from_numpy(expected[segments]).float(), 1e-3)
    assert answer.scores["r_squared"].item() > 0.9999


def test_superpixels_are_compact_and_follow_colour() -> None:
    pixels = np.zeros((60, 90, 3), np.float32)
    pixels[:, 47:] = 1.0  # an edge that no regular grid has
    segments = superpixels(pixels, 24)
    assert sorted(np.unique(segments)) == list(range(segments.max() + 1))
    assert 12 <= segments.max() + 1 <= 30
    for number in range(segments.max() + 1):
        assert np.ptp(pixels[segments == number]) == 0  # none crosses the edge


@pytest.mark.parametrize(("height", "width"), [(60, 90), (90, 60)])
def test_superpixels_of_one_colour_are_a_regular_grid(height: int, width: int) -> None:
    segments = superpixels(np.ones((height, width, 3), np.float32), 24)
    y, x = np.mgrid[:height, :width]
    np.testing.assert_array_equal(segments, y // 15 * (width // 15) + x // 15)


def test_more_superpixels_than_places_are_refused() -> None:
    pixels = np.random.default_rng(0).random((6, 8, 3), np.float32)
    assert superpixels(pixels, 48).shape == (6, 8)
    with pytest.raises(OptionError, match="segments must be <= 48 for an image of 6 x 8, got 49"):
        superpixels(pixels, 49)
