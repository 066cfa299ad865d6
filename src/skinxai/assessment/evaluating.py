"""Compute an `Evaluation` from probabilities and true labels."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.calibration_errors import (
    BINS,
    calibration_bins,
    classwise,
    equal_mass,
    equal_width,
)
from skinxai.assessment.figure_rows import MELANOMA, ROC_POINTS, FigureRows, malignant_scores
from skinxai.assessment.gaps import gaps
from skinxai.assessment.intervals import clustered_bootstrap, clustered_share
from skinxai.assessment.metrics import confusion_matrix
from skinxai.assessment.net_benefit import THRESHOLDS, net_benefit
from skinxai.assessment.roc import roc_curve, thinned
from skinxai.assessment.subgroups import small_groups, subgroups
from skinxai.errors import DatasetError, DatasetLabelError, InputShapeError
from skinxai.labels import LabelSet
from skinxai.results import (
    CalibrationBin,
    Evaluation,
    Figure,
    Malignancy,
    NetBenefit,
    RocPoint,
    SeenImages,
)
from skinxai.trust.probability_rows import probability_rows

Floats = npt.NDArray[np.float64]
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
        resamples: number of bootstrap resamples; at most 500 for subgroups.
        seed: seed of the resampling.

    Raises:
        DatasetError: if there are no images, or the arguments differ in length.
        DatasetLabelError: a class position that is none.
        InputShapeError: probabilities that are not ``(N, K)``.
        InputRangeError: a row of probabilities that is not finite, or no distribution.
    """
    truth, scores = checked(target, probabilities, lesions, labels)
    if attributes and len(attributes) != len(truth):
        raise DatasetError(
            f"attributes must be empty or have one row for each of {len(truth)} images, got "
            f"{len(attributes)}."
        )
    guesses, classes = scores.argmax(axis=1), len(labels)
    statistic = FigureRows(truth, scores, labels)
    values = statistic(np.arange(len(truth)))
    low, high = clustered_bootstrap(statistic, lesions, resamples=resamples, seed=seed)
    rows = np.stack([values, low, high], axis=1).tolist()
    named = {
        key: statistic.figure(key, row, lesions)
        for key, row in zip(statistic.names, rows, strict=True)
    }

    def of_classes(figure: str) -> dict[str, Figure]:
        return {code: named[figure, code] for code in labels}

    errors = [
        sort(truth, scores).figure(lesions, resamples=resamples, seed=seed)
        for sort in (equal_width, equal_mass, classwise)
    ]
    fewer = min(resamples, 500)
    return Evaluation(
        accuracy=named["accuracy", ""],
        balanced_accuracy=named["balanced accuracy", ""],
        macro_f1=named["macro-F1", ""],
        expected_calibration_error=errors[0],
        equal_mass_calibration_error=errors[1],
        classwise_calibration_error=errors[2],
        brier_score=named["Brier score", ""],
        precision=of_classes("precision"),
        recall=of_classes("recall"),
        f1=of_classes("F1"),
        auc=of_classes("AUC"),
        confusion=tuple(
            tuple(int(n) for n in row) for row in confusion_matrix(truth, guesses, classes)
        ),
        roc={code: thinned(*roc_curve(truth == k, scores[:, k])) for k, code in enumerate(labels)},
        calibration=_bins(truth, scores, lesions),
        roc_points={
            name: RocPoint(MELANOMA, held, at_least, named["ROC point", name])
            for held, at_least in ROC_POINTS
            if ("ROC point", name := f"{held} {at_least:.2f}") in named
        },
        malignancy=_malignancy(truth, scores, lesions, labels, named),
        subgroups=subgroups(
            truth, guesses, lesions, attributes, classes, resamples=fewer, seed=seed
        ),
        gaps=gaps(truth, guesses, lesions, attributes, labels, resamples=fewer, seed=seed),
        notes=small_groups(attributes),
        images=len(truth),
        lesions=len(set(lesions)),
        labels=labels,
        model=model,
        data=data,
        leaked=leaked,
        seen=seen,
    )


def checked(
    target: Sequence[int], probabilities: npt.ArrayLike, lesions: Sequence[str], labels: LabelSet
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Classes and probabilities as arrays, refused unless they are what they should be.

    Raises:
        DatasetError: as in `evaluate_probabilities`, and the other errors there.
    """
    truth, given = np.asarray(target), np.asarray(probabilities)
    if not len(truth) or not len(truth) == len(given) == len(lesions):
        raise DatasetError(
            f"target, probabilities and lesions must have one length > 0, got {len(truth)}, "
            f"{len(given)} and {len(lesions)}."
        )
    rows = probability_rows(given)
    if rows.shape[1] != len(labels):
        raise InputShapeError(
            f"probabilities must have a column for each of {len(labels)} labels, got "
            f"{rows.shape[1]}."
        )
    whole = truth.dtype.kind in "iu"
    if not whole or truth.min() < 0 or truth.max() >= len(labels):
        wrong = next((v for v in truth.tolist() if v not in range(len(labels))), truth.dtype)
        raise DatasetLabelError(
            f"target must be class positions from 0 to {len(labels) - 1}, whole numbers, got "
            f"{wrong}."
        )
    return truth.astype(np.int64), rows


def _bins(
    truth: npt.NDArray[np.int64], scores: Floats, lesions: Sequence[str]
) -> tuple[CalibrationBin, ...]:
    confidence, hit, place = calibration_bins(truth, scores)
    names, found = np.asarray(lesions), []
    for k in range(BINS):
        own = place == k
        if own.any():
            share = clustered_share(hit[own], names[own].tolist())
            found.append(CalibrationBin(float(confidence[own].mean()), share, int(own.sum())))
    return tuple(found)


def _malignancy(
    truth: npt.NDArray[np.int64], scores: Floats, lesions: Sequence[str], labels: LabelSet,
    named: Mapping[tuple[str, str], Figure],
) -> Malignancy | None:  # fmt: skip
    if (found := malignant_scores(truth, scores, labels)) is None:
        return None
    malignant = found[0]
    everybody = np.ones_like(malignant)
    curve = tuple(
        NetBenefit(
            threshold, named["net benefit", f"{threshold:.2f}"],
            net_benefit(malignant, everybody, threshold),
        )
        for threshold in THRESHOLDS
    )  # fmt: skip
    return Malignancy(
        images=int(malignant.sum()),
        lesions=len(set(np.asarray(lesions)[malignant].tolist())),
        auc=named["malignant AUC", ""],
        partial_auc=named["malignant partial AUC", ""],
        decision_curve=curve if 0 < malignant.sum() < len(malignant) else (),
    )
