"""Out-of-fold answers: each image answered by the model that has not learnt its lesion."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.assessment.metrics import confusion_matrix, metrics_of
from skinxai.classifier import Classifier
from skinxai.configs import strict_json
from skinxai.data.records import Records
from skinxai.data.splits import Splits
from skinxai.disk.regular_files import MAX_TEXT_BYTES, read_file
from skinxai.disk.writing import escape_cell, write_atomic
from skinxai.errors import LeakageError, TrainingError
from skinxai.results import FoldResult, SeenImages
from skinxai.training.settings import TrainConfig

ANSWERS = "answers.json"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoldAnswers:
    """A model's answers to its fold.

    Args:
        fold: number of the fold, from 1.
        model: ``name@revision`` of the model.
        epoch: its epoch, from 1.
        notes: what could not be looked for among its training images.
        probabilities: image id → probabilities in label order.
    """

    fold: int
    model: str
    epoch: int
    notes: tuple[str, ...]
    probabilities: Mapping[str, tuple[float, ...]]

    def write(self, run_folder: Path) -> None:
        """Write ``answers.json`` into the run folder of the fold."""
        text = json.dumps(vars(self), indent=1)
        write_atomic(run_folder / ANSWERS, text.encode() + b"\n")

    @classmethod
    def read(cls, run_folder: Path) -> "FoldAnswers | None":
        """Inverse of `write`; ``None`` if the file is missing or damaged, so that it is redone."""
        try:
            data = read_file(run_folder / ANSWERS, MAX_TEXT_BYTES)
            values = strict_json(data, MAX_TEXT_BYTES)
            rows = {
                str(name): tuple(map(float, row)) for name, row in values["probabilities"].items()
            }
            return cls(int(values["fold"]), str(values["model"]), int(values["epoch"]),
                       tuple(map(str, values["notes"])), rows)  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None


def answer(
    classifier: Classifier, fold: int, splits: Splits, epoch: int, config: TrainConfig
) -> FoldAnswers:
    """Let a fold's model, of this epoch, answer its fold: the test part.

    Raises:
        LeakageError: if an image of the fold, or a copy of one, was learnt.
    """
    from skinxai.predicting.inputs import InputOptions
    from skinxai.predicting.judging import Judged, answers_of

    ids = {item.image_id for item in splits.test}
    how = Judged(0, 0, False, [n for n in config.not_copies if n in ids], 0, False)
    size = max(1, min(32, config.batch_size // config.accumulate))
    options = InputOptions(batch_size=size, max_pixels=config.max_pixels)
    found = answers_of(classifier._in_use, splits.test, options, how)
    if found.seen and not splits.test.leaked:
        raise LeakageError(
            f"fold {fold} must hold no image that its model learnt from: of {len(ids)}, "
            f"{found.seen.describe()}; start the cross-validation again in a new folder."
        )
    rows = zip(splits.test, found.rows.tolist(), strict=True)
    return FoldAnswers(
        fold, classifier.model, epoch, found.seen.notes,
        {item.image_id: tuple(row) for item, row in rows},
    )  # fmt: skip


def joined(
    records: Records, splits: Sequence[Splits], answers: Sequence[FoldAnswers]
) -> tuple[Floats, list[int]]:
    """Probabilities ``(N, K)`` of all images in order, and the fold of each.

    Raises:
        TrainingError: if an image has no answer or several, or an answer to another image.
        LeakageError: if a model answered a lesion or patient that it learnt or was chosen on.
    """
    rows: dict[str, tuple[float, ...]] = {}
    fold_of: dict[str, int] = {}
    for own, parts in zip(answers, splits, strict=True):
        if set(own.probabilities) != {item.image_id for item in parts.test}:
            raise TrainingError(
                f"fold {own.fold} must have one answer to each of its {len(parts.test)} images, "
                f"but {ANSWERS} has {len(own.probabilities)}; delete it and resume."
            )
        for kind in ("lesion_id", "patient_id"):
            used = {getattr(item, kind) for part in (parts.train, parts.val) for item in part}
            again = used & {getattr(item, kind) for item in parts.test} - {None}
            if again and not records.leaked:
                raise LeakageError(
                    f"fold {own.fold} must share no {kind} with what its model learnt, but "
                    f"{min(again)!r} is in both."
                )
        if doubled := rows.keys() & own.probabilities.keys():
            raise TrainingError(f"each image must be in one fold, but {min(doubled)!r} is in two.")
        rows |= own.probabilities
        fold_of |= dict.fromkeys(own.probabilities, own.fold)
    if lacking := [item.image_id for item in records if item.image_id not in rows]:
        raise TrainingError(f"each image must be in a fold, but {lacking[0]!r} is in none.")
    ids = [item.image_id for item in records]
    return np.asarray([rows[name] for name in ids], np.float64), [fold_of[name] for name in ids]


def fold_result(splits: Splits, own: FoldAnswers) -> FoldResult:
    """Figures of one fold."""
    part = splits.test
    guesses = [int(np.argmax(own.probabilities[item.image_id])) for item in part]
    found = metrics_of(confusion_matrix(part.targets(), guesses, len(part.labels)))
    return FoldResult(
        own.fold, own.model, len(part), len({item.lesion_id for item in part}), len(splits.train),
        len(splits.val), own.epoch, found.accuracy, found.balanced_accuracy, found.macro_f1,
    )  # fmt: skip


def seen_of(answers: Sequence[FoldAnswers]) -> SeenImages:
    """What could not be looked for among the training images of the models, each note once."""
    return SeenImages(notes=tuple(dict.fromkeys(note for own in answers for note in own.notes)))


def table_of(
    records: Records, rows: Floats, fold_of: Sequence[int], answers: Sequence[FoldAnswers]
) -> bytes:
    """``out_of_fold.csv``: one line for each image, in order of its id.

    Its columns are ``image_id``, ``lesion_id``, ``label``, ``predicted``, ``fold``, ``model`` and
    ``p_LABEL`` for each label.
    """
    models = {own.fold: own.model for own in answers}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names: list[Any] = ["image_id", "lesion_id", "label", "predicted", "fold", "model"]
    writer.writerow([*names, *(f"p_{code}" for code in records.labels)])
    codes = list(records.labels)
    lines = zip(records, rows, fold_of, strict=True)
    for item, row, fold in sorted(lines, key=lambda line: str(line[0].image_id)):
        writer.writerow(
            [escape_cell(item.image_id), escape_cell(item.lesion_id), item.label,
             codes[int(row.argmax())], fold, models[fold], *row.tolist()]
        )  # fmt: skip
    return text.getvalue().encode("utf-8", "surrogateescape")
