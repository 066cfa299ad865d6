"""What does each superpixel add to the score?"""

from dataclasses import dataclass
from typing import final

import numpy as np
import shap
import torch
from numpy.typing import NDArray
from torch import Tensor

from skinxai import Attribution, Explainer
from skinxai.errors import OptionError
from skinxai.explainers.baselines import baseline, check_baseline
from skinxai.explainers.superpixels import superpixels
from skinxai.memory import in_parts


@dataclass(frozen=True)
class PartitionSHAPOptions:
    """Options of SHAP.

    Args:
        budget: network passes for each image, about, >= 4.
        segments: superpixels, about, >= 2.
        baseline: what covers a superpixel, see `skinxai.explainers.baselines.baseline`.
    """

    budget: int = 500
    segments: int = 50
    baseline: str = "mean"

    def __post_init__(self) -> None:
        check_baseline(self.baseline)
        for name, least in (("budget", 4), ("segments", 2)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise OptionError(f"{name} must be an integer >= {least}, got {value!r}.")


@final
class PartitionSHAP(Explainer):
    """SHAP (Lundberg & Lee, NeurIPS 2017) of superpixels: Owen values of a tree of neighbours.

    The tree joins superpixels of like place; the shap package hands the score down it, most
    of the budget where most changes. The superpixels' values sum to the score of the image
    less that of the baseline; ``base_value`` is the latter, ``additivity_gap`` what is missed.
    """

    options_type = PartitionSHAPOptions

    @torch.no_grad()
    def attribute(
        self, images: Tensor, target: Tensor, *, options: PartitionSHAPOptions
    ) -> Attribution:
        """Maps ``(N, H, W)`` of the input's resolution, signed, and scores; see `Explainer`."""
        covers = baseline(images, options.baseline)
        each = zip(images, covers, target.tolist(), strict=True)
        found = [self._one(image, cover, position, options) for image, cover, position in each]
        maps, bases, gaps = zip(*found, strict=True)
        return Attribution(
            maps={"shap": torch.stack(maps)},
            scores={"base_value": torch.tensor(bases), "additivity_gap": torch.tensor(gaps)},
        )

    def _one(
        self, image: Tensor, cover: Tensor, target: int, options: PartitionSHAPOptions
    ) -> tuple[Tensor, float, float]:
        segments = superpixels(image.permute(1, 2, 0).cpu().numpy(), options.segments)
        place, count = torch.from_numpy(segments), int(segments.max()) + 1

        def scores(shown: NDArray[np.float64]) -> NDArray[np.float64]:
            """Of rows ``(B, S)`` that say which superpixels are shown."""
            rows = torch.from_numpy(np.asarray(shown) > 0.5)

            def part(some: slice) -> Tensor:
                masks = rows[some][:, place][:, None].to(image.device)
                return self.model(torch.where(masks, image, cover))[:, target]

            return in_parts(len(rows), part).double().cpu().numpy()

        draws = np.random.get_state()  # shap seeds it
        try:
            masker = shap.maskers.Partition(np.zeros((1, count)), clustering=neighbours(segments))
            explainer = shap.explainers.Partition(scores, masker)
            answer = explainer(np.ones((1, count)), max_evals=options.budget, silent=True)
        finally:
            np.random.set_state(draws)
        values = np.asarray(answer.values[0], np.float32)
        base = float(np.ravel(answer.base_values)[0])
        gap = float(values.sum() + base - scores(np.ones((1, count)))[0])
        return torch.from_numpy(values)[place], base, gap


def neighbours(segments: NDArray[np.int64]) -> NDArray[np.float64]:
    """Tree of superpixels by the distance of their centres, as SciPy's linkage matrix."""
    from scipy.cluster.hierarchy import linkage

    y, x = np.indices(segments.shape)
    counts = np.bincount(segments.ravel())
    centres = [np.bincount(segments.ravel(), axis.ravel()) / counts for axis in (y, x)]
    return linkage(np.stack(centres, axis=1), method="average")
