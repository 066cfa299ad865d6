"""Labelled images to an `Evaluation`, with a look for images that the model was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Collection

import numpy as np

from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.data.given import names_parts
from skinxai.data.records import Records
from skinxai.errors import SkinxaiWarning
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions
from skinxai.predicting.labelled import LabelledImages
from skinxai.predicting.predictor import predictions
from skinxai.results import Evaluation, Prediction


def judge(
    model: ModelInUse, records: Records, options: InputOptions, *, resamples: int, seed: int,
    tta: bool, not_copies: Collection[str],
) -> Evaluation:  # fmt: skip
    """Predict labelled images and judge the answers; see `Classifier.evaluate`.

    Args:
        model: that predicts.
        records: with the model's labels.
        options: of reading and batching.
        resamples: of the lesions.
        seed: of the resampling.
        tta: as in `skinxai.predicting.predictor.Predictor.predict`.
        not_copies: ids of images that look like copies of training images and are none.

    Raises:
        OptionError: records with other labels, ``on_error="return"``, or an id in ``not_copies``
            that is none.
        InputError: an image that cannot be read.
    """
    labelled = LabelledImages(model, records, options, "evaluate()", not_copies)
    codes = model.config.labels.codes
    if not records.part and names_parts(records):
        warnings.warn(
            "records hold several parts of the split that their data came with, and all are "
            "judged; take the test part alone with given_part(records, 'test').", SkinxaiWarning, 3,
        )  # fmt: skip
    found = predictions(model.predictor, labelled.images, options, tta=tta, look=labelled.look)
    rows = [
        [p.probabilities[code] for code in codes]
        for p in found
        if isinstance(p, Prediction)  # and all are: on_error is "raise"
    ]
    seen = labelled.seen()
    return evaluate_probabilities(
        records.targets(),
        np.asarray(rows),
        [item.lesion_id for item in records],
        records.labels,
        model=model.predictor.model,
        data=records.described,
        attributes=[item.attributes for item in records],
        leaked=records.leaked
        or bool(seen)
        or any("leaked" in config.training_data for config in model.configs),
        seen=seen,
        resamples=resamples,
        seed=seed,
    )
