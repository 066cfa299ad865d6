"""Numbers about maps, against answers worked out by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from skinxai.assessment.faithfulness import (
    BLIND,
    deletion_and_insertion,
    mass_inside,
    pointing,
    rank_correlation,
)
from skinxai.errors import OptionError


def share_of_ones(images: torch.Tensor) -> torch.Tensor:
    return images.mean(dim=(1, 2, 3))


def test_deletion_and_insertion_by_hand() -> None:
    """A quarter of the pixels has the whole score, and the score is linear in them."""
    image = torch.zeros(3, 4, 4)
    image[:, 0] = 1
    cover = torch.zeros_like(image)
    good = np.zeros((4, 4))
    good[0] = 1
    found = deletion_and_insertion(share_of_ones, image, cover, good, steps=4)
    # deletion ¼, 0, 0, 0, 0: area ¼ · ½ · ¼; insertion 0, ¼, ¼, ¼, ¼: area ¼ · (½ + 3) / 4
    assert found.deletion == pytest.approx(1 / 32)
    assert found.insertion == pytest.approx(7 / 32)
    at_once = deletion_and_insertion(share_of_ones, image, cover, good, steps=1)
    assert at_once.deletion == at_once.insertion == pytest.approx(1 / 8)
    worst = deletion_and_insertion(share_of_ones, image, cover, -good, steps=4)
    assert worst.deletion == pytest.approx(7 / 32)
    assert worst.insertion == pytest.approx(1 / 32)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("steps", [1, 4])
def test_scores_of_several_classes_are_no_curve(classes: int, steps: int) -> None:
    """The mean over classes is the same for each image: of probabilities, 1 / K."""
    image = torch.rand(3, 4, 4)

    def all_classes(images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))[:, :classes].softmax(dim=1)

    with pytest.raises(OptionError, match=rf"\({steps + 1},\), got the shape .* {classes}\)"):
        deletion_and_insertion(all_classes, image, 0 * image, np.ones((4, 4)), steps=steps)


def test_equal_pixels_come_in_random_order() -> None:
    image = torch.zeros(3, 40, 40)
    image[:, :10] = 1
    flat = np.ones((40, 40))
    found = deletion_and_insertion(share_of_ones, image, torch.zeros_like(image), flat)
    assert found.deletion == pytest.approx(1 / 8, abs=0.01)  # not 1/32 nor 7/32: no place is first
    assert found.insertion == pytest.approx(1 / 8, abs=0.01)
    again = deletion_and_insertion(share_of_ones, image, torch.zeros_like(image), flat)
    assert again == found


@pytest.mark.parametrize("kind", [np.uint8, bool, np.float16, np.int64])
def test_maps_of_any_kind_have_one_order(kind: type) -> None:
    """Of unsigned numbers −1 is the largest."""
    image = torch.zeros(3, 4, 4)
    image[:, 0] = 1
    good = np.zeros((4, 4))
    good[0] = 1
    asked = (share_of_ones, image, torch.zeros_like(image))
    found = deletion_and_insertion(*asked, good.astype(kind), steps=4)
    assert found == deletion_and_insertion(*asked, good, steps=4)


def test_sums_of_half_precision_are_exact() -> None:
    heatmap = np.full((300, 300), 2, np.float16)
    mask = np.zeros((300, 300), bool)
    mask[:75] = True
    assert mass_inside(heatmap, mask) == 0.25


@pytest.mark.parametrize("scale", [1, 255])
def test_masks_as_they_are_read_from_pictures(scale: int) -> None:
    heatmap = np.array([[0.0, 3.0], [1.0, -4.0]])
    mask = np.array([[0, 1], [0, 1]], np.uint8) * np.uint8(scale)
    assert mass_inside(heatmap, mask) == pytest.approx(3 / 4)
    assert pointing(heatmap, mask) == 1


@pytest.mark.parametrize("measure", [mass_inside, pointing])
@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((1, 2), bool), r"mask must have the heatmap's shape \(2, 2\), got \(1, 2\)"),
        (np.array([[0, 1], [128, 255]]), "mask must be bool, or have one value beside 0, got 3"),
    ],
)
def test_masks_that_do_not_fit(measure, mask, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        measure(np.ones((2, 2)), mask)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_not_measured(bad: float) -> None:
    heatmap, mask = np.array([[bad, 1.0], [0, 0]]), np.ones((2, 2), bool)
    image = torch.zeros(3, 2, 2)
    for measure in (
        lambda: mass_inside(heatmap, mask),
        lambda: pointing(heatmap, mask),
        lambda: rank_correlation(np.ones((2, 2)), heatmap),
        lambda: deletion_and_insertion(share_of_ones, image, image, heatmap),
    ):
        with pytest.raises(OptionError, match="must have values, all of them finite"):
            measure()


def test_maps_of_other_shapes_do_not_correlate() -> None:
    with pytest.raises(OptionError, match=r"the shape of first, \(2, 3\), got \(3, 2\)"):
        rank_correlation(np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2))


@pytest.mark.parametrize(("shape", "steps"), [((4, 5), 4), ((4, 4), 0)])
def test_what_does_not_fit(shape: tuple[int, int], steps: int) -> None:
    image = torch.zeros(3, 4, 4)
    with pytest.raises(OptionError, match="heatmap must be"):
        deletion_and_insertion(share_of_ones, image, image, np.zeros(shape), steps=steps)


def test_localisation_by_hand() -> None:
    heatmap = np.array([[0.0, 3.0], [1.0, -4.0]])
    mask = np.array([[False, True], [False, True]])
    assert mass_inside(heatmap, mask) == pytest.approx(3 / 4)  # what is negative does not count
    assert pointing(heatmap, mask) == 1 and pointing(heatmap, ~mask) == 0
    assert pointing(np.ones((2, 2)), mask) == 0.5
    assert np.isnan(mass_inside(-np.ones((2, 2)), mask))


def test_rank_correlation_is_spearmans() -> None:
    draws = np.random.default_rng(0)
    first, second = draws.integers(0, 9, (2, 20, 30)).astype(float)  # with ties
    assert rank_correlation(first, second) == pytest.approx(
        spearmanr(first.ravel(), second.ravel()).statistic
    )
    assert rank_correlation(first, np.exp(first)) == pytest.approx(1)
    assert np.isnan(rank_correlation(first, np.ones_like(first)))


def test_blind_maps() -> None:
    size = (60, 90)
    maps = {name: make(size, 1) for name, make in BLIND.items()}
    assert all(each.shape == size for each in maps.values())
    assert np.ptp(maps["uniform"]) == 0
    assert np.unravel_index(maps["centre"].argmax(), size) == (29, 44)
    assert not np.array_equal(maps["random"], BLIND["random"](size, 2))
    np.testing.assert_array_equal(maps["random"], BLIND["random"](size, 1))
