"""Skin tone from the border of an image, as the individual typology angle."""

import math

import numpy as np
import numpy.typing as npt

SHARE = 0.08
"""Of each side, how wide the border is that is taken for skin."""
LONGEST = 256
"""Most pixels along a side that are looked at."""
BLACK = 50  # level below which no channel of a black corner is
FEWEST = 50
"""Pixels below which the border says nothing."""
VALIDITY = (
    "skin tone (ITA) is estimated from pixels at the border of each image. The light, the "
    "polarisation and the colour correction of a dermatoscope move the angle by more than one "
    "group, and lesions that reach the border are taken for skin: these groups are not skin types, "
    "and a gap between them may be one between cameras. Give a column of Fitzpatrick types where "
    "there is one"
)
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
_WHITE = _TO_XYZ.sum(axis=1)  # D65


def typology_angle(pixels: npt.NDArray[np.uint8]) -> float:
    """Individual typology angle in degrees (Chardon et al., Int. J. Cosmet. Sci. 13, 1991).

    ``atan((L* − 50) / b*) · 180 / π`` of the median L* and b* of the border. Pixels of black
    corners are left out. The angle says little of a dermatoscopic image, see `VALIDITY`.

    Args:
        pixels: RGB uint8 ``(H, W, 3)``, sRGB.

    Returns:
        Degrees, higher is lighter; NaN where the border is black or its b* is not above 0, which
        no skin has in white light.
    """
    height, width = pixels.shape[:2]
    step = max(1, math.ceil(max(height, width) / LONGEST))
    small = pixels[::step, ::step]
    rows, columns = (max(1, round(SHARE * side)) for side in small.shape[:2])
    inner = np.zeros(small.shape[:2], np.bool_)
    inner[rows:-rows, columns:-columns] = True
    border = small[~inner]
    border = border[border.max(axis=1) >= BLACK]
    if len(border) < FEWEST:
        return math.nan
    lightness, _, yellow = np.median(cielab(border), axis=0).tolist()
    return math.degrees(math.atan((lightness - 50) / yellow)) if yellow > 0 else math.nan


def cielab(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """CIELAB of sRGB pixels, both with the white D65 (IEC 61966-2-1; CIE 15).

    Args:
        pixels: uint8 ``(n, 3)``.

    Returns:
        L*, a* and b*, ``(n, 3)``.
    """
    values = pixels / 255.0
    linear = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
    shares = linear @ _TO_XYZ.T / _WHITE
    small = 6 / 29
    roots = np.where(shares > small**3, np.cbrt(shares), shares / (3 * small**2) + 4 / 29)
    x, y, z = roots.T
    return np.asarray(np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1), np.float64)
