"""What a method does when nothing is asked of it: its options, and what it says of itself."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from skinxai import explainers
from skinxai.errors import OptionError
from skinxai.explainers.base import Attribution
from skinxai.explainers.baselines import BLUR, baseline, blurred
from skinxai.explainers.perturbation import RISEOptions, rise_mask
from skinxai.explainers.rules import check_budget, check_seed, check_share
from skinxai.explainers.superpixels import superpixels

DEFAULTS = {
    "ablationcam": {},
    "eigencam": {"centred": False},
    "gradcam": {},
    "hirescam": {"signed": False},
    "integrated_gradients": {"budget": 50, "baseline": "mean"},
    "layercam": {},
    "lime": {"budget": 500, "segments": 60, "baseline": "mean", "width": 0.25, "ridge": 1.0,
             "seed": 0},
    "occlusion": {"budget": 200, "window": 0.2, "baseline": "mean"},
    "rise": {"budget": 1000, "cells": 7, "kept": 0.5, "baseline": "zero", "seed": 0},
    "saliency": {},
    "smoothgrad": {"budget": 25, "noise": 0.15, "seed": 0},
}  # fmt: skip
WITHOUT_GRADIENTS = {
    "ablationcam", "attention_rollout", "eigencam", "lime", "occlusion", "rise", "scorecam",
}  # fmt: skip
BUILT_IN = {entry.name for entry in explainers.entries() if entry.source == "skinxai"}


@pytest.mark.parametrize("method", DEFAULTS)
def test_the_options_that_are_documented(method: str) -> None:
    assert asdict(explainers.get(method).options_type()) == DEFAULTS[method]


def test_who_differentiates_and_who_asks_for_a_class_says_so() -> None:
    assert {n for n in BUILT_IN if not explainers.get(n).needs_gradients} == WITHOUT_GRADIENTS
    blind = {name for name in BUILT_IN if not explainers.get(name).uses_target}
    assert blind == {"attention_rollout", "eigencam"}
    assert not any(explainers.get(name).changes_network for name in BUILT_IN)


WRONG = {
    "budget": (0, "budget must be an integer"), "baseline": ("median", "baseline must be one of"),
    "seed": (-1, "seed must be an integer"), "window": (1.0, "window must be > 0 and < 1"),
    "noise": (0.0, "noise must be > 0 and < 1"), "kept": (1.0, "kept must be > 0 and < 1"),
    "width": (0.0, "width must be > 0 and < 1"), "cells": (1, "cells must be an integer >= 2"),
    "segments": (1, "segments must be an integer >= 2"),
    "ridge": (-0.1, "ridge must be >= 0 and finite"),
    "signed": ("false", "signed must be True or False"),
    "centred": (0, "centred must be True or False"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "field"),
    [(m, field) for m, options in DEFAULTS.items() for field in options if field in WRONG],
)
def test_each_option_is_checked(method: str, field: str) -> None:
    value, words = WRONG[field]
    with pytest.raises(OptionError, match=words):
        explainers.get(method).options_type(**{field: value})


def test_the_smallest_options_are_taken() -> None:
    explainers.get("lime").options_type(budget=2, segments=2, ridge=0)
    explainers.get("rise").options_type(budget=1, cells=2)
    with pytest.raises(OptionError, match="budget must be an integer >= 2, got 1"):
        explainers.get("lime").options_type(budget=1)


def test_rules_hold_at_their_ends() -> None:
    for value in (1, 2, 10**6):
        check_budget(value)
    check_budget(2, least=2)
    for seed in (0, 1, 2**31 - 1):
        check_seed(seed)
    for share in (1e-9, 0.5, 1 - 1e-9):
        check_share("noise", share)
    for value, least in ((0, 1), (-1, 1), (1, 2), (1.0, 1), (True, 1), ("1", 1)):
        with pytest.raises(
            OptionError, match=f"budget must be an integer >= {least}, got {value!r}"
        ):
            check_budget(value, least=least)
    for seed in (-1, 2**31, 0.0, True, None):
        with pytest.raises(OptionError, match="seed must be an integer from 0 to 2147483647"):
            check_seed(seed)
    for share in (0, 0.0, 1, 1.0, -0.5, 1.5, float("nan"), "0.2", None):
        with pytest.raises(OptionError, match="noise must be > 0 and < 1"):
            check_share("noise", share)
    check_share("noise", np.float32(0.2))
    for ridge in (float("inf"), float("nan"), "1"):
        with pytest.raises(OptionError, match=f"ridge must be >= 0 and finite, got {ridge!r}"):
            explainers.get("lime").options_type(ridge=ridge)


def test_baselines_by_hand() -> None:
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    assert not baseline(images, "zero").any()
    means = 9.5 + 20 * torch.arange(6.0).reshape(2, 3, 1, 1)
    assert torch.equal(baseline(images, "mean"), means.expand(2, 3, 4, 5))
    with pytest.raises(OptionError, match="baseline must be one of"):
        baseline(images, "median")


@pytest.mark.parametrize(("sigma", "reach"), [(0.5, 2), (1.0, 3), (2.2, 7), (40.0, 14)])
def test_a_blur_is_a_gaussian_with_reflected_borders(sigma: float, reach: int) -> None:
    """A point becomes the Gaussian, cut at three deviations or at the image's side."""
    side = 15
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    matrix = torch.zeros(side, side)  # of one axis: row = where the values go
    for row in range(side):
        for step, weight in zip(range(-reach, reach + 1), weights, strict=True):
            column = abs(row + step)
            matrix[row, column if column < side else 2 * (side - 1) - column] += weight
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(blurred(image, sigma), matrix @ image @ matrix.T)
    torch.testing.assert_close(
        baseline(image, "blur"), blurred(image, 1.5)
    )  # a tenth of the shorter side


