"""Probabilities of features to an `Evaluation`, as `Classifier.evaluate` makes one of images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.assessment.selective import selective_answers
from skinxai.data.records import Records
from skinxai.predicting.judging import not_known
from skinxai.results import Evaluation, SeenImages


def judge_rows(
    records: Records, rows: npt.NDArray[np.float64], model: str, seen: SeenImages, note: str, *,
    leaked: bool, resamples: int, seed: int,
) -> Evaluation:  # fmt: skip
    """Evaluate probabilities that come from cached features.

    Args:
        records: the images.
        rows: probabilities ``(N, K)``.
        model: name of what answered.
        seen: training images of the starting weights among them.
        note: what a reader must know, without a full stop; empty for nothing.
        leaked: whether the records, or the starting weights, are marked as leaked.
        resamples: of the bootstrap.
        seed: of the resampling.
    """
    target, lesions = records.targets(), [item.lesion_id for item in records]
    found = evaluate_probabilities(
        target, rows, lesions, records.labels, model=model, data=records.described,
        attributes=[item.attributes for item in records],
        leaked=leaked or records.leaked or bool(seen), seen=seen, resamples=resamples, seed=seed,
    )  # fmt: skip
    right = rows.argmax(axis=1) == np.asarray(target)
    selective = selective_answers(
        rows.max(axis=1), right, lesions, {}, resamples=resamples, seed=seed
    )
    return replace(
        found, not_known=tuple(not_known(records)), selective=selective,
        notes=(*found.notes, *([note] if note else [])),
    )  # fmt: skip
