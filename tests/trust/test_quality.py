"""The quality gate: what is measured on drawn images, how limits are fitted, what is said."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from skinxai.errors import InputDtypeError, InputShapeError
from skinxai.trust.quality import MEASURES, QualityLimits, measure

SKIN, PIGMENT = (215, 165, 160), (110, 65, 50)


def drawn(size=(600, 450), seed=0, lesion=True, skin=SKIN):
    """A brown spot with a network of lines on skin with pores, drawn large and scaled down."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (1200, 900), skin)
    draw = ImageDraw.Draw(image)
    if lesion:
        draw.ellipse((350, 200, 850, 700), PIGMENT)
    for x, y in rng.uniform((0, 0), (1200, 900), (700, 2)):
        inside = lesion and math.hypot(x - 600, y - 450) < 240
        colour = (70, 40, 35) if inside else tuple(level - 25 for level in skin)
        draw.line((x, y, x + rng.uniform(-30, 30), y + rng.uniform(-30, 30)), colour, 6)
    return image.resize(size, Image.Resampling.LANCZOS)


def array(image):
    return np.asarray(image, dtype=np.uint8)


def scaled(factors):
    return np.clip(array(drawn()) * np.array(factors), 0, 255).astype(np.uint8)


def in_frame(colour, share):
    """A drawn lesion under a frame that takes ``share`` of each side at both ends."""
    found = array(drawn()).copy()
    rows, columns = int(450 * share), int(600 * share)
    found[:rows] = found[-rows:] = found[:, :columns] = found[:, -columns:] = colour
    return found


def vignetted():
    down, across = np.mgrid[-1:1:450j, -1:1:600j]
    return (array(drawn()) * np.exp(-1.5 * (down**2 + across**2))[..., None]).astype(np.uint8)


def in_circle():
    down, across = np.mgrid[-225:225:450j, -300:300:600j]
    return array(drawn()) * (np.hypot(down, across) < 225)[..., None].astype(np.uint8)


