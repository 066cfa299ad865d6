"""Images to a `ReferenceSample`, in the place of the one that `calibrate` made."""

from collections import Counter
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.data.hashing import check_ids
from skinxai.data.records import Records
from skinxai.errors import ModelError
from skinxai.model_folders.trained_on import SILENT, Look
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions, several
from skinxai.predicting.labelled import check_labels, refuse_learnt, trained_images
from skinxai.predicting.streaming import predictions
from skinxai.results.observation import Observations
from skinxai.trust.reference_sample import ReferenceSample


def referenced(
    model: ModelInUse, images: Any, options: InputOptions, not_copies: Collection[str] = ()
) -> ModelInUse:
    """The model with a reference of other images; see `Classifier.with_reference`."""
    if model.exported or model.predictor.calibration is None:
        raise ModelError(
            f"a reference needs a calibrated model, and {model.predictor.model} was not",
            python="make one with Classifier.calibrate(records)",
            command="make one with 'skinxai calibrate'",
        )
    options.check_raises("in with_reference()")
    labels, lesions, many = None, None, images
    if isinstance(images, Records):
        check_labels(images, model.config.labels)
        labels, lesions = images.targets(), [item.lesion_id for item in images]
        many = [item.path for item in images]
        check_ids(not_copies, [item.image_id for item in images])
    notes, looks, known = Observations(), dict[int, Look](), trained_images(model)

    def look(index: int, pixels: npt.NDArray[np.uint8]) -> None:
        looks[index] = Look.at(pixels)

    names = [
        each.source
        for each in predictions(
            model.predictor, several(many, options.progress)[1], options, monitor=notes,
            look=None if known is None else look,
        )
    ]  # fmt: skip
    if isinstance(images, Records):
        names = [item.image_id for item in images]
    else:
        names = _each_once(names)
        check_ids(not_copies, names)
    own = {names[place]: looks[place] for place in sorted(looks)}
    seen = SILENT if known is None else known.seen(own, not_copies=not_copies, progress=False)
    refuse_learnt("a reference", len(names), seen)
    return model.with_reference(ReferenceSample.fit(notes, labels, lesions))


def _each_once(names: list[str]) -> list[str]:
    """The names, and the place of each image whose name others have as well."""
    count = Counter(names)
    return [name if count[name] == 1 else f"{name} [{k}]" for k, name in enumerate(names)]
