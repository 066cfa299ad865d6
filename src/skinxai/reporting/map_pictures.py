"""Pictures of an image and its heatmap, no larger than a page needs them."""

import base64
import html
import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai.results import Explanation
from skinxai.results.drawing import has_signs, map_colours, overlay, resize_map
from skinxai.results.sheets import cells

STYLE = """
.scale { height: .55rem; border-radius: .2rem; margin-top: .35rem; print-color-adjust: exact }
.ends { display: flex; justify-content: space-between; font-size: .78rem; color: var(--soft) }
"""


def smaller(pixels: npt.NDArray[np.uint8], side: int) -> Image.Image:
    """An image whose longest side is at most ``side``; its channels one by one, to save memory.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``.
        side: pixels.
    """
    channels = [Image.fromarray(pixels[..., channel]) for channel in range(3)]
    for each in channels:
        each.thumbnail((side, side))
    return Image.merge("RGB", channels)


def blended(
    explanation: Explanation, side: int, alpha: float, uniform: bool = False
) -> Image.Image:
    """The heatmap over the image, in the colours of `scale`.

    Args:
        explanation: one that has a heatmap.
        side: longest side of the picture, in pixels.
        alpha: as in `Explanation.overlay`.
        uniform: as there.
    """
    assert explanation.heatmap is not None
    below = np.asarray(smaller(explanation.pixels, side))
    values = explanation.heatmap
    if below.shape[:2] != values.shape:
        values = resize_map(values, (below.shape[0], below.shape[1]))
    return overlay(below, values, alpha, uniform=uniform, ends=ends(explanation))


def averaged(explanation: Explanation) -> Explanation:
    """The same with the heatmap's means over the cells of `skinxai.results.sheets.cells`."""
    assert explanation.heatmap is not None
    name = next(iter(explanation.maps))
    size = (explanation.heatmap.shape[0], explanation.heatmap.shape[1])
    return replace(explanation, maps={name: resize_map(cells(explanation.heatmap), size)})


def ends(explanation: Explanation) -> tuple[float, float]:
    """Lowest and highest raw value of the heatmap."""
    assert explanation.heatmap is not None
    return float(explanation.heatmap.min()), float(explanation.heatmap.max())


def colours(explanation: Explanation, steps: int) -> npt.NDArray[np.int64]:
    """Colours of the heatmap from its lowest to its highest value, ``(steps, 3)``, 0–255."""
    low, high = ends(explanation)
    return np.rint(map_colours(np.linspace(low, high, steps), low, high)).astype(np.int64)


def scale(explanation: Explanation) -> str:
    """The colours of a heatmap as HTML, with its lowest and highest raw value."""
    low, high = ends(explanation)
    shades = ",".join(f"rgb({r} {g} {b})" for r, g, b in colours(explanation, 24))
    zero = "<span>0 is white</span>" if has_signs(low, high) else ""
    return (
        f"<div class='scale' style='background:linear-gradient(to right,{shades})'></div>"
        f"<div class='ends'><span>{low:.3g}</span>{zero}<span>{high:.3g}</span></div>"
    )


def jpeg(picture: Image.Image, quality: int = 88, subsampling: int = 0) -> bytes:
    """JPEG bytes; what Pillow calls 4:4:4 and 4:2:0 are the numbers 0 and 2."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def data_url(encoded: bytes) -> str:
    """A JPEG as a URL that holds it."""
    return f"data:image/jpeg;base64,{base64.b64encode(encoded).decode()}"


def as_img(picture: Image.Image, alt: str, side: int) -> str:
    """An ``<img>`` that holds its picture.

    Args:
        picture: any.
        alt: what it shows, plain text.
        side: its longest side on the page, in pixels of CSS, where there is room.
    """
    enlarged = side / max(picture.size)
    width, height = (round(each * enlarged) for each in picture.size)
    return (
        f"<img src='{data_url(jpeg(picture))}' width='{width}' "
        f"height='{height}' alt='{html.escape(alt, quote=True)}'>"
    )
