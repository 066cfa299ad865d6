"""Attributions from the scores of perturbed images: they need no gradient and no layer."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from skinxai.errors import OptionError
from skinxai.explainers.base import Attribution, Explainer
from skinxai.explainers.baselines import baseline, check_baseline
from skinxai.explainers.rules import check_budget, check_seed, check_share
from skinxai.explainers.superpixels import superpixels
from skinxai.memory import in_parts
from skinxai.numeric import whole


@dataclass(frozen=True)
class OcclusionOptions:
    """Options of occlusion.

    Args:
        budget: most windows, and network passes beside that of the whole image; the stride is
            the finest that keeps to it.
        window: side of the covered square, a share of the image's shorter side, > 0 and < 1.
        baseline: what covers it, see `skinxai.explainers.baselines.baseline`.
    """

    budget: int = 200
    window: float = 0.2
    baseline: str = "mean"

    def __post_init__(self) -> None:
        check_budget(self.budget)
        check_share("window", self.window)
        check_baseline(self.baseline)


@final
class Occlusion(Explainer):
    """Occlusion (Zeiler & Fergus, ECCV 2014, section 4.2): how much the score falls.

    A square window covers one place after the other, those at the border moved inwards to lie in
    the image. A pixel's value is the mean fall of the score over the windows that cover it.
    """

    options_type = OcclusionOptions

    @torch.inference_mode()
    def attribute(
        self, images: Tensor, target: Tensor, *, options: OcclusionOptions
    ) -> Attribution:
        """Maps ``(N, H, W)`` of the input's resolution, signed; see `Explainer`."""
        covers = baseline(images, options.baseline)
        each = zip(images, covers, target.tolist(), strict=True)
        maps = torch.stack([self._one(image, cover, k, options) for image, cover, k in each])
        return Attribution(maps={"occlusion": maps})

    def _one(self, image: Tensor, cover: Tensor, target: int, options: OcclusionOptions) -> Tensor:
        size = (image.shape[1], image.shape[2])
        side = max(1, round(options.window * min(size)))
        windows = [
            (slice(y, y + side), slice(x, x + side))
            for y, x in window_corners(size, side, options.budget)
        ]

        def scores(part: slice) -> Tensor:
            batch = image.repeat(part.stop - part.start, 1, 1, 1)
            for row, (rows, columns) in zip(batch, windows[part], strict=True):
                row[:, rows, columns] = cover[:, rows, columns]
            return self.model(batch)[:, target]

        falls = self.model(image[None])[0, target] - in_parts(len(windows), scores)
        total, count = (torch.zeros(size, device="cpu") for _ in range(2))
        for (rows, columns), fall in zip(windows, falls.cpu(), strict=True):
            total[rows, columns] += fall
            count[rows, columns] += 1
        return total / count


def window_corners(size: tuple[int, int], side: int, budget: int) -> list[tuple[int, int]]:
    """Upper left corners of square windows that cover an image, at most ``budget`` of them.

    Args:
        size: ``(H, W)`` of the image, in pixels.
        side: of the windows, in pixels.
        budget: of windows.

    Raises:
        OptionError: windows side by side are more than the budget.
    """
    for stride in range(1, side + 1):
        rows, columns = (
            [min(k * stride, length - side) for k in range(math.ceil((length - side) / stride) + 1)]
            for length in size
        )
        if len(rows) * len(columns) <= budget:
            return [(y, x) for y in rows for x in columns]
    raise OptionError(
        f"budget must be >= {len(rows) * len(columns)} for windows of {side} pixels side by side "
        f"in an image of {size[0]} x {size[1]}, got {budget}",
        python="raise it, or the window",
        command=f"give --budget {len(rows) * len(columns)}",
    )


@dataclass(frozen=True)
class RISEOptions:
    """Options of RISE.

    Args:
        budget: random masks, and network passes for each image, >= 1.
        cells: of the mask's grid along the image's shorter side, >= 2.
        kept: share of the cells that are kept, > 0 and < 1.
        baseline: what covers the others, see `skinxai.explainers.baselines.baseline`.
        seed: of the masks.
    """

    budget: int = 1000
    cells: int = 7
    kept: float = 0.5
    baseline: str = "zero"
    seed: int = 0

    def __post_init__(self) -> None:
        check_budget(self.budget)
        check_share("kept", self.kept)
        check_baseline(self.baseline)
        check_seed(self.seed)
        whole("cells", self.cells, 2)


@final
class RISE(Explainer):
    """RISE (Petsiuk et al., BMVC 2018, equations 4 to 7): scores of randomly masked images.

    A pixel's value is the mean score of the masked images, weighted with how far each mask keeps
    the pixel. The paper divides by how far masks keep it on average; here it is by how far these
    masks do, which has the same limit and less noise. Masks are coarse grids of square cells,
    enlarged and shifted at random.
    """

    options_type = RISEOptions

    @torch.inference_mode()
    def attribute(self, images: Tensor, target: Tensor, *, options: RISEOptions) -> Attribution:
        """Maps ``(N, H, W)`` of the input's resolution, signed as the score; see `Explainer`."""
        covers = baseline(images, options.baseline)
        each = zip(images, covers, target.tolist(), strict=True)
        maps = torch.stack([self._one(image, cover, k, options) for image, cover, k in each])
        return Attribution(maps={"rise": maps})

    def _one(self, image: Tensor, cover: Tensor, target: int, options: RISEOptions) -> Tensor:
        size = (image.shape[1], image.shape[2])

        def masks(part: slice) -> Tensor:
            numbers = range(part.start, part.stop)
            return torch.stack([rise_mask(size, options, k) for k in numbers]).to(image.device)

        def scores(part: slice) -> Tensor:
            return self.model(cover + masks(part) * (image - cover))[:, target]

        found = in_parts(options.budget, scores)
        total, kept = (torch.zeros(size, device="cpu") for _ in range(2))
        for number, score in enumerate(found.cpu()):
            mask = rise_mask(size, options, number)[0]
            total += score * mask
            kept += mask
        return total / kept.clamp_min(torch.finfo(kept.dtype).tiny)


