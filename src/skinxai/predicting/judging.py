"""Labelled images to an `Evaluation`, with a look for images that the model was trained on."""

import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from skinxai.assessment.decisions import at_each_point, decisions
from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.hardest import check_count, hardest
from skinxai.assessment.paired import compare_probabilities
from skinxai.assessment.selective import selective_answers
from skinxai.assessment.skin_tone import VALIDITY, typology_angle
from skinxai.assessment.subgroups import ITA
from skinxai.data.given import names_parts
from skinxai.data.records import Records, check_records
from skinxai.errors import SkinxaiWarning
from skinxai.flags import check_flags
from skinxai.labels import LabelSet
from skinxai.numeric import plain_fields, whole, whole_seed
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.labelled import LabelledImages
from skinxai.predicting.streaming import predictions
from skinxai.results import Comparison, Decisions, Evaluation, Prediction, SeenImages
from skinxai.trust.operating_points import OperatingPoint

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Judged:
    """What is judged, and how; see `Classifier.evaluate`."""

    resamples: int
    seed: int
    tta: bool
    not_copies: Collection[str]
    hardest: int
    skin_tone: bool

    def __post_init__(self) -> None:
        plain_fields(self)
        check_flags(tta=self.tta, skin_tone=self.skin_tone)


def judge(
    model: ModelInUse, records: Records, options: InputOptions, how: Judged,
    against: ModelInUse | None = None,
) -> Evaluation:  # fmt: skip
    """Predict labelled images and judge the answers; see `Classifier.evaluate`."""
    check_records(records, "evaluate()")
    check_count(how.hardest)
    whole("resamples", how.resamples)
    whole_seed(how.seed)
    if not records.part and names_parts(records):
        warnings.warn(
            "records hold several parts of the split that their data came with, and all are "
            "judged; take the test part alone with given_part(records, 'test').", SkinxaiWarning, 3,
        )  # fmt: skip
    if against is not None:  # records that do not fit it are refused before the first pass
        LabelledImages(against, records, options, "evaluate()", how.not_copies)
    labels = model.config.labels if model.config.labels.malignant else records.labels
    angles: dict[int, float] = {}
    answers = answers_of(model, records, options, how, angles if how.skin_tone else None)
    target, lesions = records.targets(), [item.lesion_id for item in records]
    attributes: list[Mapping[str, str]] = [item.attributes for item in records]
    if how.skin_tone:
        attributes = [
            {**row, ITA: "" if math.isnan(angles[k]) else str(angles[k])}
            for k, row in enumerate(attributes)
        ]
    found = judge_rows(
        records, answers.rows, labels, model=model.predictor.model,
        leaked=_leaked(model, records, answers.seen), seen=answers.seen, attributes=attributes,
        scores=dict(_scores(answers.predictions)), resamples=how.resamples, seed=how.seed,
    )  # fmt: skip
    compared: Comparison | None = None
    if against is not None:
        other = answers_of(against, records, options, how)
        compared = compare_probabilities(
            target, answers.rows, other.rows, lesions, labels,
            name=against.predictor.model, leaked=_leaked(against, records, other.seen),
            seen=other.seen, resamples=how.resamples, seed=how.seed,
        )  # fmt: skip
    return replace(
        found,
        calibrated_on=answers.predictions[0].calibrated_on,
        calibration_seen=answers.calibrated,
        decisions=_decisions(model, records, answers, how),
        comparison=compared,
        hardest=hardest(
            [item.image_id for item in records], target, answers.rows, labels, how.hardest
        ),
        notes=(*found.notes, *((VALIDITY,) if any(row.get(ITA) for row in attributes) else ())),
    )


