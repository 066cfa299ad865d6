"""CIELAB against published values, and the angle against its formula and the border alone."""

import math

import numpy as np
import pytest

from skinxai.assessment.skin_tone import cielab, typology_angle


@pytest.mark.parametrize(
    ("colour", "expected"),
    [  # Lindbloom's calculator, sRGB and D65
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.2408, 80.0925, 67.2032)),
        ((0, 255, 0), (87.7347, -86.1827, 83.1793)),
        ((0, 0, 255), (32.2970, 79.1875, -107.8602)),
        ((128, 128, 128), (53.5850, 0, 0)),
        ((10, 10, 10), (2.7417, 0, 0)),
    ],
)
def test_colours(colour, expected) -> None:
    found = cielab(np.array([colour], np.uint8))[0]
    np.testing.assert_allclose(found, expected, atol=0.02)


def filled(colour, size=(120, 160)):
    return np.tile(np.array(colour, np.uint8), (*size, 1))


@pytest.mark.parametrize("colour", [(230, 190, 170), (200, 150, 120), (120, 80, 60), (60, 40, 30)])
def test_the_angle_is_that_of_the_formula(colour) -> None:
    lightness, _, yellow = cielab(np.array([colour], np.uint8))[0]
    expected = math.atan((lightness - 50) / yellow) * 180 / math.pi
    assert typology_angle(filled(colour)) == pytest.approx(expected)


def test_lighter_skin_has_a_larger_angle() -> None:
    angles = [
        typology_angle(filled(c))
        for c in [(60, 40, 30), (120, 80, 60), (200, 150, 120), (235, 205, 185)]
    ]
    assert angles == sorted(angles) and angles[0] < -30 < 40 < angles[-1]


def test_only_the_border_counts() -> None:
    skin = filled((220, 180, 160))
    lesion = skin.copy()
    lesion[12:-12, 16:-16] = (60, 30, 20)
    assert typology_angle(lesion) == typology_angle(skin)


@pytest.mark.parametrize("radius", [105, 94])  # less and more than half of the border is black
def test_black_corners_are_left_out(radius: int) -> None:
    skin = filled((220, 180, 160), (200, 200))
    y, x = np.mgrid[:200, :200] - 99.5
    round_picture = skin.copy()
    round_picture[np.hypot(x, y) > radius] = 5
    assert typology_angle(round_picture) == pytest.approx(typology_angle(skin), abs=0.5)


@pytest.mark.parametrize(
    "pixels",
    [filled((0, 0, 0)), filled((90, 120, 200)), filled((128, 128, 128), (3, 3))],
    ids=["black", "blue", "tiny"],
)
def test_what_is_no_skin_has_no_angle(pixels) -> None:
    assert math.isnan(typology_angle(pixels))


def test_resolution_hardly_matters() -> None:
    draws = np.random.default_rng(0)
    small = draws.integers(150, 220, (90, 120, 3)).astype(np.uint8)
    large = small.repeat(8, axis=0).repeat(8, axis=1)
    assert typology_angle(large) == pytest.approx(typology_angle(small), abs=1)
