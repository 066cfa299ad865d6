"""`Observation`: what a monitor sees of each image that was answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Observation:
    """What a monitor sees of one image that was answered.

    The probabilities are those of one view, also where test-time augmentation made the answer:
    numbers of one view and of four are not comparable.

    Args:
        model: ``name@revision``.
        probabilities: calibrated, of one view, float64 ``(K,)``, in the order of the labels.
        embedding: pooled features, float32 ``(D,)``, of an ensemble the first member's; ``None``
            of a model that was not calibrated.
        quality: measures of the image's quality, of `skinxai.trust.quality.MEASURES`; empty of a
            model that was not calibrated.
        colours: of `skinxai.trust.colours.colours`, float32 ``(12,)``, or ``None``.
        novelty: score, 0 to below 1, or ``None``.
        decision: as in `Prediction`.
        weights: digest of the weights that answered, 64 hexadecimal digits; ``None`` where it is
            not known, and of a model that was not calibrated.
    """

    model: str
    probabilities: npt.NDArray[np.float64]
    embedding: npt.NDArray[np.float32] | None
    quality: Mapping[str, float]
    colours: npt.NDArray[np.float32] | None
    novelty: float | None
    decision: str | None
    weights: str | None = None


class Monitor(Protocol):
    """What `Classifier.predict` tells of each image that it answers, in order."""

    def add(self, observation: Observation) -> None:
        """Take note of one image; an error ends the call of `predict`."""


class Observations(list[Observation]):
    """A monitor that keeps what it is told."""

    add = list.append
