"""Pictures with coloured patches in known places."""

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai.testing.networks import COLOURS

SIZE = (96, 160)
"""``(H, W)`` of the pictures: not square, and not the network's."""
SIDE = 32
PLACES = {"upper left": (0, 0), "upper right": (0, 128), "lower middle": (64, 64)}
Pixels = npt.NDArray[np.uint8]


def picture(patches: Mapping[str, str]) -> Pixels:
    """Grey noise with square patches.

    Args:
        patches: place in `PLACES` → colour in `COLOURS`.

    Returns:
        RGB uint8 ``(96, 160, 3)``.
    """
    draws = np.random.default_rng(0)
    grey = draws.integers(118, 138, SIZE, np.uint8)
    pixels = np.repeat(grey[:, :, None], 3, axis=2)
    for place, colour in patches.items():
        rows, columns = window(place)
        pixels[rows, columns] = COLOURS[colour]
    return pixels


def window(place: str) -> tuple[slice, slice]:
    """Rows and columns of a patch."""
    y, x = PLACES[place]
    return slice(y, y + SIDE), slice(x, x + SIDE)


def turned_file(pixels: Pixels) -> bytes:
    """A PNG file that stores the picture turned, and says so in its EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    buffer = io.BytesIO()
    Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def peak_is_in(heatmap: npt.NDArray[np.float32], place: str) -> bool:
    """Whether the highest window of a patch's size has its centre in the patch.

    Windows instead of pixels, so that methods which sample may have some noise.
    """
    step, half = 4, SIDE // 2
    corners = [
        (y, x)
        for y in range(0, heatmap.shape[0] - SIDE + 1, step)
        for x in range(0, heatmap.shape[1] - SIDE + 1, step)
    ]
    y, x = max(corners, key=lambda c: heatmap[c[0] : c[0] + SIDE, c[1] : c[1] + SIDE].mean())
    rows, columns = window(place)
    return y + half in range(rows.start, rows.stop) and x + half in range(
        columns.start, columns.stop
    )
