"""Augmentation: what the recipes may do to an image, and numbers for what can be worked out."""

import random
from collections import Counter

import albumentations
import numpy as np
import pytest
import torch

from skinxai.artefacts.hairs import draw_hairs
from skinxai.errors import OptionError
from skinxai.training.augmentation import AUGMENTATIONS, Augmentation, shades_of_gray


def noise(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def own(pixels: np.ndarray) -> np.ndarray:
    """Draws from every global generator."""
    shift = int(np.random.randint(100)) + random.randrange(50) + int(torch.randint(50, ()))
    return np.roll(pixels, shift, axis=1)


RECIPES = (*AUGMENTATIONS, albumentations.Compose([albumentations.Rotate(p=1.0)]), own)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("size", [(48, 64), (64, 48), (40, 40)])
def test_the_result_has_its_size_and_comes_from_its_seed(recipe, size) -> None:
    pixels = noise()
    before = pixels.copy()
    augment = Augmentation(size, recipe, hair=0.5, colour_constancy=0.5)
    results = [augment(pixels, seed) for seed in (5, 6, 5, 2**32 - 1)]
    for result in results:
        assert result.shape == (*size, 3) and result.dtype == np.uint8
    np.testing.assert_array_equal(results[0], results[2])
    assert (results[0] != results[1]).any()
    again = Augmentation(size, recipe, hair=0.5, colour_constancy=0.5)(pixels, 5)
    np.testing.assert_array_equal(results[0], again)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_global_generators_are_left_alone(recipe) -> None:
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    wanted = random.random(), np.random.random(), torch.rand(2).tolist()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    Augmentation((40, 40), recipe, hair=1.0)(noise(), 9)
    assert (random.random(), np.random.random(), torch.rand(2).tolist()) == wanted


def test_light_only_turns_mirrors_crops_and_tints() -> None:
    """Of a grey image nothing but the brightness changes: no border, no hole, no hair."""
    augment = Augmentation((48, 64), "light")
    for seed in range(40):
        result = augment(np.full((96, 128, 3), 120, np.uint8), seed).astype(int)
        assert np.ptp(result) <= 2  # one value in all pixels and, but for rounding, channels
        assert 120 * 0.8 < result.mean() < 120 * 1.2


def quadrants(height: int, width: int) -> np.ndarray:
    """Red right of the middle, green below it."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :, 0], pixels[height // 2 :, :, 1] = 255, 255
    return pixels


def test_every_turn_and_mirror_occurs() -> None:
    augment, seen = Augmentation((64, 64), "light"), Counter()
    for seed in range(400):
        result = augment(quadrants(96, 96), seed)
        corners = result[[2, 2, -3, -3], [2, -3, 2, -3], :2] > 100
        seen[tuple(corners.ravel().tolist())] += 1
    # the symmetries of a square: 3/16 each without a transposition, 1/16 each with one
    assert len(seen) == 8 and min(seen.values()) > 10 and max(seen.values()) < 120


def test_each_step_draws_for_itself() -> None:
    """Two steps of one probability happen together in a quarter of the images, not in half."""
    steps = [albumentations.HorizontalFlip(p=0.5), albumentations.InvertImg(p=0.5)]
    augment, pixels = Augmentation((96, 96), albumentations.Compose(steps)), quadrants(96, 96)
    seen = Counter()
    for seed in range(400):
        result = augment(pixels, seed)
        inverted = bool(result[0, 0, 2])
        seen[inverted, bool(result[0, 0, 0]) != inverted] += 1
    assert len(seen) == 4 and min(seen.values()) > 70


@pytest.mark.parametrize(("recipe", "least"), [("light", 0.7), ("standard", 0.45)])
def test_crops_keep_their_share_of_the_area(recipe, least) -> None:
    """A ramp's slope in the result says which part of the image is seen."""
    ramp = np.linspace(0, 200, 200)
    pixels = np.stack([*np.meshgrid(ramp, ramp), np.full((200, 200), 100.0)], -1).astype(np.uint8)
    augment, shares = Augmentation((100, 100), recipe), []
    augment._steps.transforms = [
        step for step in augment._steps.transforms
        if isinstance(step, albumentations.RandomResizedCrop)
    ]  # fmt: skip
    for seed in range(100):
        result = augment(pixels, seed).astype(float)
        width, height = np.ptp(result[:, :, 0].mean(axis=0)), np.ptp(result[:, :, 1].mean(axis=1))
        shares.append(width / 200 * height / 200)
    assert least - 0.05 < min(shares) < least + 0.1 and max(shares) > 0.9


def test_recipes_grow_stronger() -> None:
    changes = {}
    for recipe in AUGMENTATIONS:
        names = {type(step).__name__ for step in Augmentation((40, 40), recipe)._steps.transforms}
        changes[recipe] = names
    assert changes["light"] < changes["standard"] < changes["heavy"]
    assert changes["standard"] - changes["light"] == {"Affine"}
    assert changes["heavy"] - changes["standard"] == {"OneOf", "CoarseDropout"}


def test_an_own_function_sees_the_image_and_its_result_is_resized() -> None:
    seen = []

    def quarter(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        return pixels[:30, :40]

    result = Augmentation((15, 20), quarter)(noise(), 0)
    np.testing.assert_array_equal(seen[0], noise())
    means = noise()[:30, :40].reshape(15, 2, 20, 2, 3).mean(axis=(1, 3))  # halved: area's mean
    assert np.abs(result - means).max() <= 0.5
    same = Augmentation((60, 80), lambda pixels: pixels)
    np.testing.assert_array_equal(same(noise(), 0), noise())


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (lambda pixels: pixels / 255.0, r"float64 \(60, 80, 3\)"),
        (lambda pixels: pixels[:, :, 0], r"uint8 \(60, 80\)"),
        (lambda pixels: pixels.transpose(2, 0, 1), r"uint8 \(3, 60, 80\)"),
        (albumentations.Compose([albumentations.Normalize()]), r"float32 \(60, 80, 3\)"),
    ],
)
def test_a_pipeline_that_returns_something_else(recipe, words) -> None:
    with pytest.raises(OptionError, match=rf"must return RGB uint8 \(H, W, 3\), got {words}"):
        Augmentation((60, 80), recipe)(noise(), 0)


