"""Numbers of drawn pictures, worked out by hand."""

import numpy as np
import pytest

from skinxai.errors import InputDtypeError, InputShapeError
from skinxai.trust.colours import colours

NOTHING = np.log(1 / 255)


def plain(colour, height=96, width=128):
    return np.full((height, width, 3), colour, np.uint8)


def test_a_single_colour_by_hand():
    found = colours(plain((255, 102, 51)))
    expected = [(1 + 0.4 + 0.2) / 3, 1 - 0.4, (1 + 0.4) / 2 - 0.2]
    np.testing.assert_allclose(found[:3], expected, rtol=1e-6)
    np.testing.assert_allclose(found[3:], NOTHING, rtol=1e-6)
    assert found.dtype == np.float32


def test_two_halves_by_hand():
    left_and_right = plain((0, 0, 0))
    left_and_right[:, 64:] = 255
    found = colours(left_and_right)
    np.testing.assert_allclose(found[:3], [0.5, 0, 0], atol=1e-6)
    steps = np.log(np.array([0.5, 1 / 63, 0]) + 1 / 255)  # deviation, across, down
    np.testing.assert_allclose(found[[3, 6, 9]], steps, rtol=1e-6)
    np.testing.assert_allclose(found[[4, 5, 7, 8, 10, 11]], NOTHING, rtol=1e-6)
    turned = colours(np.ascontiguousarray(np.moveaxis(left_and_right, 0, 1)))
    steps = np.log(np.array([0.5, 0, 1 / 47]) + 1 / 255)
    np.testing.assert_allclose(turned[[3, 6, 9]], steps, rtol=1e-6)


@pytest.mark.parametrize("times", [2, 7, 20])
def test_a_larger_copy_has_the_same_numbers(times):
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    larger = picture.repeat(times, axis=0).repeat(times, axis=1)
    np.testing.assert_allclose(colours(larger), colours(picture), rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (47, 65), (500, 1), (450, 600), (2000, 31)])
def test_each_size_and_aspect_ratio_is_described(shape):
    found = colours(plain((10, 200, 30), *shape))
    np.testing.assert_allclose(found, colours(plain((10, 200, 30))), rtol=1e-5)


def test_noise_is_told_from_its_own_blur():
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    blotches = small.repeat(40, axis=0).repeat(40, axis=1)
    assert (colours(noise)[3:6] < colours(blotches)[3:6]).all()  # cells average it away


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["grey", "with alpha", "floats", "empty"],
)
def test_other_arrays_are_refused(pixels):
    kind = InputShapeError if pixels.dtype == np.uint8 else InputDtypeError
    with pytest.raises(kind, match="pixels must be"):
        colours(pixels)
