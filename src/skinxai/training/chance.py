"""The parameters of many images' augmentation, each drawn from the image's own seed alone."""

import math
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.training.recipes import FLIP, HUE, JITTER, RATIO, Damage, Recipe

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
BRIGHTNESS, CONTRAST, SATURATION, SHIFT = range(4)
"""The changes of colour, as `Draws.order` has them."""
BLUR, COMPRESSION, FEWER_PIXELS, NOISE = range(4)
"""The kinds of damage, as `Draws.damage` has them; −1 is none."""
TRIES = 10
"""Crops that are drawn before the largest one in the middle is taken."""
ALIASING = 1.25
"""Source pixels in a pixel of the result up to which one sample of the source is enough."""
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_STREAM = 1
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counters: npt.NDArray[np.uint64], keys: npt.NDArray[np.uint64]) -> Any:
    """Random 32-bit words of counters ``(4, …)`` and keys ``(2, …)``: Philox4x32 with 10 rounds.

    All are uint64 below 2³², and broadcast against each other. Salmon et al., "Parallel random
    numbers: as easy as 1, 2, 3", SC 2011.
    """
    c0, c1, c2, c3 = counters
    k0, k1 = keys
    for _ in range(10):
        one, other = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (other >> _HALF) ^ c1 ^ k0, other & _LOW, (one >> _HALF) ^ c3 ^ k1, one & _LOW,
        )  # fmt: skip
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3))


