"""Measures of one heatmap: faithfulness, localisation and stability.

Compare each measure with its value for maps that do not depend on the image (`BLIND`):
photographers centre lesions, so a blob in the middle scores well.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai.errors import OptionError
from skinxai.numeric import whole_seed

Map = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the curves of deletion and insertion, each in the unit of the score.

    Args:
        deletion: mean score while the highest pixels are taken away first; low for a good map.
        insertion: mean score while the highest pixels are put back first; high for a good map.
    """

    deletion: float
    insertion: float


def deletion_and_insertion(
    score: Callable[[Tensor], Tensor],
    image: Tensor,
    cover: Tensor,
    heatmap: Map,
    *,
    steps: int = 20,
    seed: int = 0,
) -> Faithfulness:
    """Deletion and insertion (Petsiuk et al., "RISE", BMVC 2018, section 4.2).

    Args:
        score: function from images ``(B, 3, H, W)`` to scores ``(B,)``; usually the probability of
            the target.
        image: preprocessed image, ``(3, H, W)``.
        cover: image whose pixels replace deleted ones, ``(3, H, W)``.
        heatmap: ``(H, W)``, finite; pixels of the same value are taken in random order.
        steps: number of equal shares of the pixels, >= 1; the curve has one value more.
        seed: seed of the order of pixels of the same value.

    Raises:
        OptionError: if the heatmap has another size or is not finite, ``steps`` is less than 1,
            the seed is no integer from 0 to 2⁶³ − 1, or ``score`` returns more than one number for
            each image.
    """
    seed = whole_seed(seed)
    heatmap = _finite("heatmap", heatmap)
    size = (image.shape[1], image.shape[2])
    if heatmap.shape != size or steps < 1:
        raise OptionError(
            f"heatmap must be {size} and steps >= 1, got {heatmap.shape} and {steps}."
        )
    tie_break = np.random.default_rng(seed).random(heatmap.size)
    order = np.lexsort((tie_break, -heatmap.ravel()))  # highest first
    rank = np.empty(heatmap.size, np.int64)
    rank[order] = np.arange(heatmap.size)
    ranks = torch.from_numpy(rank.reshape(size)).to(image.device)
    counts = [round(step / steps * heatmap.size) for step in range(steps + 1)]
    tops = torch.stack([ranks < count for count in counts])[:, None]  # (steps + 1, 1, H, W)
    with torch.no_grad():
        deleted = _one_each(score, torch.where(tops, cover, image))
        between = deleted[:0]
        if steps > 1:
            between = _one_each(score, torch.where(tops[1:-1], image, cover))
    inserted = torch.cat([deleted[-1:], between, deleted[:1]])  # the ends are the same images
    return Faithfulness(_area(deleted), _area(inserted))


def _one_each(score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Scores ``(B,)``.

    Raises:
        OptionError: another shape, of whose numbers a mean would say nothing.
    """
    found = score(images)
    if found.shape != (len(images),):
        raise OptionError(
            f"score must return one number for each of {len(images)} images, {(len(images),)}, got "
            f"the shape {tuple(found.shape)}; choose the target's column, e.g. scores[:, k]."
        )
    return found


def _area(curve: Tensor) -> float:
    """Mean height of a curve over equal steps, by trapezoids."""
    values = curve.double().cpu().numpy()
    return float((values[:-1] + values[1:]).mean() / 2)


def pointing(heatmap: Map, mask: Mask) -> float:
    """Pointing game (Zhang et al., IJCV 2018): share of the highest pixels that are in the mask.

    Unlike in the paper, there is no tolerance of 15 pixels around the mask.

    Args:
        heatmap: ``(H, W)``, finite; usually one pixel is the highest.
        mask: bool ``(H, W)``, or 0 outside and one other value inside, e.g. 255.

    Raises:
        OptionError: a map that is not finite, or a mask of another shape or with other values.
    """
    heatmap = _finite("heatmap", heatmap)
    return float(_inside(mask, heatmap)[heatmap == heatmap.max()].mean())


def mass_inside(heatmap: Map, mask: Mask) -> float:
    """Share of the map's positive mass that is in the mask; NaN if the map has none.

    Args:
        heatmap: ``(H, W)``, finite.
        mask: as in `pointing`.

    Raises:
        OptionError: as in `pointing`.
    """
    heatmap = _finite("heatmap", heatmap)
    inside, positive = _inside(mask, heatmap), np.maximum(heatmap, 0)
    total = positive.sum()
    return float(positive[inside].sum() / total) if total > 0 else float("nan")


def rank_correlation(first: Map, second: Map) -> float:
    """Spearman's rank correlation of two maps; NaN where one is constant.

    Args:
        first: ``(H, W)``, finite.
        second: of the same shape, finite.

    Raises:
        OptionError: maps of different shapes, or one that is not finite.
    """
    from scipy.stats import rankdata

    first, second = _finite("first", first), _finite("second", second)
    if first.shape != second.shape:
        raise OptionError(
            f"second must have the shape of first, {first.shape}, got {second.shape}."
        )
    ranks = [rankdata(values.ravel()) for values in (first, second)]
    if any(np.ptp(each) == 0 for each in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _finite(name: str, values: Map) -> npt.NDArray[np.float64]:
    """A map as float64: unsigned numbers have no negatives, and half precision has no large sums.

    Raises:
        OptionError: a value that is not finite, which has no place in any order.
    """
    wide = np.asarray(values, np.float64)
    if not wide.size or not np.isfinite(wide).all():
        raise OptionError(f"{name} must have values, all of them finite, but it has not.")
    return wide


def _inside(mask: Mask, heatmap: Map) -> Mask:
    """Where a mask is not 0.

    Raises:
        OptionError: another shape than the map's, or more than one value beside 0.
    """
    values = np.asarray(mask)
    if values.shape != heatmap.shape:
        raise OptionError(
            f"mask must have the heatmap's shape {heatmap.shape}, got {values.shape}."
        )
    if values.dtype != bool and len(levels := np.unique(values[values != 0])) > 1:
        raise OptionError(
            f"mask must be bool, or have one value beside 0, got {len(levels)} such values; make "
            f"it bool, e.g. mask > 127."
        )
    inside: Mask = values != 0
    return inside


def uniform_map(size: tuple[int, int], seed: int) -> Map:
    """A map with the same value everywhere."""
    return np.ones(size, np.float32)


def random_map(size: tuple[int, int], seed: int) -> Map:
    """Smooth noise: random cells, 7 along the shorter side, enlarged to the image."""
    from skinxai.results.drawing import resize_map

    cell = min(size) / 7
    cells = (round(size[0] / cell), round(size[1] / cell))
    return resize_map(np.random.default_rng(whole_seed(seed)).random(cells, np.float32), size)


def centre_map(size: tuple[int, int], seed: int) -> Map:
    """A Gaussian in the middle; its standard deviation is a quarter of each side."""
    y = (np.arange(size[0]) + 0.5) / size[0] - 0.5
    x = (np.arange(size[1]) + 0.5) / size[1] - 0.5
    return np.exp(-8 * (y[:, None] ** 2 + x**2)).astype(np.float32)


BLIND: dict[str, Callable[[tuple[int, int], int], Map]] = {
    "uniform": uniform_map,
    "random": random_map,
    "centre": centre_map,
}
"""Maps that do not depend on the image: name → function of ``(H, W)`` and a seed."""
