"""Sheets show what they say: the overlay, its contour, its values."""

import numpy as np
import pytest
from PIL import Image

from skinxai.errors import OptionError
from skinxai.results import compare
from skinxai.results.drawing import colour_map, map_colours, overlay
from skinxai.results.sheets import BAR, LINE, MARGIN, Panel, contour, sheet, smooth
from skinxai.testing import colour_classifier
from skinxai.testing.pictures import picture

PIXELS = picture({"upper left": "red"})
HEATMAP = np.linspace(-2, 6, PIXELS[..., 0].size, dtype=np.float32).reshape(PIXELS.shape[:2])


def test_the_contour_is_the_border_of_the_top_tenth() -> None:
    heatmap = np.zeros((40, 50), np.float32)
    heatmap[10:20, 5:25] = 1.0  # 200 of 2000 pixels
    border = contour(heatmap)
    inner = np.zeros((40, 50), bool)
    inner[12:18, 7:23] = True
    expected = (heatmap == 1) & ~inner  # two pixels wide, inside the region
    np.testing.assert_array_equal(border, expected)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.5])
def test_the_contour_of_a_plateau_is_its_border(share: float) -> None:
    """More than a tenth of the pixels has the highest value, also when the map is smoothed."""
    heatmap = np.zeros((480, 320), np.float32)
    rows = round(480 * share)
    heatmap[:rows] = 1.0
    border = contour(smooth(heatmap))
    assert border[:, 0].any()
    inside = border[2 : rows - 34, 2:-2]  # a cell has 15 pixels, and smoothing reaches two
    assert not inside.any() and not border[rows + 1 :].any()
    assert border[rows - 34 : rows + 1].any(axis=0).all()
    assert border[2:, 160].sum() == 2  # one line, not both sides of a ripple


def test_a_constant_map_has_no_contour() -> None:
    assert not contour(np.full((40, 50), 0.3, np.float32)).any()


def test_smoothing_joins_single_pixels_and_keeps_the_mean() -> None:
    heatmap = np.zeros((96, 160), np.float32)
    heatmap[10:50:3, 20:80:3] = 1.0
    smoothed = smooth(heatmap)
    assert smoothed.mean() == pytest.approx(heatmap.mean(), rel=0.02)
    region = smoothed > np.quantile(smoothed, 0.9)
    assert region.sum() > 5 * (heatmap > 0).sum()  # joined: not the single pixels
    border = contour(smoothed)
    assert border.any() and not border[60:].any() and not border[:, 90:].any()


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("lift", [0.0, 100.0])  # of both signs, and of one
def test_a_panel_is_the_overlay_with_its_bar(lift: float, uniform: bool) -> None:
    heatmap = HEATMAP + np.float32(lift)
    page = np.asarray(sheet([Panel(PIXELS, heatmap, "title")], uniform=uniform))
    height, width = PIXELS.shape[:2]
    top = MARGIN + LINE
    drawn = page[top : top + height, MARGIN : MARGIN + width]
    expected = np.asarray(overlay(PIXELS, heatmap, 0.5, uniform=uniform)).copy()
    border = contour(smooth(heatmap))
    np.testing.assert_array_equal(drawn[~border], expected[~border])
    assert (drawn[border] == 255).all()
    bar = page[top + height + 4 : top + height + 4 + BAR, MARGIN : MARGIN + width]
    ramp = map_colours(np.linspace(heatmap.min(), heatmap.max(), width))
    if lift:
        np.testing.assert_allclose(ramp, colour_map(np.linspace(0, 1, width)), atol=1e-3)
    assert (bar == np.rint(ramp).astype(np.uint8)).all()


def test_an_image_without_a_map_is_shown_as_it_is() -> None:
    page = np.asarray(sheet([Panel(PIXELS)]))
    top = MARGIN + LINE
    shown = page[top : top + PIXELS.shape[0], MARGIN : MARGIN + PIXELS.shape[1]]
    np.testing.assert_array_equal(shown, PIXELS)


def test_large_images_are_made_smaller_and_rows_are_filled() -> None:
    large = Panel(np.zeros((960, 1200, 3), np.uint8))
    one, five = sheet([large]), sheet([large] * 5, columns=3)
    assert one.width == 480 + 2 * MARGIN
    assert five.width == 3 * (480 + MARGIN) + MARGIN
    assert five.height == 2 * (one.height - MARGIN) + MARGIN


@pytest.mark.parametrize(("panels", "columns"), [([], 4), ([Panel(PIXELS)], 0)])
def test_nothing_to_show(panels: list, columns: int) -> None:
    with pytest.raises(OptionError, match="needs at least one panel and one column"):
        sheet(panels, columns=columns)


def test_compare_shows_each_image_once(tmp_path) -> None:
    classifier = colour_classifier()
    every = classifier.explain(PIXELS, all_classes=True)
    made = [classifier.explain(PIXELS, name) for name in ("gradcam", "layercam")]
    width = 200 + MARGIN  # the least that a title gets
    assert compare(made).width == 3 * width + MARGIN  # the image and two maps
    other = classifier.explain(picture({"upper right": "blue"}))
    assert compare([*made, other], columns=9).width == 5 * width + MARGIN
    assert compare(list(every.values())).width == 4 * width + MARGIN
    made[0].save(tmp_path / "why")
    with Image.open(tmp_path / "why/sheet.png") as written:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(made[0].sheet()))


def test_whoever_draws_can_draw_uniformly(tmp_path) -> None:
    made = colour_classifier().explain(PIXELS)
    assert made.heatmap.min() < made.heatmap.max()
    for uniform in (False, True):
        expected = np.asarray(overlay(PIXELS, made.heatmap, 0.7, uniform=uniform))
        np.testing.assert_array_equal(np.asarray(made.overlay(0.7, uniform=uniform)), expected)
        made.save(tmp_path / "one.png", alpha=0.7, uniform=uniform)
        made.save(tmp_path / "all", alpha=0.7, uniform=uniform)
        sheet = np.asarray(compare([made], alpha=0.7, uniform=uniform))
        for name, wanted in (("one.png", expected), ("all/overlay.png", expected),
                             ("all/sheet.png", sheet)):  # fmt: skip
            with Image.open(tmp_path / name) as written:
                np.testing.assert_array_equal(np.asarray(written), wanted)


def test_the_ends_of_a_narrow_scale_stand_beside_each_other() -> None:
    """A panel of 60 pixels has less room than its two numbers, whose ink must not overlap."""
    ink = []
    for side in (60, 180):
        heatmap = np.linspace(-0.00302, 0.00209, side * side, dtype=np.float32)
        page = sheet([Panel(np.zeros((side, side, 3), np.uint8), heatmap.reshape(side, side))])
        ink.append(255 - np.asarray(page.convert("L"), np.float64)[-LINE - MARGIN :])
    assert ink[0].sum() == pytest.approx(ink[1].sum(), rel=0.02)
    columns = np.flatnonzero(ink[0].any(axis=0))
    assert np.diff(columns).max() > 4  # between the numbers


def test_letters_that_the_font_lacks_are_told_apart() -> None:
    def drawn(title: str) -> np.ndarray:
        return np.asarray(sheet([Panel(PIXELS, title=title)]))

    assert not np.array_equal(drawn("l\u00e4sion.jpg"), drawn("l\u00f6sion.jpg"))
    np.testing.assert_array_equal(drawn("l\u00e4sion 60\u00d745"), drawn("l\\xe4sion 60x45"))