def uniform(seeds: npt.NDArray[np.uint64], count: int) -> Floats:
    """Numbers between 0 and 1, ``(N, count)``: row i depends on seed i, 0 to 2³² − 1, alone."""
    blocks = -(-count // 4)
    counters = np.zeros((4, 1, blocks), np.uint64)
    counters[0, 0] = np.arange(blocks)
    keys = np.stack([seeds, np.full_like(seeds, _STREAM)])[:, :, None]
    words = philox(counters, keys)  # (4, N, blocks)
    numbers = (words.astype(np.float64) + 0.5) / 2**32
    rows: Floats = np.moveaxis(numbers, 0, -1).reshape(len(seeds), 4 * blocks)[:, :count]
    return rows


@dataclass(frozen=True)
class Draws:
    """What happens to each of N images.

    Args:
        matrix: float32 ``(N, 2, 3)``: from column, row, 1 of a pixel of the result to the place
            in the source that it shows, −1 to 1 from the middle of the first pixel to that of the
            last, as ``torch.nn.functional.grid_sample`` has it with ``align_corners=True``.
        finer: samples of the source in a pixel of the result, along each axis, ``(N,)``.
        factors: float32 ``(N, 4)``: factors of brightness, contrast and saturation, and the shift
            of the hue in turns.
        order: ``(N, 4)``: which change of colour comes first, second, third and last; −1: none.
        damage: kind of damage, ``(N,)``; −1: none.
        kernel: float32 ``(N, 5)``: Gaussian kernel of a blur.
        quality: quality of a compression, ``(N,)``.
        scale: share of rows and columns that is left, ``(N,)``, of damage to the resolution.
        boxes: ``(N, 2, 4)``: first row, row behind the last, first column, column behind the
            last of each box that is left out; all 0: none.
        neutral: whether the lighting is made neutral, ``(N,)``.
        noise: standard deviation of the noise, of 255, and its seed, ``(N, 2)``.
    """

    matrix: npt.NDArray[np.float32]
    finer: Integers
    factors: npt.NDArray[np.float32]
    order: Integers
    damage: Integers
    kernel: npt.NDArray[np.float32]
    quality: Integers
    scale: Floats
    boxes: Integers
    neutral: npt.NDArray[np.bool_]
    noise: Floats

    def __len__(self) -> int:
        return len(self.finer)

    def part(self, where: slice | npt.NDArray[Any]) -> Self:
        """The draws of some of the images."""
        return type(self)(*(getattr(self, field.name)[where] for field in fields(self)))


def draw(
    recipe: Recipe, seeds: npt.ArrayLike, source: tuple[int, int], size: tuple[int, int], *,
    colour_constancy: float = 0.0,
) -> Draws:  # fmt: skip
    """Draw what `recipe` does to each image; it takes some microseconds an image.

    The images of size ``source`` become ``size``, both ``(height, width)``; the lighting of the
    share ``colour_constancy`` of them is made neutral.
    """
    columns = iter(uniform(np.asarray(seeds, np.uint64), 64).T)

    def happens(probability: float) -> Any:
        return next(columns) < probability

    def between(low: float, high: float) -> Any:
        return low + (high - low) * next(columns)

    def whole(low: int, high: int) -> Any:
        return np.floor(between(low, high + 1)).astype(np.int64)

    neutral = happens(colour_constancy)
    turns = np.where(happens(FLIP), whole(0, 3), 0)
    mirrored = [happens(FLIP), happens(FLIP)]
    turned = happens(recipe.turned)
    angle, *shears = (
        np.where(turned, between(-most, most), 0.0)
        for most in (recipe.angle, recipe.shear, recipe.shear)
    )
    height, width = (np.where(turns % 2, *sides) for sides in (source[::-1], source))
    crop = _crops(recipe, height, width, size[1] / size[0], [next(columns) for _ in range(22)])
    to_source = (
        _from_turned(turns, *source) @ _from_mirrored(mirrored, height, width)
        @ _from_affine(angle, shears, height, width) @ _from_crop(*crop, *size)
    )  # fmt: skip
    across = np.linalg.norm(to_source[:, :2, :2], axis=1).max(axis=1)  # source pixels in one
    strength, jittered = recipe.strength, happens(JITTER)
    factors = [between(1 - strength, 1 + strength) for _ in range(3)]
    factors.append(between(-strength * HUE, strength * HUE))
    order = np.argsort([next(columns) for _ in range(4)], axis=0, kind="stable")
    damage = recipe.damage or Damage(probability=0.0, boxes=0.0)
    kind = np.where(happens(damage.probability), whole(0, 3), -1)
    kernel = _kernels(between(*damage.sigma), whole(*damage.kernel))
    quality, scale = whole(*damage.quality), between(*damage.scale)
    number = np.where(happens(damage.boxes), whole(*damage.count), 0)
    boxes = []
    for place in range(damage.count[1]):
        box = _box(size, [between(*damage.side) for _ in "hw"], [next(columns) for _ in "hw"])
        boxes.append(np.where(number[:, None] > place, box, 0))
    noise = np.stack([between(*damage.noise), np.asarray(seeds, np.float64)], axis=1)
    return Draws(
        _normalised(to_source, *source)[:, :2].astype(np.float32),
        np.maximum(1, np.ceil(across / ALIASING - 1e-9)).astype(np.int64),
        np.stack(factors, axis=1).astype(np.float32),
        np.where(jittered[:, None], order.T, -1), kind, kernel.astype(np.float32), quality, scale,
        np.stack(boxes, axis=1), neutral, noise,
    )  # fmt: skip


def _crops(
    recipe: Recipe, height: Integers, width: Integers, aspect: float, columns: list[Floats]
) -> tuple[Integers, Integers, Integers, Integers]:
    """Top, left, height and width of a part of each image, as `RandomResizedCrop` draws it.

    If none of `TRIES` fits into the image, it is the largest part in the middle whose aspect ratio
    is allowed.
    """
    low, high = RATIO * aspect, aspect / RATIO
    area = height * width * (recipe.area + (1 - recipe.area) * np.stack(columns[:TRIES]))
    logs = math.log(low) + (math.log(high) - math.log(low)) * np.stack(columns[TRIES : 2 * TRIES])
    wide, high_ = np.rint(np.sqrt(area * np.exp(logs))), np.rint(np.sqrt(area / np.exp(logs)))
    fits = (wide > 0) & (wide <= width) & (high_ > 0) & (high_ <= height)  # (tries, N)
    first, every = fits.argmax(axis=0), np.arange(len(height))
    middle_wide = np.where(width / height > high, np.rint(height * high), width)
    middle_high = np.where(width / height < low, np.rint(width / low), height)
    found = fits.any(axis=0)
    wide = np.where(found, wide[first, every], middle_wide).astype(np.int64)
    tall = np.where(found, high_[first, every], middle_high).astype(np.int64)
    down, across = columns[2 * TRIES :]
    top = np.where(found, np.floor((height - tall + 1) * down), (height - tall) // 2)
    left = np.where(found, np.floor((width - wide + 1) * across), (width - wide) // 2)
    return top.astype(np.int64), left.astype(np.int64), tall, wide


def _matrices(*rows: Any) -> Floats:
    """``(N, 3, 3)`` of two rows of three values, ``(N,)`` each, and the row 0, 0, 1."""
    values = np.broadcast_arrays(*rows[0], *rows[1], 0.0, 0.0, 1.0)
    return np.stack(values, axis=-1).astype(np.float64).reshape(-1, 3, 3)


def _from_crop(top: Any, left: Any, tall: Any, wide: Any, height: int, width: int) -> Floats:
    """From a pixel of the result to the image that the part is cut from."""
    across, down = wide / width, tall / height
    return _matrices((across, 0.0, left + across / 2 - 0.5), (0.0, down, top + down / 2 - 0.5))


def _from_affine(angle: Any, shears: Any, height: Any, width: Any) -> Floats:
    """From the sheared and rotated image to the one before, about its middle."""
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    one, other = (np.tan(np.deg2rad(shear)) for shear in shears)
    middle = _matrices((1.0, 0.0, width / 2 - 0.5), (0.0, 1.0, height / 2 - 0.5))
    turned = _matrices((cos, sin, 0.0), (-sin, cos, 0.0))
    sheared = _matrices((1.0, one, 0.0), (other, 1.0, 0.0))
    back: Floats = middle @ np.linalg.inv(sheared @ turned) @ np.linalg.inv(middle)
    return back


def _from_mirrored(mirrored: Any, height: Any, width: Any) -> Floats:
    across, down = mirrored
    x, y = np.where(across, -1.0, 1.0), np.where(down, -1.0, 1.0)
    return _matrices(
        (x, 0.0, np.where(across, width - 1, 0)), (0.0, y, np.where(down, height - 1, 0))
    )


def _from_turned(turns: Any, height: int, width: int) -> Floats:
    """From the image that was turned anticlockwise by so many right angles to the source."""
    cos, sin = np.array([1, 0, -1, 0])[turns], np.array([0, 1, 0, -1])[turns]
    right = np.array([0, width - 1, width - 1, 0])[turns]
    below = np.array([0, 0, height - 1, height - 1])[turns]
    return _matrices((cos, -sin, right), (sin, cos, below))


def _normalised(to_source: Floats, height: int, width: int) -> Floats:
    x, y = 2 / max(1, width - 1), 2 / max(1, height - 1)
    found: Floats = np.array([[x, 0, -1], [0, y, -1], [0, 0, 1]]) @ to_source
    return found


def _kernels(sigma: Floats, side: Integers) -> Floats:
    """Gaussian kernels ``(N, 5)`` of side 3 or 5."""
    places = np.arange(-2, 3)
    weights = np.exp(-0.5 * (places / sigma[:, None]) ** 2) * (abs(places) <= side[:, None] // 2)
    kernels: Floats = weights / weights.sum(axis=1, keepdims=True)
    return kernels


def _box(size: tuple[int, int], shares: list[Floats], places: list[Floats]) -> Integers:
    edges = []
    for side, share, place in zip(size, shares, places, strict=True):
        length = np.floor(side * share)
        start = np.floor((side - length + 1) * place)
        edges += [start, start + length]
    return np.stack(edges, axis=1).astype(np.int64)
