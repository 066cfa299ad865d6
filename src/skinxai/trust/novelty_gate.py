"""`NoveltyGate`: the images that a model knows, and the distance at which one is refused.

A model folder keeps the references of its networks in ``novelty.safetensors``, and the limit in
``calibration.json``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import CalibrationError, ModelConfigError
from skinxai.results.probabilities import weighted_mean
from skinxai.trust.gaussians import LARGEST, Doubles, Floats
from skinxai.trust.novelty import Reference, held_out_distances, limit_for, novelty, to_bytes

REJECTED = 0.015
"""Share of images of the right kind that may be refused."""


@dataclass(frozen=True, eq=False)
class NoveltyGate:
    """The images that a model knows, and the distance at which one is refused.

    The distance of an image is the weighted mean of the members' distances.

    Args:
        references: of each network, in the order of the members.
        limit: the distance above which an image is refused, > 0.
        rejected: the share of images of the right kind that the limit was fitted to refuse.
    """

    references: tuple[Reference, ...]
    limit: float
    rejected: float

    def __post_init__(self) -> None:
        for name, most in (("limit", math.inf), ("rejected", 1.0)):
            value = getattr(self, name)
            if type(value) is not float or not 0 < value < most:
                raise ModelConfigError(
                    f"{name} of novelty must be a number above 0 and below {most:g}, got "
                    f"{value!r:.40}."
                )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoveltyGate) and self._plain() == other._plain()

    def __hash__(self) -> int:
        return hash(self._plain())

    def _plain(self) -> tuple[bytes, float, float]:
        return to_bytes(self.references), self.limit, self.rejected

    @classmethod
    def fit(
        cls, embeddings: Sequence[Floats], colours: Floats, labels: npt.ArrayLike,
        lesions: Sequence[str], weights: Sequence[float], rejected: float = REJECTED,
    ) -> Self:  # fmt: skip
        """The gate of `fit_held_out`."""
        return cls.fit_held_out(embeddings, colours, labels, lesions, weights, rejected)[0]

    @classmethod
    def fit_held_out(
        cls, embeddings: Sequence[Floats], colours: Floats, labels: npt.ArrayLike,
        lesions: Sequence[str], weights: Sequence[float], rejected: float = REJECTED,
    ) -> tuple[Self, Doubles]:  # fmt: skip
        """Of labelled images that the networks did not learn from, with their own scores.

        The scores are those of `held_out_distances`: an image that a reference was fitted on has
        a smaller one than a new image of the same kind.

        Fewer images than ``1 / rejected - 1`` cannot show so small a share: then the limit is the
        largest distance of one of them.

        Raises:
            CalibrationError: images of one lesion.
        """
        if len(set(lesions)) < 2:
            raise CalibrationError(
                "a limit of novelty needs images of at least two lesions, got one; give more."
            )
        own = [held_out_distances(each, labels, lesions, colours) for each in embeddings]
        share = max(rejected, 1 / (len(lesions) + 1))
        distances = weighted_mean(weights, own)
        limit = limit_for(distances, share)
        references = tuple(Reference.fit(each, labels, colours) for each in embeddings)
        return cls(references, limit, float(share)), novelty(distances, limit)

    def scores(
        self, embeddings: Sequence[Floats], colours: Floats, weights: Sequence[float]
    ) -> Doubles:
        """Novelty of each image, ``(N,)``; NaN where an embedding is not finite."""
        usable = np.ones(len(colours), bool)
        for each in embeddings:
            usable &= (np.abs(each) < LARGEST).all(axis=1)
        found = np.full(len(colours), np.nan)
        if usable.any():
            pairs = zip(self.references, embeddings, strict=True)
            own = [known.distance(each[usable], colours[usable]) for known, each in pairs]
            found[usable] = novelty(weighted_mean(weights, own), self.limit)
        return found
