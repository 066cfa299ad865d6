"""Strokes of a surgical skin marker beside the lesion."""

import cv2
import numpy as np
import numpy.typing as npt

from skinxai.artefacts.changed import (
    Changed,
    Floats,
    Mask,
    Pixels,
    blended,
    distance_to,
    noise,
    smoothed,
    unit,
)

GENTIAN = (0.40, 0.27, 0.72)
"""What the dye lets through of red, green and blue."""
GAP = 0.03
"""Least distance to the lesion, of the shorter side."""
LEAST = 0.002
"""Share of the image that must be inked."""
ANGLES = 180


def ink(
    pixels: Pixels, mask: Mask, draws: np.random.Generator, *, strokes: int, opacity: float
) -> Changed | None:
    """Draw violet strokes around the lesion, none of them on it; ``None`` where there is no room.

    The opacity, 0–1, is that of the dye where it is thickest.
    """
    side = unit(pixels)
    thickness = draws.uniform(0.035, 0.05) * side
    path = _path(mask, GAP * side + thickness, draws)  # (ANGLES, 2), x and y
    height, width = mask.shape
    inside = ((path >= 0) & (path < (width, height))).all(axis=1)
    covered = np.zeros(mask.shape, np.float32)
    length = ANGLES // 6
    shares = np.array([np.take(inside, range(k, k + length), mode="wrap").mean()
                       for k in range(ANGLES)])  # fmt: skip
    first = int(draws.choice(np.nonzero(shares >= min(0.6, shares.max()))[0]))
    for number in range(strokes):
        start = first + round(number * ANGLES / strokes)
        steps = np.arange(start, start + round(length * draws.uniform(0.75, 1.1)))
        covered = np.maximum(covered, _stroke(np.take(path, steps, 0, mode="wrap"), covered.shape,
                                              thickness, draws))  # fmt: skip
    grain = 0.78 + 0.2 * noise(mask.shape, max(0.7, side / 300), draws)
    grain += 0.12 * noise(mask.shape, side / 30, draws)
    alpha = np.asarray(opacity * covered * grain.clip(0.12, 1), np.float32)
    alpha[distance_to(mask) < GAP * side] = 0
    if (alpha > 0.2).mean() < LEAST:
        return None
    return blended(pixels, pixels * np.array(GENTIAN, np.float32), alpha)


def _path(mask: Mask, gap: float, draws: np.random.Generator) -> npt.NDArray[np.float64]:
    """A closed curve around the lesion, as somebody draws it by hand."""
    y, x = np.nonzero(mask)
    centre = np.array([x.mean(), y.mean()])
    turns = np.arctan2(y - centre[1], x - centre[0])
    places = ((turns + np.pi) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    reach = np.zeros(ANGLES)
    np.maximum.at(reach, places, np.hypot(x - centre[0], y - centre[1]))
    near = np.arange(-20, 21)
    widest = np.stack([np.roll(reach, k) for k in near]).max(axis=0)
    weights = np.hanning(len(near) + 2)[1:-1]
    smooth = sum(w * np.roll(widest, k) for w, k in zip(weights, near, strict=True)) / weights.sum()
    angles = (np.arange(ANGLES) + 0.5) / ANGLES * 2 * np.pi - np.pi
    wobble = 0.15 * gap * np.sin(2 * angles + draws.uniform(0, 6.3))
    radius = np.maximum(smooth, reach) + gap + wobble
    return np.asarray(
        centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1), np.float64
    )


def _stroke(
    points: npt.NDArray[np.float64], size: tuple[int, ...], thickness: float,
    draws: np.random.Generator,
) -> Floats:  # fmt: skip
    """Where a pen went, 0–1: narrower at its ends."""
    canvas = np.zeros(size, np.uint8)
    pressure = np.clip(np.sin(np.linspace(0.25, np.pi - 0.25, len(points))) * 1.2, 0.5, 1)
    widths = thickness * pressure * draws.uniform(0.9, 1.1, len(points))
    for start, end, wide in zip(points, points[1:], widths, strict=False):
        one, other = ([round(float(v) * 16) for v in each] for each in (start, end))
        cv2.line(canvas, one, other, 255, max(1, round(wide)), cv2.LINE_AA, 4)
    return smoothed(canvas, max(0.6, thickness / 10)) / 255
