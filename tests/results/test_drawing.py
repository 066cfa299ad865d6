"""Colours and the evaluation transform, against matplotlib, torch and arithmetic."""

import re

import matplotlib
import numpy as np
import pytest
import torch
from picture_files import gradient
from torch.nn import functional

from skinxai import explainers
from skinxai.configs import PreprocessConfig
from skinxai.errors import ModelConfigError, OptionError
from skinxai.images.transforms import evaluation_transform
from skinxai.reporting import map_pictures
from skinxai.results import Explanation
from skinxai.results.drawing import (
    colour_map,
    map_colours,
    opacity,
    overlay,
    resize_map,
    scale_to_unit,
)

PIXELS = gradient()


def test_colours_are_infernos() -> None:
    values = np.linspace(0, 1, 256)
    expected = 255 * matplotlib.colormaps["inferno"](values)[:, :3]
    assert np.abs(colour_map(values) - expected).max() < 9  # eleven anchors of 256
    assert np.abs(colour_map(values[::51]) - expected[::51]).max() < 1.5


def test_brighter_is_more() -> None:
    linear = (colour_map(np.linspace(0, 1, 101)) / 255) ** 2.2
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(luminance) > 0).all()


def test_a_map_of_one_sign_covers_the_image_as_strongly_as_its_value() -> None:
    heatmap = np.full(PIXELS.shape[:2], 2.0, np.float32)  # its minimum: the image, unchanged
    heatmap[10, 20], heatmap[30, 30] = 4.0, 3.0
    for alpha in (0.0, 0.3, 1.0):
        found = np.asarray(overlay(PIXELS, heatmap, alpha)).astype(float)
        for place, share, colour in (((10, 20), alpha, (252, 255, 164)),
                                     ((30, 30), alpha / 2, (188, 55, 84))):  # fmt: skip
            expected = (1 - share) * PIXELS[place] + share * np.array(colour)
            np.testing.assert_allclose(found[place], expected, atol=0.51)
        elsewhere = heatmap == 2
        np.testing.assert_array_equal(found[elsewhere], PIXELS[elsewhere])
    np.testing.assert_array_equal(overlay(PIXELS, heatmap, 0.0), PIXELS)


@pytest.mark.parametrize("top", [4.0, 1.0, 0.0])
def test_a_map_that_has_values_below_0_is_transparent_at_0(top: float) -> None:
    heatmap = np.zeros(PIXELS.shape[:2], np.float32)
    heatmap[10, 20], heatmap[30, 30], heatmap[40, 50] = -2.0, -1.0, top
    found = np.asarray(overlay(PIXELS, heatmap, 0.6)).astype(float)
    largest = max(2.0, top)
    for place, value in (((10, 20), -2.0), ((30, 30), -1.0), ((40, 50), top)):
        share = 0.6 * abs(value) / largest
        colour = map_colours([value], -2.0, top)[0]
        expected = (1 - share) * PIXELS[place] + share * colour
        np.testing.assert_allclose(found[place], expected, atol=0.51)
    np.testing.assert_array_equal(found[heatmap == 0], PIXELS[heatmap == 0])


def test_a_uniform_overlay_blends_every_pixel_alike() -> None:
    heatmap = np.zeros(PIXELS.shape[:2], np.float32)
    heatmap[10, 20] = 3.0
    for alpha in (0.0, 0.3, 1.0):
        found = np.asarray(overlay(PIXELS, heatmap, alpha, uniform=True)).astype(float)
        for place, colour in (((10, 20), (252, 255, 164)), ((30, 30), (0, 0, 4))):
            expected = (1 - alpha) * PIXELS[place] + alpha * np.array(colour)
            np.testing.assert_allclose(found[place], expected, atol=0.51)


@pytest.mark.parametrize("value", [-3.0, 0.0, 3.0])
def test_a_constant_map_covers_nothing(value: float) -> None:
    heatmap = np.full(PIXELS.shape[:2], value, np.float32)
    np.testing.assert_array_equal(overlay(PIXELS, heatmap, 1.0), PIXELS)


def test_scaling_for_drawing() -> None:
    np.testing.assert_allclose(scale_to_unit([[-2.0, 0.0, 2.0]]), [[0, 0.5, 1]])
    np.testing.assert_array_equal(scale_to_unit(np.full((2, 2), 7.0)), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("heatmap", "alpha", "words"),
    [
        (np.zeros((48, 64)), 1.5, "alpha must be in 0–1"),
        (np.zeros((48, 64)), "half", "alpha must be in 0–1, got .half"),
        (np.zeros((64, 48)), 0.5, "must have the image's shape"),
        (np.full((48, 64), np.nan), 0.5, "must be finite"),
    ],
)
def test_wrong_use(heatmap: np.ndarray, alpha: float, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        overlay(PIXELS, heatmap, alpha)


@pytest.mark.parametrize("size", [(450, 600), (13, 17), (3, 4)])
def test_maps_are_resized_as_torch_does(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    expected = functional.interpolate(
        torch.from_numpy(values)[None, None], size, mode="bilinear", antialias=True
    )[0, 0]
    np.testing.assert_allclose(resize_map(values, size), expected, atol=1e-5)


def test_transform_of_the_models_own_size_by_hand() -> None:
    config = PreprocessConfig((48, 64), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.8))
    found = evaluation_transform(PIXELS, config)
    assert found.shape == (3, 48, 64) and found.dtype == np.float32
    expected = (PIXELS / 255 - (0.1, 0.2, 0.3)) / (0.5, 0.25, 0.8)
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(32, 32), (96, 128)])
def test_transform_sees_the_whole_image(size: tuple[int, int], interpolation: str) -> None:
    config = PreprocessConfig(size, (0, 0, 0), (1, 1, 1), interpolation)
    found = evaluation_transform(PIXELS, config)
    x = (np.arange(size[1]) + 0.5) / size[1]  # centres of the columns, as shares of the width
    ramp = np.interp(x, [0.5 / 64, 63.5 / 64], [0, 1])
    np.testing.assert_allclose(found[0], np.broadcast_to(ramp, size), atol=0.02)


