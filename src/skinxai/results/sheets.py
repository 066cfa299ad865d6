"""Sheets of several panels: image, overlays with contour, colour bar with raw values, titles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from skinxai.errors import OptionError
from skinxai.results.drawing import map_colours, overlay, resize_map

LONGEST = 480
"""Longest side of a panel's picture, in pixels."""
TOP_SHARE = 0.1
CELLS = 32
MARGIN, LINE, BAR = 12, 20, 12
INK, PAPER = (20, 20, 20), (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Panel:
    r"""One picture of a sheet.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        heatmap: float ``(H, W)``, raw values, or ``None`` for the image alone.
        title: above it; a second line after a line feed. What is not ASCII is drawn as its escape,
            e.g. ``\xe4``, and × as x.
    """

    pixels: npt.NDArray[np.uint8]
    heatmap: npt.NDArray[np.float32] | None = None
    title: str = ""


def sheet(
    panels: Sequence[Panel], *, columns: int = 4, alpha: float = 0.5, uniform: bool = False
) -> Image.Image:
    """Panels in rows, each overlay with the contour of its smoothed top tenth and a colour bar.

    Each map is drawn from its own minimum to its own maximum, which its bar names (0 is white in
    maps of both signs): colours of two panels cannot be compared, numbers can.

    Args:
        panels: at least one.
        columns: most panels in a row, >= 1.
        alpha: of the overlays, as in `skinxai.results.drawing.overlay`.
        uniform: of the overlays, as there.

    Raises:
        OptionError: no panel, or no column.
    """
    if not panels or columns < 1:
        raise OptionError(
            f"a sheet needs at least one panel and one column, got {len(panels)} and {columns}."
        )
    drawn = [_draw(panel, alpha, uniform) for panel in panels]
    columns = min(columns, len(drawn))
    width = max(image.width for image in drawn) + MARGIN
    rows = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    heights = [max(image.height for image in row) + MARGIN for row in rows]
    page = Image.new("RGB", (columns * width + MARGIN, sum(heights) + MARGIN), PAPER)
    for number, row in enumerate(rows):
        for place, image in enumerate(row):
            page.paste(image, (MARGIN + place * width, MARGIN + sum(heights[:number])))
    return page


def contour(heatmap: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Border of the highest values, a share of `TOP_SHARE`, bool ``(H, W)``, two pixels wide.

    Where more pixels than that share the highest value, they are the region. A constant map has
    none.

    Args:
        heatmap: float ``(H, W)``.
    """
    least, highest = np.quantile(heatmap, 1 - TOP_SHARE), heatmap.max()
    top = heatmap > least
    if least == highest > heatmap.min():
        top = heatmap == highest
    padded = np.pad(top, 2)
    inner = np.ones_like(top)
    for y, x in ((0, 2), (4, 2), (2, 0), (2, 4)):
        inner &= padded[y : y + top.shape[0], x : x + top.shape[1]]
    border: npt.NDArray[np.bool_] = top & ~inner
    return border


def smooth(heatmap: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means over `CELLS` along the longer side, joined again: maps of single pixels get regions.

    No value is beyond those of the means, so that a region of one value stays one.

    Args:
        heatmap: float32 ``(H, W)``.
    """
    coarse = cells(heatmap)
    fine = Image.fromarray(coarse).resize(heatmap.shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(fine, np.float32).clip(coarse.min(), coarse.max())


def cells(heatmap: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means over `CELLS` along the longer side.

    Args:
        heatmap: float32 ``(H, W)``.
    """
    scale = CELLS / max(heatmap.shape)
    size = max(1, round(heatmap.shape[1] * scale)), max(1, round(heatmap.shape[0] * scale))
    return np.asarray(Image.fromarray(heatmap).resize(size, Image.Resampling.BOX), np.float32)


def _drawable(text: str) -> str:
    r"""Text in letters that Pillow's own font has: each other one as its escape, e.g. ``\xe4``."""
    return text.replace("×", "x").encode("ascii", "backslashreplace").decode()


def _draw(panel: Panel, alpha: float, uniform: bool) -> Image.Image:
    scale = min(1.0, LONGEST / max(panel.pixels.shape[:2]))
    size = round(panel.pixels.shape[1] * scale), round(panel.pixels.shape[0] * scale)
    if panel.heatmap is None:
        picture = Image.fromarray(panel.pixels)
    else:
        picture = overlay(panel.pixels, panel.heatmap, alpha, uniform=uniform)
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    lines = [_drawable(line) for line in panel.title.split("\n")]
    head = LINE * len(lines)
    page = Image.new("RGB", (max(size[0], 200), head + size[1] + BAR + LINE + 6), PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for number, line in enumerate(lines):
        draw.text((0, LINE * number), line, INK, font)
    if panel.heatmap is not None:
        border = contour(smooth(resize_map(panel.heatmap, size[::-1])))[..., None]
        picture = Image.fromarray(np.where(border, 255, np.asarray(picture)).astype(np.uint8))
        ends = float(panel.heatmap.min()), float(panel.heatmap.max())
        bar = map_colours(np.linspace(*ends, size[0])[None].repeat(BAR, axis=0), *ends)
        page.paste(Image.fromarray(np.rint(bar).astype(np.uint8)), (0, head + size[1] + 4))
        low, high = (f"{value:.3g}" for value in ends)
        below = head + size[1] + BAR + 4
        draw.text((0, below), low, INK, font)
        apart = draw.textlength(f"{low}  ", font)  # below a narrow bar they stand beside each other
        place = max(apart, size[0] - draw.textlength(high, font))
        draw.text((place, below), high, INK, font)
    page.paste(picture, (0, head))
    return page
