"""Multinomial logistic regression on frozen features. The only file here with scikit-learn."""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.results.probabilities import from_logits

Floats = npt.NDArray[np.float64]
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Candidates of scikit-learn's C, the inverse of the regularisation's strength, weakest last."""
TOLERANCE, ITERATIONS = 1e-6, 3000


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A linear layer that answers for pooled features.

    Args:
        weight: float64 ``(K, D)``.
        bias: float64 ``(K,)``.
        converged: whether the optimiser came to its end.
    """

    weight: Floats
    bias: Floats
    converged: bool = True

    def probabilities(self, rows: npt.NDArray[np.float32]) -> Floats:
        """Of pooled features ``(N, D)``: the softmax of ``W x + b``, float64 ``(N, K)``."""
        return from_logits(rows.astype(np.float64) @ self.weight.T + self.bias)


def fit_head(
    rows: npt.NDArray[np.float32], target: npt.NDArray[np.int64], classes: int, strength: float, *,
    balanced: bool = False,
) -> LinearHead:  # fmt: skip
    """Fit scikit-learn's logistic regression on standardised features.

    Each feature is shifted and scaled to mean 0 and standard deviation 1 over the training rows,
    so that C means the same for every network; the layer that is returned takes features as they
    are: ``W = V / s`` and ``b = a - W m``. Several views of an image share its weight. The loss is
    scikit-learn's: C times the sum of the log losses, plus half the squared norm of V.

    Args:
        rows: V views of each of N images, float32 ``(N, V, D)``.
        target: class positions ``(N,)``.
        classes: K. A class that has no image gets the probability 0, as far as float64 has it.
        strength: C, > 0.
        balanced: give each class the same weight, ``N / (K n)`` for each of its n images.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    count, views, width = rows.shape
    flat = rows.reshape(count * views, width).astype(np.float64)
    mean, scale = flat.mean(axis=0), flat.std(axis=0)
    scale[scale == 0] = 1
    flat -= mean
    flat /= scale
    model = LogisticRegression(
        C=strength, class_weight="balanced" if balanced else None, max_iter=ITERATIONS,
        tol=TOLERANCE,
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(flat, np.repeat(target, views), np.full(count * views, 1 / views))
    converged = not any(issubclass(each.category, ConvergenceWarning) for each in caught)
    for each in caught:  # others are not ours to keep
        if not issubclass(each.category, ConvergenceWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    own, offsets = model.coef_, model.intercept_
    if len(own) == 1:  # two classes: sigmoid(z) is the softmax of (-z/2, z/2)
        own, offsets = np.concatenate([-own, own]) / 2, np.concatenate([-offsets, offsets]) / 2
    weight, bias = np.zeros((classes, width)), np.full(classes, -1e3)
    weight[model.classes_] = own / scale
    bias[model.classes_] = offsets - weight[model.classes_] @ mean
    return LinearHead(weight, bias, converged)
