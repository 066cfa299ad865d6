"""Labelled images to an `Evaluation`, with a look for images that the model was trained on."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.assessment.evaluating import evaluate_probabilities
from skinxai.data.given import names_parts
from skinxai.data.hashing import check_ids
from skinxai.data.records import Records
from skinxai.errors import OptionError, SkinxaiWarning
from skinxai.model_folders.trained_on import SILENT, Look, TrainedOn
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions, several
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
    codes = model.config.labels.codes
    if options.on_error != "raise":
        raise OptionError("on_error must be 'raise' in evaluate(): no image may be left out.")
    if records.labels.codes != codes:
        raise OptionError(
            f"records must have the model's labels {list(codes)}, got {list(records.labels)}."
        )
    if not records.part and names_parts(records):
        warnings.warn(
            "records hold several parts of the split that their data came with, and all are "
            "judged; take the test part alone with given_part(records, 'test').", SkinxaiWarning, 3,
        )  # fmt: skip
    images: Any = [item.path for item in records]
    cache, resized = records.pixels, False
    if cache is not None and all(cache.fits(each) for each in model.predictor.preprocessings):
        images = (cache.read(item.image_id) for item in records)  # the same bits
        resized = cache.image_size is not None
    check_ids(not_copies, records)
    known, looks = _known(model), dict[str, Look]()

    def look(index: int, pixels: npt.NDArray[np.uint8]) -> None:
        name = records[index].image_id
        digest = None if cache is None else cache.hash_of(name)
        looks[name] = Look.at(pixels, digest, resized=resized)

    many = several(images, options.progress)[1]
    seeing = None if known is None else look
    found = predictions(model.predictor, many, options, tta=tta, look=seeing)
    rows = [
        [p.probabilities[code] for code in codes]
        for p in found
        if isinstance(p, Prediction)  # and all are: on_error is "raise"
    ]
    in_order = {item.image_id: looks[item.image_id] for item in records if known is not None}
    seen = SILENT if known is None else known.seen(in_order, not_copies=not_copies)
    return evaluate_probabilities(
        records.targets(),
        np.asarray(rows),
        [item.lesion_id for item in records],
        records.labels,
        model=model.predictor.model,
        data=", ".join(filter(None, (records.name, records.part and f"{records.part} part"))),
        attributes=[item.attributes for item in records],
        leaked=records.leaked
        or bool(seen)
        or any("leaked" in config.training_data for config in model.configs),
        seen=seen,
        resamples=resamples,
        seed=seed,
    )


def _known(model: ModelInUse) -> TrainedOn | None:
    """The training images of all members that say something, or ``None``."""
    members = () if model.exported else model.loaded.members  # a file does not say
    known = [own.trained_on for own in members if own.trained_on is not None]
    return reduce(or_, known) if known else None
