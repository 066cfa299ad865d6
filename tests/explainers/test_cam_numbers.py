"""Class activation maps against Captum, an answer worked out by hand, or an axiom."""

import numpy as np
import pytest
import torch
from attributed import TARGET, alike, found, images, resnet
from captum.attr import FeatureAblation, LayerGradientXActivation
from sklearn.decomposition import PCA
from torch import Tensor, nn

from skinxai.backbones.network import SkinClassifier

__all__ = ["images", "resnet"]  # fixtures


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