@pytest.mark.parametrize(
    "values",
    [
        {"image_size": (31, 32)},
        {"image_size": (32,)},
        {"image_size": (32, 32), "std": (1, 1, 0)},
        {"image_size": (32, 32), "mean": (0, 0, np.nan)},
        {"image_size": (32, 32), "interpolation": "nearest"},
    ],
)
def test_preprocessing_is_checked(values: dict) -> None:
    with pytest.raises(ModelConfigError):
        PreprocessConfig(**values)


@pytest.mark.parametrize(("low", "around_zero"), [(-1e-6, False), (-0.999, False), (-1.001, True)])
def test_rounding_below_0_does_not_change_the_colours(low: float, around_zero: bool) -> None:
    heatmap = np.full(PIXELS.shape[:2], low)
    heatmap[10, 20], heatmap[30, 30] = 255, 127.5
    highest = {True: (127, 59, 8), False: (252, 255, 164)}[around_zero]  # PuOr and inferno
    np.testing.assert_allclose(map_colours(heatmap)[10, 20], highest)
    share = (127.5 - (0 if around_zero else low)) / (255 - (0 if around_zero else low))
    assert opacity(heatmap)[30, 30] == pytest.approx(share)


@pytest.mark.parametrize("ends", [(-1e-6, 1.0), (-1.0, 2.0), (-1.0, 0.0), (0.0, 1.0), (-2.0, -1.0)])
def test_pages_say_that_0_is_white_where_it_is(ends: tuple[float, float]) -> None:
    heatmap = np.linspace(*ends, 12, dtype=np.float32).reshape(3, 4)
    made = explanation_of(np.zeros((3, 4, 3), np.uint8), heatmap)
    white = ends[0] <= 0 <= ends[1] and map_colours([0.0], *ends).round().tolist() == [[247] * 3]
    assert ("0 is white" in map_pictures.scale(made)) == white


def test_what_a_method_shows_names_no_colours() -> None:
    """A map's colours depend on whether its values have both signs: purple may be above 0."""
    for entry in explainers.entries():
        assert not {"orange", "purple", "white"} & set(re.findall(r"\w+", entry.shows)), entry.name


def test_maps_of_both_signs_have_a_colour_for_zero() -> None:
    """White at 0, purple below and orange above, one step as long on both sides."""
    colours = map_colours([-1.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_array_equal(colours[2], (247, 247, 247))
    np.testing.assert_array_equal(colours[4], (127, 59, 8))  # the largest magnitude is the end
    assert colours[0][2] > colours[0][0] and colours[3][0] > colours[3][2]
    np.testing.assert_allclose(colours[0], map_colours([-1.0], -2.0, 2.0)[0])
    np.testing.assert_array_equal(map_colours([0.0, 2.0]), colour_map([0.0, 1.0]))
    np.testing.assert_array_equal(map_colours([-2.0, -1.0]), colour_map([0.0, 1.0]))
    np.testing.assert_array_equal(map_colours([-2.0, 0.0])[1], (247, 247, 247))  # 0 is in it
    np.testing.assert_array_equal(map_colours([-3.0, -3.0]), colour_map([0.0, 0.0]))


@pytest.mark.parametrize("lift", [0.0, 3.0])  # of both signs, and of one
def test_a_smaller_picture_has_the_colours_of_the_maps_own_scale(lift: float) -> None:
    """A peak that is averaged away must not be drawn as bright as the scale's end."""
    pixels = np.zeros((90, 120, 3), np.uint8)
    heatmap = np.full((90, 120), lift, np.float32)
    heatmap[0:3, 0:3], heatmap[40, 60], heatmap[80, 20] = lift + 0.5, lift + 2, lift - 1
    made = explanation_of(pixels, heatmap)
    drawn = np.asarray(map_pictures.blended(made, 40, 1.0, uniform=True)).astype(int)
    smaller = resize_map(heatmap, (30, 40))
    expected = np.rint(map_colours(smaller, *map_pictures.ends(made)))
    np.testing.assert_array_equal(drawn, expected)
    assert smaller.max() < heatmap.max() - 0.5  # else the test shows nothing
    by_opacity = np.asarray(map_pictures.blended(made, 40, 1.0)).astype(int)
    share = opacity(smaller, *map_pictures.ends(made))[..., None]
    np.testing.assert_allclose(by_opacity, share * expected, atol=1)


def explanation_of(pixels: np.ndarray, heatmap: np.ndarray) -> Explanation:
    return Explanation(
        maps={"map": heatmap}, scores={}, target="mel", against=None, score="logit", method="map",
        layer="", options={}, source="", model="", backend="", versions={}, seconds=0.0,
        pixels=pixels,
    )  # fmt: skip
