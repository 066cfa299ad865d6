"""Nearest neighbours on frozen features, with votes that are weighted by their similarity."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NEIGHBOURS = (1, 5, 10, 20, 50, 100, 200)
"""Candidates of k."""
TEMPERATURE = 0.07
PART = 256
"""Images that are compared with all others at once."""


def vote(
    known: npt.NDArray[np.float32], target: npt.NDArray[np.int64], asked: npt.NDArray[np.float32],
    classes: int, counts: Sequence[int],
) -> Mapping[int, Floats]:  # fmt: skip
    """Probabilities by weighted votes of the k most similar images, for several k.

    A neighbour with the cosine similarity s has a vote of ``exp(s / 0.07)`` for its class (Wu et
    al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018,
    section 3.4; with this temperature also Caron et al., "Emerging Properties in Self-Supervised
    Vision Transformers", ICCV 2021). Here the votes are divided by their sum. Of images that are
    equally similar, the earlier ones are taken.

    Args:
        known: features of labelled images, float32 ``(N, D)``.
        target: their classes, ``(N,)``.
        asked: features, float32 ``(M, D)``.
        classes: K.
        counts: each k, at most N.

    Returns:
        k -> float64 ``(M, K)``; rows sum to 1.
    """
    bank, most = _unit(known), max(counts)
    found = {k: np.zeros((len(asked), classes)) for k in counts}
    for start in range(0, len(asked), PART):
        likeness = _unit(asked[start : start + PART]) @ bank.T  # (m, N)
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :most]
        nearest = np.take_along_axis(likeness, order, axis=1)
        # less the largest: the same shares, and no overflow
        votes = np.exp((nearest - nearest[:, :1]).astype(np.float64) / TEMPERATURE)
        for k, rows in found.items():
            for place in range(len(order)):
                rows[start + place] = np.bincount(
                    target[order[place, :k]], votes[place, :k], minlength=classes
                )
    return {k: rows / rows.sum(axis=1, keepdims=True) for k, rows in found.items()}


def _unit(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)
