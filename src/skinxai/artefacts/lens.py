"""What lies between lens and skin: the dark rim of the dermatoscope, and bubbles in its gel."""

import cv2
import numpy as np

from skinxai.artefacts.changed import Changed, Floats, Mask, Pixels, blended, unit

BLACK = (9, 7, 7)


def dark_corners(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, radius: float
) -> Changed:
    """Blacken what lies outside of a circle, the edge of the dermatoscope's field.

    Its radius is given in halves of the image's diagonal; its centre is drawn, a little off the
    image's.
    """
    height, width = pixels.shape[:2]
    half = np.hypot(height, width) / 2
    y, x = np.indices((height, width), np.float32)
    down, right = draws.uniform(-0.02, 0.02, 2) * unit(pixels)
    away = np.hypot(y - (height - 1) / 2 - down, x - (width - 1) / 2 - right)
    soft = 0.025 * unit(pixels)
    alpha = np.clip((away - radius * half) / soft, 0, 1)
    alpha = alpha * alpha * (3 - 2 * alpha)  # no visible step
    return blended(pixels, BLACK, np.asarray(alpha, np.float32))


def bubbles(
    pixels: Pixels, mask: Mask | None, draws: np.random.Generator, *, count: int
) -> Changed:
    """Put air bubbles into the gel: dark rims, a lens's image within, and highlights."""
    side = unit(pixels)
    result, where = pixels.copy(), np.zeros(pixels.shape[:2], np.bool_)
    light = draws.uniform(0, 2 * np.pi)
    middle = draws.uniform(0.15, 0.85, 2)
    for _ in range(count):
        radius = side * min(0.08, 0.017 * draws.lognormal(0.35, 0.6))
        near = middle + draws.normal(0, 0.2, 2)  # bubbles lie in groups
        inside = draws.random() < 0.6 and (near == near.clip(0, 1)).all()
        centre = (near if inside else draws.uniform(0, 1, 2)) * pixels.shape[:2]
        radius = max(2.5, radius)
        box = tuple(slice(max(0, int(place - radius)), int(place + radius) + 2) for place in centre)
        corner = np.array([each.start for each in box])
        made = _bubble(result[box], centre - corner, radius, light)
        result[box], where[box] = made.pixels, where[box] | made.where
    return Changed(result, where)


def _bubble(pixels: Pixels, centre: Floats, radius: float, light: float) -> Changed:
    y, x = np.indices(pixels.shape[:2], np.float32)
    down, right = y - np.float32(centre[0]), x - np.float32(centre[1])
    far = np.hypot(down, right) / np.float32(radius)
    if not (far < 1).any():
        return Changed(pixels, far < 1)
    bent = (0.55 + 0.45 * far**2).astype(np.float32)  # smaller within: air between gel and glass
    seen = cv2.remap(
        pixels, np.float32(centre[1]) + right * bent, np.float32(centre[0]) + down * bent,
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101,
    ).astype(np.float32)  # fmt: skip
    rim = np.exp(-(((far - 0.9) / 0.09) ** 2))
    inner = np.exp(-(((far - 0.7) / 0.12) ** 2))
    towards = (np.cos(np.arctan2(down, right) - light) + 1) / 2  # 1 on the side of the light
    shaded = seen * (1.04 - 0.62 * rim * (1.15 - 0.45 * towards))[..., None]
    glow = 70 * inner * (1 - towards) ** 2
    spot = np.hypot(down - 0.5 * radius * np.sin(light), right - 0.5 * radius * np.cos(light))
    shine = 235 * np.exp(-((spot / (0.17 * radius)) ** 2))
    alpha = np.clip((1 - far) * radius / 1.2 + 0.35, 0, 1) * (far < 1)
    return blended(pixels, shaded + (glow + shine)[..., None], np.asarray(alpha, np.float32))
