"""The same skin photographed otherwise: light, focus, storage, angle and distance.

Each function takes RGB uint8 ``(H, W, 3)``; none uses the lesion's mask, and two draw at random.
"""

import io

import cv2
import numpy as np
from PIL import Image

from skinxai.artefacts.changed import Changed, Floats, Mask, Pixels, smoothed, unit, whole


def colour_cast(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *,
    gains: tuple[float, float, float],
) -> Changed:  # fmt: skip
    """Multiply red, green and blue by the gains."""
    return whole(pixels * np.array(gains, np.float32))


def hue(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, degrees: float
) -> Changed:
    """Turn the hue on its circle from red towards yellow; below 0 degrees, towards violet."""
    hsv: Floats = np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV))
    hsv[..., 0] = (hsv[..., 0] + degrees) % 360
    return whole(255 * np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)))


def exposed(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, gamma: float
) -> Changed:
    """Raise each value / 255 to the power gamma; below 1 brightens, black and white stay."""
    return whole(255 * (pixels.astype(np.float32) / 255) ** gamma)


def uneven_light(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, fall: float
) -> Changed:
    """Multiply by a plane that falls from 1 + fall / 2 in one corner to 1 − fall / 2 in another.

    The direction is drawn; the middle keeps its light.
    """
    height, width = pixels.shape[:2]
    angle = draws.uniform(0, 2 * np.pi)
    down, right = np.sin(angle), np.cos(angle)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    plane = (down * y + right * x) / (abs(down) + abs(right))  # −1 to 1 in two opposite corners
    return whole(pixels * (1 - fall / 2 * plane)[..., None])


def sensor_noise(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, sigma: float
) -> Changed:
    """Add normal noise, of this deviation in grey levels of 256, to each value by itself."""
    return whole(pixels + sigma * draws.standard_normal(pixels.shape, np.float32))


def blur(pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, sigma: float) -> Changed:
    """Blur, as out of focus, by a deviation in shorter sides; it is at least half a pixel."""
    return whole(smoothed(pixels, max(0.5, sigma * unit(pixels))))


def jpeg(pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, quality: int) -> Changed:
    """Store as JPEG of the quality 1–95 and read again."""
    return whole(_stored(pixels, "JPEG", quality))


def webp(pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, quality: int) -> Changed:
    """Store as lossy WebP of the quality 0–100 and read again."""
    return whole(_stored(pixels, "WEBP", quality))


def _stored(pixels: Pixels, kind: str, quality: int) -> Pixels:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, kind, quality=quality)
    return np.asarray(Image.open(stored).convert("RGB"))


def turned(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, degrees: float,
    enlarged: float = 1.0,
) -> Changed:  # fmt: skip
    """Turn anticlockwise and enlarge around the middle; what was outside is mirrored in."""
    if degrees == 180 and enlarged == 1:
        return whole(pixels[::-1, ::-1])
    height, width = pixels.shape[:2]
    source = smoothed(pixels, 0.4 / enlarged) if enlarged < 1 else pixels
    move = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, enlarged)
    return whole(
        cv2.warpAffine(
            np.ascontiguousarray(source), move, (width, height),
            flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101,
        )
    )  # fmt: skip