def judge_rows(
    records: Records, rows: npt.NDArray[np.float64], labels: LabelSet, *, model: str, leaked: bool,
    seen: SeenImages, attributes: Sequence[Mapping[str, str]],
    scores: Mapping[str, Sequence[float]], resamples: int, seed: int,
) -> Evaluation:  # fmt: skip
    """Judge the answers to labelled images, whoever gave them; see `Classifier.evaluate`.

    The rows are probabilities, float64 ``(N, K)``, in the order of the labels, of which the
    malignant ones are declared. Of further scores of each answer, higher is surer.
    """
    target, lesions = records.targets(), [item.lesion_id for item in records]
    found = evaluate_probabilities(
        target, rows, lesions, labels, model=model, data=records.described, attributes=attributes,
        leaked=leaked, seen=seen, resamples=resamples, seed=seed,
    )  # fmt: skip
    right = rows.argmax(axis=1) == np.asarray(target)
    return replace(
        found,
        not_known=tuple(_not_known(records)),
        selective=selective_answers(
            rows.max(axis=1), right, lesions, scores if len(set(lesions)) > 1 else {},
            resamples=resamples, seed=seed,
        ),
    )  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What a model answered to labelled images.

    Args:
        predictions: in the order of the records.
        rows: float64 ``(N, K)``, their probabilities.
        seen: the images that the model was trained on.
        calibrated: the images that it was calibrated on.
    """

    predictions: Sequence[Prediction]
    rows: npt.NDArray[np.float64]
    seen: SeenImages
    calibrated: SeenImages


def answers_of(
    model: ModelInUse, records: Records, options: InputOptions, how: Judged,
    angles: dict[int, float] | None = None,
) -> Answers:  # fmt: skip
    """Answer labelled images once, at the first operating point of a model that has some.

    Where there are ``angles``, each image's typology angle is put there.
    """
    labelled = LabelledImages(model, records, options, "evaluate()", how.not_copies)
    looks: list[Callable[[int, Pixels], None]] = [labelled.look] if labelled.look else []
    if angles is not None:
        looks.append(lambda index, pixels: angles.update({index: typology_angle(pixels)}))

    def look(index: int, pixels: Pixels) -> None:
        for each in looks:
            each(index, pixels)

    predictor = model.predictor.at(next(iter(_points(model, how)), None))
    found = [
        each
        for each in predictions(
            predictor, labelled.images, options, tta=how.tta, look=look if looks else None
        )
        if isinstance(each, Prediction)  # and all are: on_error is "raise"
    ]
    codes = model.config.labels.codes
    rows = np.asarray([[each.probabilities[code] for code in codes] for each in found])
    return Answers(found, rows, labelled.seen(), labelled.calibrated())


def _points(model: ModelInUse, how: Judged) -> Mapping[str, OperatingPoint]:
    calibration = model.predictor.calibration
    return {} if calibration is None else calibration.fitted(tta=how.tta).operating_points


def _decisions(
    model: ModelInUse, records: Records, answers: Answers, how: Judged
) -> dict[str, Decisions]:
    points, calibration = _points(model, how), model.predictor.calibration
    if calibration is None or not points:
        return {}
    malignant_codes = model.config.labels.malignant or ()
    malignant = [item.label in malignant_codes for item in records]
    lesions = [item.lesion_id for item in records]
    given = [(each.decision, each.malignant_probability) for each in answers.predictions]
    decided = at_each_point(given, list(points.values()))
    default = model.predictor.operating_point or calibration.default
    return {
        name: decisions(words, malignant, lesions, point, default=name == default)
        for (name, point), words in zip(points.items(), decided, strict=True)
    }


def _leaked(model: ModelInUse, records: Records, seen: SeenImages) -> bool:
    said = any("leaked" in config.training_data for config in model.configs)
    return records.leaked or bool(seen) or said


def _not_known(records: Records) -> Iterator[str]:
    if all(item.lesion_id == item.image_id for item in records):
        yield "no lesion is named, so that other images of a training lesion are not recognised"
    if not any(item.patient_id for item in records):
        yield "no patient is named, so that other lesions of a training patient are not recognised"


def _scores(found: Sequence[Prediction]) -> Iterator[tuple[str, list[float]]]:
    """Scores of how sure each answer is, higher is surer, that every prediction has."""
    uncertain = [each.uncertainty for each in found if each.uncertainty is not None]
    if len(uncertain) == len(found):
        yield "total uncertainty", [-each.total for each in uncertain]
        yield "epistemic uncertainty", [-each.epistemic for each in uncertain]
        yield "variation ratio", [-each.variation_ratio for each in uncertain]
    novel = [each.novelty for each in found if each.novelty is not None]
    if len(novel) == len(found):
        yield "novelty", [-each.score for each in novel]
