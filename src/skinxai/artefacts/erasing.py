"""The lesion or the skin around it taken away."""

from __future__ import annotations

import numpy as np

from skinxai.artefacts.changed import (
    Changed,
    Floats,
    Mask,
    Pixels,
    blended,
    distance_to,
    smoothed,
    unit,
)

MARGIN = 0.04
"""How far beyond its mask a lesion is erased, of the shorter side: masks end within the border."""
LEAST_SKIN = 0.05
"""Share of the image that must be skin to erase the lesion by it."""
SHIFTS = 64
CLIP = 4.0
"""Largest texture, in medians of its magnitude."""


def lesion_by_mean(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Fill the lesion with the median colour of the skin; its outline stays visible."""
    inside = _grown(mask, MARGIN * unit(pixels))
    if (~inside).mean() < LEAST_SKIN:
        return None
    return blended(pixels, _skin(pixels, ~inside), inside.astype(np.float32))


def lesion_by_box(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Fill the box around the lesion, which hides its outline too.

    Bissoto, Fornaciali, Valle and Avila, "(De)Constructing Bias on Skin Lesion Datasets", 2019.
    """
    rows, columns = (np.nonzero(mask.any(axis=axis))[0] for axis in (1, 0))
    margin = round(MARGIN * unit(pixels))
    inside = np.zeros_like(mask)
    inside[
        max(0, rows[0] - margin) : rows[-1] + margin + 1,
        max(0, columns[0] - margin) : columns[-1] + margin + 1,
    ] = True
    if (~inside).mean() < LEAST_SKIN:
        return None
    return blended(pixels, _skin(pixels, ~inside), inside.astype(np.float32))


def lesion_inpainted(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Continue the skin's colour and texture over the lesion.

    The colour is a weighted mean of the skin nearby, the texture is taken from skin elsewhere in
    the image.
    """
    inside = _grown(mask, MARGIN * unit(pixels))
    if (~inside).mean() < LEAST_SKIN:
        return None
    skin = ~inside
    base = _continued(pixels, skin)
    texture = _moved_texture(pixels, skin, draws)
    depth = distance_to(skin)
    alpha = np.clip(depth / max(2.0, 0.02 * unit(pixels)), 0, 1).astype(np.float32)
    return blended(pixels, base + texture, alpha)


def skin_by_mean(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Fill everything but the lesion with the median colour of the skin."""
    skin = ~_grown(mask, MARGIN * unit(pixels))
    if not skin.any():
        return None
    return blended(pixels, _skin(pixels, skin), skin.astype(np.float32))


def skin_by_black(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Fill everything but the lesion with black."""
    skin = ~_grown(mask, MARGIN * unit(pixels))
    return blended(pixels, (0, 0, 0), skin.astype(np.float32)) if skin.any() else None


def _grown(mask: Mask, margin: float) -> Mask:
    return np.asarray(distance_to(mask) <= margin, np.bool_)


def _skin(pixels: Pixels, skin: Mask) -> Floats:
    """The median of the skin's colours, ``(3,)``: hairs and dark corners do not move it."""
    return np.asarray(np.median(pixels[skin], axis=0), np.float32)


def _continued(pixels: Pixels, skin: Mask) -> Floats:
    """Smooth colours everywhere, from the skin nearby: the finest blur that reaches it counts."""
    known = skin.astype(np.float32)
    shown = pixels.astype(np.float32) * known[..., None]
    result: Floats = np.broadcast_to(_skin(pixels, skin), pixels.shape).astype(np.float32)
    for share in (0.4, 0.2, 0.1, 0.05, 0.025):
        sigma = share * unit(pixels)
        weight = smoothed(known, sigma)
        found = smoothed(shown, sigma) / np.maximum(weight, 1e-3)[..., None]
        alpha = np.clip(weight * 4, 0, 1)[..., None]
        result = result * (1 - alpha) + found * alpha
    return result


def _moved_texture(pixels: Pixels, skin: Mask, draws: np.random.Generator) -> Floats:
    """What the skin's pixels differ by from their blurred colours, moved over the hole."""
    height, width = skin.shape
    rest = pixels.astype(np.float32) - _continued(pixels, skin)
    usual = CLIP * np.median(np.abs(rest[skin]), axis=0)
    rest = rest.clip(-usual, usual)  # pieces of hairs would look like new structures
    result, open_ = np.zeros_like(rest), ~skin
    for _ in range(SHIFTS):
        if not open_.any():
            break
        down, right = int(draws.integers(height)), int(draws.integers(width))
        moved = open_ & np.roll(skin, (down, right), axis=(0, 1))
        result[moved] = np.roll(rest, (down, right), axis=(0, 1))[moved]
        open_ &= ~moved
    return result
