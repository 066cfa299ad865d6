"""Metrics of single-label classification, from a confusion matrix or from probabilities."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.assessment.roc import known
from skinxai.errors import DatasetLabelError

Floats = npt.NDArray[np.float64]


def confusion_matrix(
    target: npt.ArrayLike, predicted: npt.ArrayLike, num_classes: int
) -> npt.NDArray[np.int64]:
    """Counts ``(K, K)``: row = true class, column = predicted class.

    Args:
        target: int ``(N,)``, class positions.
        predicted: int ``(N,)``, class positions.
        num_classes: K.

    Raises:
        DatasetLabelError: a class position that is none.
    """
    pairs = positions(target, num_classes) * num_classes + positions(predicted, num_classes)
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def positions(given: npt.ArrayLike, num_classes: int) -> npt.NDArray[np.int64]:
    """Class positions as int64; -1 or K would count for another class."""
    found = np.asarray(given)
    whole = found.dtype.kind in "iub"
    if found.size and not (whole and 0 <= found.min() <= found.max() < num_classes):
        raise DatasetLabelError(
            f"class positions must be whole numbers from 0 to {num_classes - 1}, got "
            f"{np.unique(found)[:8].tolist()}."
        )
    return np.asarray(found, np.int64)


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of one confusion matrix; NaN where a class has no images.

    ``precision`` and ``f1`` of a class that was never predicted are 0, as in scikit-learn with
    ``zero_division=0``. Balanced accuracy and macro-F1 average over the classes that occur.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    precision: Floats  # (K,)
    recall: Floats  # (K,)
    f1: Floats  # (K,)


def metrics_of(confusion: npt.NDArray[np.int64]) -> ClassificationMetrics:
    """Compute accuracy, balanced accuracy, macro-F1 and the figures of each class.

    Args:
        confusion: counts ``(K, K)``, row = true class.
    """
    hits = np.diag(confusion).astype(np.float64)
    truth, guesses = confusion.sum(axis=1), confusion.sum(axis=0)
    present = truth > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.where(present, hits / truth, np.nan)
        precision = np.where(guesses > 0, hits / guesses, 0.0)
        f1 = np.where(present, 2 * hits / (truth + guesses), np.nan)
    return ClassificationMetrics(
        accuracy=float(hits.sum() / truth.sum()) if present.any() else float("nan"),
        balanced_accuracy=float(recall[present].mean()) if present.any() else float("nan"),
        macro_f1=float(f1[present].mean()) if present.any() else float("nan"),
        precision=precision,
        recall=recall,
        f1=f1,
    )


def one_vs_rest_auc(target: npt.ArrayLike, probabilities: npt.ArrayLike) -> Floats:
    """Area under the ROC curve of each class against all others.

    NaN for a class without images, or without images of other classes.

    The area is the probability that a random image of the class scores higher than a random
    other one; ties count half (Hanley & McNeil, Radiology 143, 1982). It is computed from
    average ranks.

    Args:
        target: int ``(N,)``.
        probabilities: float ``(N, K)``.

    Returns:
        ``(K,)``, 0–1.

    Raises:
        DatasetLabelError: a class position that is none.
        InputRangeError: a probability that is NaN.
    """
    scores = known(probabilities)
    truth = positions(target, scores.shape[1])
    areas = np.full(scores.shape[1], np.nan)
    for k in range(scores.shape[1]):
        own = truth == k
        positives, negatives = int(own.sum()), int((~own).sum())
        if positives and negatives:
            _, inverse, counts = np.unique(scores[:, k], return_inverse=True, return_counts=True)
            ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
            wins = ranks[own].sum() - positives * (positives + 1) / 2
            areas[k] = wins / (positives * negatives)
    return areas


def brier_score(target: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Mean squared distance to the true class's unit vector, 0–2 (Brier, 1950).

    Args:
        target: int ``(N,)``.
        probabilities: float ``(N, K)``, rows sum to 1.

    Raises:
        DatasetLabelError: a class position that is none.
    """
    scores = np.array(probabilities, np.float64)
    scores[np.arange(len(scores)), positions(target, scores.shape[1])] -= 1
    return float((scores**2).sum(axis=1).mean())
