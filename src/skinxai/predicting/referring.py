"""Images to a `ReferenceSample`, in the place of the one that `calibrate` made."""

from __future__ import annotations

from typing import Any

from skinxai.data.records import Records
from skinxai.errors import ModelError, OptionError
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions, several
from skinxai.results.observation import Observation
from skinxai.trust.reference_sample import ReferenceSample


class _Notes(list[Observation]):
    """A monitor that keeps what it is told."""

    def add(self, observation: Observation) -> None:
        self.append(observation)


def referenced(model: ModelInUse, images: Any, options: InputOptions) -> ModelInUse:
    """The model with a reference of other images; see `Classifier.with_reference`.

    Args:
        model: calibrated.
        images: any, or `Records`.
        options: of reading and batching.

    Raises:
        ModelError: a model without calibration, or an exported file.
        OptionError: records with other labels, or ``on_error="return"``.
    """
    if model.exported or model.predictor.calibration is None:
        raise ModelError(
            f"a reference needs a calibrated model, and {model.predictor.model} was not",
            python="make one with Classifier.calibrate(records)",
            command="make one with 'skinxai calibrate'",
        )
    if options.on_error != "raise":
        raise OptionError("on_error must be 'raise' in with_reference(): no image may be left out.")
    labels, lesions, many = None, None, images
    if isinstance(images, Records):
        if images.labels.codes != model.config.labels.codes:
            raise OptionError(
                f"records must have the model's labels {list(model.config.labels.codes)}, got "
                f"{list(images.labels)}."
            )
        labels, lesions = images.targets(), [item.lesion_id for item in images]
        many = [item.path for item in images]
    notes = _Notes()
    for _ in model.predictions(
        several(many, options.progress)[1], options, tta=False, monitor=notes
    ):
        pass
    made = ReferenceSample.fit(notes, labels, lesions)
    return model.with_reference(made)