def test_an_attribution_may_have_no_map_or_no_score() -> None:
    values = {"a": torch.zeros(1)}
    assert Attribution(scores=values) == Attribution({}, values)
    assert Attribution(values) == Attribution(values, {})


@pytest.mark.parametrize("size", [(20, 60), (60, 20)])
def test_the_blur_goes_by_the_shorter_side(size: tuple[int, int]) -> None:
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(baseline(images, "blur"), blurred(images, BLUR * 20))


def test_superpixels_are_found_on_at_most_96_pixels_or_so() -> None:
    pixels = np.random.default_rng(0).random((144, 96, 3), np.float32)
    segments = superpixels(pixels, 6)  # found on every second pixel
    np.testing.assert_array_equal(segments, segments[::2, ::2].repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("size", [(4, 60), (60, 4)])
def test_a_blur_wider_than_the_picture_keeps_its_colours(size: tuple[int, int]) -> None:
    colours = torch.tensor([0.1, -2.0, 3.0])[None, :, None, None].expand(1, 3, *size)
    torch.testing.assert_close(blurred(colours, 10.0), colours)


def test_a_rise_mask_is_a_grid_of_one_cell_more_enlarged_and_shifted() -> None:
    options, cell = RISEOptions(cells=4, kept=0.4, seed=2), 16  # of 64 x 96 pixels
    draws = torch.Generator().manual_seed(2 * 1_000_003 + 5)
    grid = (torch.rand(1, 1, 5, 7, generator=draws) < 0.4).numpy()[0, 0].astype(float)
    y, x = (int(torch.randint(0, cell, (), generator=draws)) for _ in range(2))
    rows, columns = ((np.arange(n * cell) + 0.5) / cell - 0.5 for n in grid.shape)
    places = np.meshgrid(rows, columns, indexing="ij")
    large = map_coordinates(grid, places, order=1, mode="nearest")
    own = rise_mask((64, 96), options, 5)[0]
    np.testing.assert_allclose(own, large[y : y + 64, x : x + 96], atol=1e-6)
