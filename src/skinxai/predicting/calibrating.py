"""Labelled images to a `Calibration`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.data.records import Records, check_records
from skinxai.errors import (
    LeakageError,
    ModelError,
    NonFiniteOutputError,
    OptionError,
    UnknownNameError,
    did_you_mean,
)
from skinxai.memory import in_batches
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.numeric import plain_fields
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions, Prepared, prepared_batches
from skinxai.predicting.labelled import LabelledImages, refuse_learnt
from skinxai.predicting.network_passes import embeddings_of
from skinxai.predicting.predictor import Predictor
from skinxai.results.observation import Observation
from skinxai.trust.calibration import Calibration, Fitted
from skinxai.trust.conformal import Conformal
from skinxai.trust.novelty_gate import NoveltyGate
from skinxai.trust.operating_points import SCREENING, MalignancyScores, OperatingPoint
from skinxai.trust.quality import QualityLimits
from skinxai.trust.reference_sample import ReferenceSample
from skinxai.trust.scaling import METHODS, Scaling, check_classes

Floats = npt.NDArray[np.float64]
FLAGGED = 0.005
"""Share of images of the right kind that the limits of quality may flag."""


@dataclass(frozen=True)
class Wanted:
    """What is fitted; see `Classifier.calibrate`."""

    method: str = "temperature"
    sensitivity: float | None = None
    specificity: float | None = None
    default: str | None = None

    def __post_init__(self) -> None:
        plain_fields(self)
        if self.method not in METHODS:
            raise OptionError(f"method must be one of {METHODS}, got {self.method!r}.")
        for name in ("sensitivity", "specificity"):
            rate = getattr(self, name)
            if rate is not None and not (type(rate) in (int, float) and 0 < rate < 1):
                raise OptionError(f"{name} must be a number in (0, 1), got {rate!r}.")

    def points(self, scores: MalignancyScores) -> list[OperatingPoint]:
        """The operating points, of calibrated images."""
        own = {"sensitivity": self.sensitivity, "specificity": self.specificity}
        given = [{name: rate} for name, rate in own.items() if rate is not None]
        return [scores.screening(), scores.balanced(), *(scores.holding(**each) for each in given)]

    def check(self, records: Records) -> None:
        """Refuse what would fail once all images were read."""
        targets = np.asarray(records.targets())
        check_classes(targets)
        if records.labels.malignant:
            names = [point.name for point in self.points(_scores(records, np.zeros(len(targets))))]
            if self.default is not None and self.default not in names:
                raise UnknownNameError(
                    f"Unknown operating point {self.default!r}; calibrate() makes {names}."
                    f"{did_you_mean(self.default, names)}"
                )
        elif self.sensitivity or self.specificity or self.default:
            raise OptionError(
                "an operating point needs labels that are declared malignant, and the model's "
                "label set declares none."
            )


def calibrated(
    model: ModelInUse, records: Records, options: InputOptions, wanted: Wanted,
    not_copies: Collection[str],
) -> ModelInUse:  # fmt: skip
    """The model with a calibration of labelled images; see `Classifier.calibrate`."""
    _check(model, records)
    labelled = LabelledImages(model, records, options, "calibrate()", not_copies, keep=True)
    records = replace(records, labels=model.config.labels)  # what predict() takes for malignant
    wanted.check(records)
    predictor = model.predictor
    rows: list[_Row] = []
    measured: list[Mapping[str, float]] = []
    colours: list[npt.NDArray[np.float32] | None] = []
    leaked = False  # then the rest is only read, so that the error names all of them
    for batch in prepared_batches(
        labelled.images, predictor.preprocessings, options, look=labelled.look, measured=True
    ):
        items = [item for item in batch if isinstance(item, Prepared)]  # all: errors are raised
        measured += [item.measured for item in items]
        colours += [item.colours for item in items]
        leaked = leaked or bool(labelled.seen(item.index for item in items))
        if items and not leaked:
            rows += in_batches(items, lambda some: _answers(predictor, some))
    refuse_learnt(
        "calibrate()", len(records), labelled.seen(),
        python="pass the validation part of the split that it was trained with, such as "
        "Splits.from_csv('splits.csv', records).val",
        command="give the split that it was trained with, whose validation part is taken, with "
        "--splits splits.csv",
    )  # fmt: skip
    found = np.asarray([row.means for row in rows])  # (N, 2, K)
    if not np.isfinite(found).all():
        raise NonFiniteOutputError(
            f"logits must be finite, but those of {model.predictor.model} are not for "
            f"{int((~np.isfinite(found).all(axis=(1, 2))).sum())} of {len(found)} images."
        )
    views = [_fitted(found[:, place], records, wanted) for place in (0, 1)]
    default = wanted.default or (SCREENING if views[0].operating_points else None)
    lesions = [item.lesion_id for item in records]
    novelty, scores = NoveltyGate.fit_held_out(
        [np.stack(own) for own in zip(*(row.embeddings for row in rows), strict=True)],
        np.asarray(colours), records.targets(), lesions,
        [member.weight for member in predictor.members],
    )  # fmt: skip
    made = Calibration(
        data=records.described, images=len(records), lesions=len(set(lesions)),
        one_view=views[0], four_views=views[1],
        quality=QualityLimits.fit(measured, rejected=FLAGGED), novelty=novelty, default=default,
        known=TrainedOn.of_looks(labelled.looks), weights=model.loaded.digest,
    )  # fmt: skip
    upright = views[0].scaling(found[:, 0])
    seen_by_monitors = [
        Observation(
            predictor.model, own, row.embeddings[0], measures, colour, float(score), None,
            made.weights,
        )
        for own, row, measures, colour, score in zip(
            upright, rows, measured, colours, scores, strict=True
        )
    ]  # fmt: skip
    reference = ReferenceSample.fit(seen_by_monitors, records.targets(), lesions)
    return model.with_calibration(made, reference)


def _check(model: ModelInUse, records: Records) -> None:
    check_records(records, "calibrate()")
    if records.part == "test":
        raise LeakageError(
            "calibrate() must not see the test part, whose figures would be worth nothing "
            "afterwards; calibrate on the validation part."
        )
    if records.leaked:
        raise LeakageError(
            "calibrate() needs a split whose parts share no lesion or patient, and this one was "
            "made with allow_leakage."
        )
    if model.exported or not all(config.backbone for config in model.configs):
        raise ModelError(
            f"calibrate() needs a model that can be saved, and {model.predictor.model} is "
            f"{'an exported file' if model.exported else 'a network that may still change'}; load "
            f"a model folder."
        )
    if model.precision != "float32":
        raise OptionError(f"calibrate() needs precision='float32', got {model.precision!r}.")


@dataclass(frozen=True)
class _Row:
    """Of one image.

    Args:
        means: of one view and of four, ``(2, K)``.
        embeddings: of each network, ``(D,)``.
    """

    means: Floats
    embeddings: tuple[npt.NDArray[np.float32], ...]


def _answers(predictor: Predictor[Any], items: Sequence[Prepared]) -> list[_Row]:
    passes = predictor.passes(tta=True)
    found = predictor.outputs(items, passes, embeddings=True)
    plain = [out.rows for out, own in zip(found, passes, strict=True) if not own.flip]
    every = [out.rows for out in found]
    means = np.stack([predictor.mean(plain), predictor.mean(every)], axis=1)
    embeddings = zip(*embeddings_of(passes, found), strict=True)
    return [_Row(mean, own) for mean, own in zip(means, embeddings, strict=True)]


def _fitted(rows: Floats, records: Records, wanted: Wanted) -> Fitted:
    targets, labels = np.asarray(records.targets()), records.labels
    scaling = Scaling.fit(rows, targets, wanted.method)
    calibrated_rows = scaling(rows)
    points: list[OperatingPoint] = []
    if labels.malignant:
        kinds = [labels.position(code) for code in labels if code in labels.malignant]
        sums = np.minimum(calibrated_rows[:, kinds].sum(axis=1), 1.0)
        points = wanted.points(_scores(records, sums))
    lesions = [item.lesion_id for item in records]
    conformal = Conformal.fit(calibrated_rows, targets, lesions=lesions)
    return Fitted(scaling, {point.name: point for point in points}, conformal)


def _scores(records: Records, malignant_probability: Floats) -> MalignancyScores:
    malignant = records.labels.malignant or frozenset()
    kinds = np.array([item.label in malignant for item in records])
    return MalignancyScores(malignant_probability, kinds, [item.lesion_id for item in records])
