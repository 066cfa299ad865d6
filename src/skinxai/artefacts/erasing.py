"""The lesion or the skin around it taken away."""

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
    return _without_lesion(pixels, _around(pixels, mask))


def lesion_by_box(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Fill the box around the lesion, which hides its outline too.

    Bissoto, Fornaciali, Valle and Avila, "(De)Constructing Bias on Skin Lesion Datasets", 2019.
    """
    rows, columns = (np.nonzero(mask.any(axis=axis))[0] for axis in (1, 0))
    margin = round(MARGIN * unit(pixels))
    skin = np.ones_like(mask)
    skin[
        max(0, rows[0] - margin) : rows[-1] + margin + 1,
        max(0, columns[0] - margin) : columns[-1] + margin + 1,
    ] = False
    return _without_lesion(pixels, skin)


def lesion_inpainted(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Continue the skin's colour and texture over the lesion.

    The colour is a weighted mean of the skin nearby, the texture is taken from skin elsewhere in
    the image.
    """
    skin = _around(pixels, mask)
    if skin.mean() < LEAST_SKIN:
        return None
    colour = _continued(pixels, skin) + _moved_texture(pixels, skin, draws)
    alpha = np.clip(distance_to(skin) / max(2.0, 0.02 * unit(pixels)), 0, 1).astype(np.float32)
    return blended(pixels, colour, alpha)


def skin_by_mean(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Fill everything but the lesion with the median colour of the skin."""
    skin = _around(pixels, mask)
    return blended(pixels, _colour(pixels, skin), skin.astype(np.float32)) if skin.any() else None


def skin_by_black(pixels: Pixels, mask: Mask, draws: np.random.Generator) -> Changed | None:
    """Fill everything but the lesion with black."""
    skin = _around(pixels, mask)
    return blended(pixels, (0, 0, 0), skin.astype(np.float32)) if skin.any() else None


def _around(pixels: Pixels, mask: Mask) -> Mask:
    """Where the skin is: outside of the lesion's mask and a margin."""
    return np.asarray(distance_to(mask) > MARGIN * unit(pixels), np.bool_)


def _without_lesion(pixels: Pixels, skin: Mask) -> Changed | None:
    """All but the skin in its median colour; ``None`` where there is too little of it."""
    if skin.mean() < LEAST_SKIN:
        return None
    return blended(pixels, _colour(pixels, skin), (~skin).astype(np.float32))


def _colour(pixels: Pixels, skin: Mask) -> Floats:
    """The median of the skin's colours, ``(3,)``: hairs and dark corners do not move it."""
    return np.asarray(np.median(pixels[skin], axis=0), np.float32)


def _continued(pixels: Pixels, skin: Mask) -> Floats:
    """Smooth colours everywhere, from the skin nearby: the finest blur that reaches it counts."""
    known = skin.astype(np.float32)
    shown = pixels.astype(np.float32) * known[..., None]
    result: Floats = np.broadcast_to(_colour(pixels, skin), pixels.shape).astype(np.float32)
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
