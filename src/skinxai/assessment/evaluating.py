"""Compute an `Evaluation` from probabilities and true labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.assessment.metrics import (
    brier_score,
    calibration_bins,
    confusion_matrix,
    expected_calibration_error,
    metrics_of,
    one_vs_rest_auc,
)
from skinxai.assessment.roc import rate_at, roc_curve, thinned
from skinxai.assessment.subgroups import subgroups
from skinxai.errors import DatasetError
from skinxai.labels import LabelSet
from skinxai.results import CalibrationBin, Evaluation, Figure, OperatingPoint, SeenImages

MELANOMA = "mel"
OPERATING_POINTS = (
    ("specificity", 0.80),
    ("specificity", 0.90),
    ("specificity", 0.95),
    ("sensitivity", 0.95),
)
"""Operating points: the rate that is held, and its value."""
NOTHING_SEEN = SeenImages()


def evaluate_probabilities(
    target: Sequence[int],
    probabilities: npt.NDArray[np.float64],
    lesions: Sequence[str],
    labels: LabelSet,
    *,
    model: str,
    data: str,
    attributes: Sequence[Mapping[str, str]] = (),
    leaked: bool = False,
    seen: SeenImages = NOTHING_SEEN,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate probabilities against the true labels.

    Args:
        target: ``(N,)``, class positions.
        probabilities: ``(N, K)``, rows sum to 1.
        lesions: each image's lesion, the unit of the bootstrap.
        labels: the label set.
        model: name of the model.
        data: name of the images.
        attributes: attributes of each image, as in `skinxai.data.Record`, for subgroups; may be
            empty.
        leaked: whether these images, or their lesions or patients, were in training.
        seen: the training images among them, as far as the model says.
        resamples: number of bootstrap resamples; at most 500 for each subgroup.
        seed: seed of the resampling.

    Raises:
        DatasetError: if there are no images, or the arguments differ in length.
    """
    truth = np.asarray(target, np.int64)
    if not len(truth) or not len(truth) == len(probabilities) == len(lesions):
        raise DatasetError(
            f"target, probabilities and lesions must have one length > 0, got {len(truth)}, "
            f"{len(probabilities)} and {len(lesions)}."
        )
    if attributes and len(attributes) != len(truth):
        raise DatasetError(
            f"attributes must be empty or have one row for each of {len(truth)} images, got "
            f"{len(attributes)}."
        )
    guesses, classes = probabilities.argmax(axis=1), len(labels)
    melanoma = labels.position(MELANOMA) if MELANOMA in labels else None

    def statistic(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        own, scores = truth[rows], probabilities[rows]
        found = metrics_of(confusion_matrix(own, guesses[rows], classes))
        overall = [
            found.accuracy,
            found.balanced_accuracy,
            found.macro_f1,
            expected_calibration_error(own, scores),
            brier_score(own, scores),
        ]
        if melanoma is not None:
            curve = roc_curve(own == melanoma, scores[:, melanoma])
            overall += [rate_at(*point, *curve) for point in OPERATING_POINTS]
        auc = one_vs_rest_auc(own, scores)
        return np.concatenate([found.precision, found.recall, found.f1, auc, overall])

    values = statistic(np.arange(len(truth)))
    low, high = clustered_bootstrap(statistic, lesions, resamples=resamples, seed=seed)
    figures = [
        Figure(*row) for row in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    ]
    tables = [
        dict(zip(labels, figures[k * classes : (k + 1) * classes], strict=True)) for k in range(4)
    ]
    overall, at_points = figures[4 * classes :][:5], figures[4 * classes :][5:]
    confidence, hits, count = calibration_bins(truth, probabilities)
    return Evaluation(
        accuracy=overall[0],
        balanced_accuracy=overall[1],
        macro_f1=overall[2],
        expected_calibration_error=overall[3],
        brier_score=overall[4],
        precision=tables[0],
        recall=tables[1],
        f1=tables[2],
        auc=tables[3],
        confusion=tuple(
            tuple(int(n) for n in row) for row in confusion_matrix(truth, guesses, classes)
        ),
        roc={
            code: thinned(*roc_curve(truth == k, probabilities[:, k]))
            for k, code in enumerate(labels)
        },
        calibration=tuple(
            CalibrationBin(float(sure / n), float(right / n), int(n))
            for sure, right, n in zip(confidence, hits, count, strict=True)
            if n
        ),
        operating_points={
            f"{held} {at_least:.2f}": OperatingPoint(MELANOMA, held, at_least, figure)
            for (held, at_least), figure in zip(OPERATING_POINTS, at_points, strict=False)
        },
        subgroups=subgroups(
            truth, guesses, lesions, attributes, classes, resamples=min(resamples, 500), seed=seed
        ),
        images=len(truth),
        lesions=len(set(lesions)),
        labels=labels,
        model=model,
        data=data,
        leaked=leaked,
        seen=seen,
    )
