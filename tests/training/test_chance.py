"""What is drawn for each image's augmentation on the device: ranges, shares, and its own seed."""

from collections import Counter
from itertools import permutations

import albumentations
import numpy as np
import pytest

from skinxai.training.augmentation import Augmentation
from skinxai.training.chance import (
    BLUR,
    COMPRESSION,
    FEWER_PIXELS,
    NOISE,
    Draws,
    draw,
    philox,
    uniform,
)
from skinxai.training.recipes import HUE, JITTER, RECIPES, Damage

SOURCE, SIZE, MANY = (84, 112), (72, 96), np.arange(20_000)


@pytest.fixture(scope="module")
def heavy() -> Draws:
    return draw(RECIPES["heavy"], MANY, SOURCE, SIZE, colour_constancy=0.3)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_philox_gives_the_known_answers_of_its_authors(counter, key, words) -> None:
    given, keys = (np.array([[int(w, 16)] for w in t.split()], np.uint64) for t in (counter, key))
    assert [f"{int(word):08x}" for word in philox(given, keys).ravel()] == words.split()


def test_uniform_numbers_are_uniform_and_independent() -> None:
    numbers = uniform(MANY.astype(np.uint64), 64)
    assert 0 < numbers.min() < 1e-4 and 1 - 1e-4 < numbers.max() < 1
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 0.01
    related = np.corrcoef(numbers.T) - np.eye(64)
    assert np.abs(related).max() < 0.05
    following = np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]  # of seeds that follow
    assert abs(following) < 0.03


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_image_is_drawn_from_its_seed_alone(recipe) -> None:
    seeds = [5, 2**32 - 1, 0, 77, 5]
    every = draw(RECIPES[recipe], seeds, SOURCE, SIZE, colour_constancy=0.5)
    for place, seed in enumerate(seeds):
        alone = draw(RECIPES[recipe], [seed], SOURCE, SIZE, colour_constancy=0.5)
        for name, value in vars(every).items():
            np.testing.assert_array_equal(value[place], getattr(alone, name)[0], err_msg=name)
    part = every.part(slice(1, 3))
    assert len(part) == 2 and (part.matrix == every.matrix[1:3]).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_colours_have_the_ranges_of_the_recipe(recipe) -> None:
    draws, strength = draw(RECIPES[recipe], MANY, SOURCE, SIZE), RECIPES[recipe].strength
    for number, (middle, most) in enumerate([*3 * [(1.0, strength)], (0.0, strength * HUE)]):
        values = draws.factors[:, number]
        assert np.abs(values - middle).max() == pytest.approx(most, rel=0.01)
        assert values.mean() == pytest.approx(middle, abs=0.02 * most)
        assert values.std() == pytest.approx(most / 3**0.5, rel=0.03)  # of a uniform range
    jittered = draws.order[:, 0] >= 0
    assert jittered.mean() == pytest.approx(JITTER, abs=0.01)
    assert (draws.order[~jittered] == -1).all()
    counts = Counter(map(tuple, draws.order[jittered].tolist()))
    assert set(counts) == set(permutations(range(4)))
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_damage_has_the_shares_and_ranges_of_the_recipe(heavy) -> None:
    damage = Damage()
    for kind in (BLUR, COMPRESSION, FEWER_PIXELS, NOISE):
        assert (heavy.damage == kind).mean() == pytest.approx(damage.probability / 4, abs=0.01)
    np.testing.assert_allclose(heavy.kernel.sum(axis=1), 1, rtol=1e-6)
    three = heavy.kernel[:, 0] == 0
    assert three.mean() == pytest.approx(1 / 3, abs=0.02)  # of 3, 4 and 5, where 4 becomes 5
    ratio = heavy.kernel[:, 3] / heavy.kernel[:, 2]  # exp(−1 / 2σ²)
    sigma = np.sqrt(-0.5 / np.log(ratio.astype(float)))
    assert sigma.min() == pytest.approx(0.5, abs=0.01) and sigma.max() == pytest.approx(3, abs=0.01)
    assert set(heavy.quality.tolist()) == set(range(50, 91))
    assert heavy.scale.min() == pytest.approx(0.5, abs=1e-3)
    assert heavy.scale.max() == pytest.approx(0.9, abs=1e-3)
    assert heavy.noise[:, 0].min() == pytest.approx(1, abs=0.01)
    assert heavy.noise[:, 0].max() == pytest.approx(10, abs=0.01)
    assert heavy.noise[:, 1].tolist() == list(MANY)
    assert heavy.neutral.mean() == pytest.approx(0.3, abs=0.01)
    for name in ("light", "standard"):
        none = draw(RECIPES[name], MANY, SOURCE, SIZE)
        assert (none.damage == -1).all() and not none.boxes.any() and not none.neutral.any()


