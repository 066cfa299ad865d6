"""Estimates of how often a model is right, from probabilities alone.

They hold as far as the relation between confidence and being right does: a model that is sure of
its errors on new images is taken for right.
"""

import numpy as np
import numpy.typing as npt

from skinxai.trust.reference_sample import UNKNOWN, ReferenceSample

Rows = npt.NDArray[np.floating]


def average_confidence(rows: Rows) -> float:
    """Mean probability of the top class, which is the accuracy of a calibrated model.

    Args:
        rows: calibrated probabilities ``(N, K)``.
    """
    return float(rows.max(axis=1).mean(dtype=np.float64))


def difference_of_confidences(rows: Rows, reference: ReferenceSample) -> float:
    """The reference's accuracy, less by how much the mean confidence fell; kept within 0–1.

    Guillory et al., Predicting with confidence on unseen distributions, ICCV 2021.

    Args:
        rows: calibrated probabilities ``(N, K)``.
        reference: with labels; without any it is `average_confidence`.
    """
    found = average_confidence(rows)
    if (accuracy := reference.accuracy) is None:
        return found
    known = reference.probabilities[reference.labels != UNKNOWN]
    return min(1.0, max(0.0, accuracy + found - average_confidence(known)))


def average_thresholded_confidence(rows: Rows, reference: ReferenceSample) -> float | None:
    """Share of images whose confidence is above the one that the reference's errors are below.

    Garg et al., Leveraging unlabeled data to predict out-of-distribution performance, ICLR 2022:
    as many of the reference's images have a confidence below the threshold as are wrong.

    Args:
        rows: calibrated probabilities ``(N, K)``.
        reference: with labels; ``None`` is returned without any.
    """
    if (accuracy := reference.accuracy) is None:
        return None
    known = np.sort(reference.probabilities[reference.labels != UNKNOWN].max(axis=1))
    wrong = round((1 - accuracy) * len(known))
    if wrong == 0:
        return 1.0
    return float((rows.max(axis=1) > known[wrong - 1]).mean())
