"""How much several answers to one image disagree: entropies in nats, and the variation ratio."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.errors import InputRangeError, InputShapeError
from skinxai.results import Uncertainty
from skinxai.trust.probability_rows import Floats, probability_rows


@dataclass(frozen=True)
class Uncertainties:
    """Uncertainty of each image, from the probabilities of several passes or members.

    ``total = aleatoric + epistemic`` within rounding (Depeweg et al., ICML 2018; Gal, 2016). The
    names are those of the field. They are exact for passes drawn from a Bayesian posterior; of
    members, dropout or flipped views, ``epistemic`` is how much these disagree, and nothing else.
    All members may be wrong in the same way: a picture of another kind can have a low value.

    Args:
        total: entropy of the mean probabilities, ``(N,)``, nats, 0 to ln K.
        aleatoric: mean entropy of the passes, ``(N,)``, nats, 0 to ln K.
        epistemic: mutual information of pass and class, ``(N,)``, nats, 0 to ln K.
        variation_ratio: weight of the passes whose top class is not the one that most weight
            votes for, ``(N,)``, 0 to below 1.
        passes: how many. One pass cannot disagree with itself: ``epistemic`` and
            ``variation_ratio`` are 0 then, which says nothing about the image.
    """

    total: Floats
    aleatoric: Floats
    epistemic: Floats
    variation_ratio: Floats
    passes: int


def entropy(probabilities: npt.ArrayLike) -> Floats:
    """``−Σ p ln p`` over the last axis, in nats, with ``0 ln 0 = 0``.

    Args:
        probabilities: ``(..., K)``, each in [0, 1].

    Returns:
        ``(...)``, 0 to ln K.
    """
    values = np.asarray(probabilities, np.float64)
    logs = np.log(values, out=np.zeros_like(values), where=values > 0)
    return np.asarray(np.maximum(-(values * logs).sum(axis=-1), 0.0), np.float64)


def uncertainty(
    probabilities: npt.ArrayLike, weights: Sequence[float] | None = None
) -> Uncertainties:
    """Split the uncertainty of each image by what the passes agree and disagree on.

    Args:
        probabilities: ``(P, N, K)``, of P passes or members, each row a distribution.
        weights: P numbers ≥ 0 with a sum > 0, such as an ensemble's; they are divided by their
            sum. ``None`` weighs all alike.

    Raises:
        InputShapeError: an array of another shape, or weights of another number.
        InputRangeError: rows that are not finite or no distributions, or weights that are no
            weights.
    """
    passes = probability_rows(probabilities, ndim=3, name="probabilities of passes")
    shares = _shares(weights, len(passes))
    total = entropy(np.einsum("p,pnk->nk", shares, passes))
    aleatoric = np.minimum(shares @ entropy(passes), total)  # Jensen: never above, but by rounding
    votes = np.zeros(passes.shape[1:])
    for share, top in zip(shares, passes.argmax(axis=2), strict=True):
        votes[np.arange(len(top)), top] += share
    return Uncertainties(
        total=total,
        aleatoric=aleatoric,
        epistemic=total - aleatoric,
        variation_ratio=np.clip(1 - votes.max(axis=1), 0.0, 1.0),
        passes=len(passes),
    )


def of_passes(probabilities: npt.ArrayLike, weights: Sequence[float], by: str) -> Uncertainty:
    """Of one image."""
    found = uncertainty(np.asarray(probabilities)[:, None], weights)
    return Uncertainty(
        total=float(found.total[0]), aleatoric=float(found.aleatoric[0]),
        epistemic=float(found.epistemic[0]), variation_ratio=float(found.variation_ratio[0]),
        passes=found.passes, by=by,
    )  # fmt: skip


def _shares(weights: Sequence[float] | None, passes: int) -> Floats:
    if weights is None:
        return np.full(passes, 1 / passes)
    given = np.asarray(weights, np.float64)
    if given.shape != (passes,):
        raise InputShapeError(
            f"weights must be one number for each of {passes} passes, got the shape {given.shape}."
        )
    if not (np.isfinite(given) & (given >= 0)).all() or not given.sum() > 0:
        raise InputRangeError(
            f"weights must be finite, >= 0 and have a sum > 0, got {given[:8].tolist()}."
        )
    return np.asarray(given / given.sum(), np.float64)