def test_an_unknown_recipe() -> None:
    with pytest.raises(OptionError, match=r"must be one of .*'heavy'.* got 'strong'"):
        Augmentation((40, 40), "strong")


# dermatoscopes


def test_shades_of_gray_by_hand() -> None:
    """Half of each channel is 0, half 100, 50 or 200: their Minkowski means are in 2 : 1 : 4."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:2] = (100, 50, 200)
    # (mean of v⁶)^(1/6) = v (1/2)^(1/6); the channels' mean is that of (100 + 50 + 200) / 3
    result = shades_of_gray(pixels)
    assert (result[:2] == round(350 / 3)).all() and not result[2:].any()
    mixed = noise()
    light = (mixed.astype(np.float64) ** 6).mean(axis=(0, 1)) ** (1 / 6)
    wanted = np.clip(mixed * (light.mean() / light), 0, 255)
    assert np.abs(shades_of_gray(mixed) - wanted).max() <= 0.51


def test_shades_of_gray_at_its_edges() -> None:
    grey = np.repeat(noise()[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(shades_of_gray(grey), grey)
    black = np.zeros((5, 5, 3), np.uint8)
    np.testing.assert_array_equal(shades_of_gray(black), black)
    twice = shades_of_gray(shades_of_gray(noise() // 2))
    assert np.abs(twice.astype(int) - shades_of_gray(noise() // 2)).max() <= 1


def test_hairs_are_dark_thin_and_new_each_time() -> None:
    pixels = np.full((240, 320, 3), 200, np.uint8)
    shares = []
    for seed in range(40):
        result = draw_hairs(pixels, np.random.default_rng(seed))
        changed = (result != 200).any(axis=2)
        shares.append(changed.mean())
        assert result.shape == pixels.shape and result.dtype == np.uint8
        darkest = result[changed].min(axis=0).astype(int)
        assert 10 <= darkest[2] < 90  # brown: red 20, green 8 above blue
        assert (darkest[:2] - darkest[2] == (20, 8)).all()
    assert min(shares) > 0.002 and max(shares) < 0.25 and len(set(shares)) == 40
    assert (pixels == 200).all()
    first, again = (draw_hairs(pixels, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_shares_are_kept(share) -> None:
    """Hair darkens a white image, the neutral light of a red one turns it grey."""
    white, red = np.full((40, 40, 3), 255, np.uint8), np.full((40, 40, 3), (200, 50, 50), np.uint8)
    hair = Augmentation((40, 40), lambda pixels: pixels, hair=share)
    light = Augmentation((40, 40), lambda pixels: pixels, colour_constancy=share)
    with_hair = np.mean([(hair(white, seed) < 255).any() for seed in range(400)])
    neutral = np.mean([np.ptp(light(red, seed)[0, 0].astype(int)) == 0 for seed in range(400)])
    assert with_hair == pytest.approx(share, abs=0.07) and neutral == pytest.approx(share, abs=0.07)