def rise_mask(size: tuple[int, int], options: RISEOptions, number: int) -> Tensor:
    """Mask ``(1, H, W)`` in 0–1 of one number; the same for all images."""
    draws = torch.Generator().manual_seed(options.seed * 1_000_003 + number)
    cell = math.ceil(min(size) / options.cells)
    rows, columns = (math.ceil(length / cell) for length in size)
    shape = (1, 1, rows + 1, columns + 1)
    drawn = torch.rand(shape, generator=draws, dtype=torch.float32, device="cpu")
    grid = (drawn < options.kept).float()
    large = functional.interpolate(
        grid, ((rows + 1) * cell, (columns + 1) * cell), mode="bilinear", align_corners=False
    )
    y, x = (int(torch.randint(0, cell, (), generator=draws, device="cpu")) for _ in range(2))
    return large[0, :, y : y + size[0], x : x + size[1]]


@dataclass(frozen=True)
class LIMEOptions:
    """Options of LIME.

    Args:
        budget: perturbed images, and network passes for each image, >= 2.
        segments: superpixels, about, >= 2.
        baseline: what covers a superpixel, see `skinxai.explainers.baselines.baseline`.
        width: of the kernel over cosine distances, > 0 and < 1.
        ridge: penalty of the linear model, >= 0 and finite.
        seed: of the perturbations.
    """

    budget: int = 500
    segments: int = 60
    baseline: str = "mean"
    width: float = 0.25
    ridge: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_budget(self.budget, least=2)
        check_baseline(self.baseline)
        check_share("width", self.width)
        check_seed(self.seed)
        whole("segments", self.segments, 2)
        if not (isinstance(self.ridge, Real) and 0 <= self.ridge < math.inf):
            raise OptionError(f"ridge must be >= 0 and finite, got {self.ridge!r}.")


@final
class LIME(Explainer):
    """LIME for images (Ribeiro et al., KDD 2016, algorithm 1): a linear model of superpixels.

    Each perturbed image shows a random half of the superpixels. A ridge regression on which were
    shown, weighted with exp(−d² / width²) of the cosine distance d to the whole image, gives each
    superpixel its coefficient: the map. All superpixels stay in the model; the paper keeps K. The
    score ``r_squared`` is the weighted coefficient of determination of that model: where it is
    low, the map says little.
    """

    options_type = LIMEOptions

    @torch.inference_mode()
    def attribute(self, images: Tensor, target: Tensor, *, options: LIMEOptions) -> Attribution:
        """Maps ``(N, H, W)`` of the input's resolution, signed; see `Explainer`."""
        covers = baseline(images, options.baseline)
        each = zip(images, covers, target.tolist(), strict=True)
        found = [self._one(image, cover, k, options) for image, cover, k in each]
        return Attribution(
            maps={"lime": torch.stack([coefficients for coefficients, _ in found])},
            scores={"r_squared": torch.tensor([fit for _, fit in found], device="cpu")},
        )

    def _one(
        self, image: Tensor, cover: Tensor, target: int, options: LIMEOptions
    ) -> tuple[Tensor, float]:
        pixels = image.permute(1, 2, 0).cpu().numpy()
        segments = torch.from_numpy(superpixels(pixels, options.segments))  # (H, W)
        shown = _shown(int(segments.max()) + 1, options)  # (B, S)

        def scores(part: slice) -> Tensor:
            masks = shown[part][:, segments][:, None].to(image.device)  # (b, 1, H, W)
            return self.model(torch.where(masks, image, cover))[:, target]

        found = in_parts(options.budget, scores)
        coefficients, fit = _weighted_ridge(shown.numpy(), found.cpu().numpy(), options)
        return torch.from_numpy(coefficients)[segments], fit


def _shown(segments: int, options: LIMEOptions) -> Tensor:
    """Which superpixels each perturbed image shows, bool ``(budget, S)``; the first shows all."""
    draws = torch.Generator().manual_seed(options.seed)
    shape = (options.budget, segments)
    shown = torch.rand(shape, generator=draws, dtype=torch.float32, device="cpu") < 0.5
    shown[0] = True
    return shown


def _weighted_ridge(
    shown: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32], options: LIMEOptions
) -> tuple[npt.NDArray[np.float32], float]:
    """Coefficients ``(S,)`` float32 and the weighted R²."""
    from sklearn.linear_model import Ridge

    cosine = np.sqrt(shown.mean(axis=1))  # between a 0-1 vector and the vector of ones
    weights = np.exp(-((1 - cosine) ** 2) / options.width**2)
    model = Ridge(alpha=options.ridge).fit(shown, scores, sample_weight=weights)
    fit = float(model.score(shown, scores, sample_weight=weights))
    return model.coef_.astype(np.float32), fit