def noise(level):
    levels = np.random.default_rng(5).normal(0, level, (450, 600, 3))
    return np.clip(array(drawn()) + levels, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def limits():
    return QualityLimits.fit([measure(array(drawn(seed=seed))) for seed in range(20)])


BAD = {
    "too_small": [lambda: array(drawn((40, 30))), lambda: array(drawn((300, 99)))],
    "blurred": [
        lambda: array(drawn().filter(ImageFilter.GaussianBlur(6))),
        lambda: array(drawn((1024, 768)).filter(ImageFilter.GaussianBlur(12))),
        lambda: array(drawn((40, 30)).resize((600, 450), Image.Resampling.BICUBIC)),
    ],
    "noisy": [
        lambda: noise(40),
        lambda: np.random.default_rng(0).integers(0, 256, (450, 600, 3), np.uint8),
    ],
    "too_dark": [lambda: scaled([0.25] * 3), lambda: scaled([0.1] * 3)],
    "overexposed": [lambda: scaled([2.5] * 3), lambda: np.full((450, 600, 3), 255, np.uint8)],
    "border": [
        vignetted,
        in_circle,
        lambda: in_frame(0, 1 / 6),
        lambda: in_frame(255, 1 / 6),
    ],
    "colour_cast": [
        lambda: scaled([0.6, 0.9, 1.5]),
        lambda: scaled([0.6, 1.2, 0.7]),
        lambda: scaled([1.1, 1, 0.4]),
    ],
    "no_lesion": [
        lambda: array(drawn(lesion=False)),
        lambda: array(drawn(seed=3, lesion=False, skin=(150, 105, 90))),
        lambda: (array(drawn(lesion=False)) * np.linspace(0.6, 1, 600)[:, None]).astype(np.uint8),
    ],
    "uniform": [
        lambda: np.full((450, 600, 3), (200, 160, 150), np.uint8),
        lambda: np.zeros((450, 600, 3), np.uint8),
    ],
}


def test_each_flag_has_a_bad_image_here():
    assert set(BAD) == set(MEASURES)


@pytest.mark.parametrize(
    ("flag", "make"), [(flag, make) for flag, makes in BAD.items() for make in makes]
)
def test_a_flag_is_raised_for_its_kind_with_the_measured_value(limits, flag, make):
    measured = measure(make())
    assert limits.flags(measured)[flag] == measured[flag]


@pytest.mark.parametrize("size", [(600, 450), (320, 240), (1024, 768), (450, 600)])
@pytest.mark.parametrize("seed", [100, 101, 102])
def test_a_drawn_lesion_has_no_flag_at_any_resolution(limits, seed, size):
    assert limits.flags(measure(array(drawn(size, seed)))) == {}


def test_measures_hardly_depend_on_the_resolution():
    reference = measure(array(drawn((600, 450))))
    for size in ((320, 240), (1024, 768)):
        found = measure(array(drawn(size)))
        for flag in set(MEASURES) - {"too_small"}:
            allowed = 0.35 if flag in {"blurred", "noisy"} else 0.05
            assert found[flag] == pytest.approx(reference[flag], rel=allowed, abs=0.01), flag


@pytest.mark.parametrize("damage", ["too_dark", "colour_cast", "blurred"])
def test_a_damaged_image_has_only_the_flag_of_its_damage(limits, damage):
    assert set(limits.flags(measure(BAD[damage][0]()))) == {damage}


def test_a_dark_skin_with_a_lesion_is_not_too_dark(limits):
    assert "too_dark" not in limits.flags(measure(array(drawn(skin=(125, 85, 70)))))


def test_a_single_colour_has_hand_computed_measures():
    measured = measure(np.full((90, 120, 3), (200, 100, 50), np.uint8))
    distance = math.hypot((math.log(201 / 101) - 0.28) / 0.15, (math.log(51 / 101) - 0.045) / 0.075)
    assert measured == pytest.approx(
        {
            "too_small": 90, "blurred": 0, "noisy": 0,
            "too_dark": 0.299 * 200 + 0.587 * 100 + 0.114 * 50,
            "overexposed": 0, "border": 0, "colour_cast": distance, "no_lesion": 0, "uniform": 0,
        },
        abs=1e-5,
    )  # fmt: skip


def test_sharpness_and_noise_of_a_checkerboard_are_those_of_the_formulas():
    board = np.indices((144, 192)).sum(axis=0) % 2 * 200
    measured = measure(np.repeat(board[..., None], 3, axis=2).astype(np.uint8))
    # The Laplacian is -800 on white and +800 on black fields, Immerkær's mask ±1600.
    assert measured["blurred"] == pytest.approx(100 * 800 / 101, rel=1e-4)
    assert measured["noisy"] == pytest.approx(math.sqrt(math.pi / 2) / 6 * 1600, rel=1e-4)


def test_the_noise_level_is_the_standard_deviation_of_white_noise():
    levels = np.random.default_rng(1).normal(128, 10, (144, 192, 1)).repeat(3, axis=2)
    assert measure(levels.round().astype(np.uint8))["noisy"] == pytest.approx(10, rel=0.05)


def test_a_dark_image_is_no_border():
    dark = measure(scaled(0.2))  # the skin is below the level of a black border
    assert dark["too_dark"] < 50 and dark["border"] == 0


def test_shares_of_clipped_and_border_pixels_are_counted():
    pixels = np.full((48, 64, 3), 120, np.uint8)
    pixels[:, :16] = 255
    assert measure(pixels)["overexposed"] == 0.25
    assert measure(pixels)["border"] == 0.25
    pixels[:, :16] = (255, 240, 249)
    assert (measure(pixels)["overexposed"], measure(pixels)["border"]) == (0, 0)
    pixels[:] = 120
    pixels[12:36, 16:48] = 0  # a black lesion that touches no edge
    assert measure(pixels)["border"] == 0


def test_lesion_contrast_ignores_a_plane_of_light_and_sees_a_step():
    plane = 8 * np.exp(np.linspace(1, 2, 64)[None] + np.linspace(0, 1, 48)[:, None]) - 8
    pixels = plane[..., None].repeat(3, axis=2).round().astype(np.uint8)
    assert measure(pixels)["no_lesion"] < 0.01
    pixels = np.full((64, 64, 3), 92, np.uint8)
    pixels[16:48, 16:48] = 42  # ln(100) - ln(50) on a quarter of the area
    expected = math.log(2) * math.sqrt(0.25 * 0.75)
    assert measure(pixels)["no_lesion"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (7, 3), (3000, 40)])
@pytest.mark.parametrize("level", [0, 255])
def test_every_shape_has_finite_measures(shape, level):
    measured = measure(np.full((*shape, 3), level, np.uint8))
    assert list(measured) == list(MEASURES)
    assert all(type(value) is float and math.isfinite(value) for value in measured.values())


def test_pixels_that_are_not_contiguous_are_measured_as_their_copy():
    flipped = array(drawn())[::-1, ::-1]
    assert measure(flipped) == measure(flipped.copy())


@pytest.mark.parametrize(
    ("pixels", "error"),
    [
        (np.zeros((9, 9, 3)), InputDtypeError),
        ([[[0, 0, 0]]], InputDtypeError),
        (np.zeros((9, 9), np.uint8), InputShapeError),
        (np.zeros((9, 9, 4), np.uint8), InputShapeError),
        (np.zeros((0, 9, 3), np.uint8), InputShapeError),
    ],
)
def test_what_is_no_rgb_image_is_refused(pixels, error):
    with pytest.raises(error, match="pixels must"):
        measure(pixels)
