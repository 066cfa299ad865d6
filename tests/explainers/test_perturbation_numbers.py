"""Occlusion, RISE, LIME and its superpixels against Captum or answers worked out by hand."""

import numpy as np
import pytest
import torch
from attributed import TARGET, alike, found, images, resnet
from captum.attr import Occlusion
from torch import nn

from skinxai import explainers
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import OptionError
from skinxai.explainers.perturbation import RISEOptions, rise_mask, window_corners
from skinxai.explainers.superpixels import superpixels

__all__ = ["images", "resnet"]  # fixtures


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
