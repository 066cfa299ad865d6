"""Passes of networks over a batch, what each gives, and what all of them say of one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig
from skinxai.results import Uncertainty

FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
"""Dimensions of ``(N, 3, h, w)`` that each view of an image reverses."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One network of a predictor.

    Args:
        preprocessing: of the evaluation transform.
        weight: its share of the mean.
        model: ``name@revision``.
    """

    preprocessing: PreprocessConfig
    weight: float
    model: str


M = TypeVar("M", bound=Member)


@dataclass(frozen=True)
class NetworkPass(Generic[M]):
    """One pass of one network over a batch.

    Args:
        member: the network.
        flip: dimensions of ``(N, 3, h, w)`` that are reversed before it.
        weight: the pass's share of the mean.
    """

    member: M
    flip: tuple[int, ...]
    weight: float


@dataclass(frozen=True)
class Outputs:
    """What one pass gives for a batch.

    Args:
        rows: probabilities ``(N, K)``, not calibrated; NaN where logits are not finite.
        embeddings: pooled features, float32 ``(N, D)``, where they were asked for.
    """

    rows: npt.NDArray[np.float64]
    embeddings: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Answer:
    """What all passes say of one image.

    Args:
        row: calibrated probabilities ``(K,)``; NaN where an output is not finite.
        uncertainty: by how much they disagree; ``None`` of a single pass.
        novelty: score, of a calibrated model.
        tta: whether four views were averaged.
        upright: calibrated probabilities ``(K,)`` of the view that is not flipped.
        embedding: of that view by the first network, float32 ``(D,)``, of a calibrated model.
    """

    row: npt.NDArray[np.float64]
    uncertainty: Uncertainty | None = None
    novelty: float | None = None
    tta: bool = False
    upright: npt.NDArray[np.float64] | None = None
    embedding: npt.NDArray[np.float32] | None = None


def embeddings_of(
    passes: Sequence[NetworkPass[Any]], found: Sequence[Outputs]
) -> list[npt.NDArray[np.float32]]:
    """Of the members' views that are not flipped."""
    own = [out.embeddings for out, each in zip(found, passes, strict=True) if not each.flip]
    return [each for each in own if each is not None]