def test_boxes_have_the_shares_and_ranges_of_the_recipe(heavy) -> None:
    top, bottom, left, right = np.moveaxis(heavy.boxes, -1, 0)  # (N, 2) each
    number = (bottom > top).sum(axis=1)
    assert (number > 0).mean() == pytest.approx(0.25, abs=0.01)
    assert (number == 2).mean() == pytest.approx(0.125, abs=0.01)
    for start, end, side in ((top, bottom, SIZE[0]), (left, right, SIZE[1])):
        length = (end - start)[end > start]
        assert length.min() == int(0.1 * side) and length.max() in (int(0.3 * side), 0.3 * side - 1)
        assert start.min() == 0 and end.max() == side


def areas(matrix: np.ndarray) -> np.ndarray:
    """Share of the source that each result shows."""
    pixels = matrix[:, :, :2] * (np.array(SOURCE[::-1])[:, None] - 1) / 2
    return np.abs(np.linalg.det(pixels.astype(float))) * SIZE[0] * SIZE[1] / SOURCE[0] / SOURCE[1]


@pytest.mark.parametrize("recipe", ["light", "standard"])
def test_crops_are_distributed_as_on_the_cpu(recipe) -> None:
    """The share of the area in 1,500 crops of albumentations, after its right angles."""
    pixels, seen = np.zeros((*SOURCE, 3), np.uint8), []
    steps = Augmentation(SIZE, recipe)._steps.transforms
    chosen = [s for s in steps if isinstance(s, albumentations.RandomRotate90 |
              albumentations.RandomResizedCrop)]  # fmt: skip
    crop = chosen[1].get_params_dependent_on_data

    def noted(params, data):
        found = crop(params, data)
        left, top, right, bottom = found["crop_coords"]
        seen.append((right - left) * (bottom - top) / SOURCE[0] / SOURCE[1])
        return found

    chosen[1].get_params_dependent_on_data = noted
    pipeline = albumentations.Compose(chosen, seed=0)
    for _ in range(1500):
        pipeline(image=pixels)
    own = np.sort(areas(draw(RECIPES[recipe], MANY, SOURCE, SIZE).matrix))
    points = np.linspace(0.405, 1.005, 61)  # beside 0.75, the area of many
    shares = [np.searchsorted(np.sort(values), points) / len(values) for values in (own, seen)]
    assert np.abs(shares[0] - shares[1]).max() < 0.05  # Kolmogorov's distance
    assert own.max() <= 1 + 1e-6


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_crop_leaves_an_image_that_was_not_rotated(recipe) -> None:
    draws = draw(RECIPES[recipe], MANY, SOURCE, SIZE)
    straight = np.isclose(draws.matrix[:, :, :2], 0, atol=1e-7).sum(axis=(1, 2)) == 2
    assert straight.mean() == pytest.approx(1 - RECIPES[recipe].turned, abs=0.02)
    for row in (-0.5, SIZE[0] - 0.5):
        for column in (-0.5, SIZE[1] - 0.5):
            corners = draws.matrix[straight] @ np.array([column, row, 1])
            assert np.abs(corners).max() <= 1 + 1 / (min(SOURCE) - 1) + 1e-5


@pytest.mark.parametrize(("size", "most"), [((72, 96), 1), ((48, 64), 2), ((24, 32), 4)])
def test_more_samples_where_a_result_shrinks_more(size, most) -> None:
    draws = draw(RECIPES["light"], MANY[:2000], SOURCE, size)
    pixels = draws.matrix[:, :, :2] * (np.array(SOURCE[::-1])[:, None] - 1) / 2
    across = np.linalg.norm(pixels, axis=1).max(axis=1)
    assert (draws.finer >= across / 1.25 - 1e-4).all() and draws.finer.max() <= most
    assert (draws.finer - 1 < across / 1.25 + 1e-4).all() and draws.finer.min() >= 1
