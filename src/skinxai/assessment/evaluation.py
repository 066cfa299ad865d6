"""From probabilities and truth to an `Evaluation`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import clustered_bootstrap
from skinxai.assessment.metrics import (
    brier_score,
    confusion_matrix,
    expected_calibration_error,
    metrics_of,
    one_vs_rest_auc,
)
from skinxai.errors import DatasetError
from skinxai.labels import LabelSet
from skinxai.results import Evaluation, Figure


def evaluate_probabilities(
    target: Sequence[int],
    probabilities: npt.NDArray[np.float64],
    lesions: Sequence[str],
    labels: LabelSet,
    *,
    model: str,
    data: str,
    leaked: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Judge probabilities against the truth.

    Args:
        target: ``(N,)``, class positions.
        probabilities: ``(N, K)``, rows sum to 1.
        lesions: each image's lesion, the unit of the bootstrap.
        labels: the label set.
        model: which model.
        data: which images.
        leaked: whether lesions or patients of these images were in training as well.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        DatasetError: no images, or arguments of different lengths.
    """
    truth = np.asarray(target, np.int64)
    if not len(truth) or not len(truth) == len(probabilities) == len(lesions):
        raise DatasetError(
            f"target, probabilities and lesions must have one length > 0, got {len(truth)}, "
            f"{len(probabilities)} and {len(lesions)}."
        )
    guesses, classes = probabilities.argmax(axis=1), len(labels)

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
        auc = one_vs_rest_auc(own, scores)
        return np.concatenate([overall, found.precision, found.recall, found.f1, auc])

    values = statistic(np.arange(len(truth)))
    low, high = clustered_bootstrap(statistic, lesions, resamples=resamples, seed=seed)
    figures = [
        Figure(*row) for row in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
    ]
    tables = [
        dict(zip(labels, figures[5 + k * classes : 5 + (k + 1) * classes], strict=True))
        for k in range(4)
    ]
    return Evaluation(
        accuracy=figures[0],
        balanced_accuracy=figures[1],
        macro_f1=figures[2],
        expected_calibration_error=figures[3],
        brier_score=figures[4],
        precision=tables[0],
        recall=tables[1],
        f1=tables[2],
        auc=tables[3],
        confusion=tuple(
            tuple(int(n) for n in row) for row in confusion_matrix(truth, guesses, classes)
        ),
        images=len(truth),
        lesions=len(set(lesions)),
        labels=labels,
        model=model,
        data=data,
        leaked=leaked,
    )
