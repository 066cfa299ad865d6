"""Labelled images as a model reads them, and which of them it was trained or calibrated on."""

import warnings
from collections.abc import Collection, Iterable
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.data.hashing import check_ids
from skinxai.data.prepared import check_originals_of
from skinxai.data.records import Records
from skinxai.errors import LeakageError, OptionError, SkinxaiWarning
from skinxai.labels import LabelSet
from skinxai.model_folders.trained_on import SILENT, Look, TrainedOn
from skinxai.plain_text import agreeing, counted
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions, several
from skinxai.predicting.inputs import Look as Looking
from skinxai.results import SeenImages


def check_labels(records: Records, labels: LabelSet) -> None:
    """Refuse records of other labels than the model's, or in another order.

    Raises:
        OptionError: they are.
    """
    if records.labels.codes != labels.codes:
        raise OptionError(
            f"records must have the model's labels {list(labels)} in the same order, got "
            f"{list(records.labels)}; load them with labels=classifier.config.labels."
        )


def refuse_learnt(
    wanted_by: str, images: int, seen: SeenImages, python: str = "leave them out",
    command: str = "leave them out",
) -> None:  # fmt: skip
    """Refuse images that a model learnt from; what is not known of them is a warning.

    ``python`` and ``command`` say how to take other images in their place.

    Raises:
        LeakageError: it learnt from one, or from one that looks like it.
    """
    if seen:
        raise LeakageError(
            f"{wanted_by} needs images that the model did not learn from, but of "
            f"{agreeing(images, 'this', 'these')} {counted(images, 'image')}, {seen.describe()}",
            python=f"{python}, or name copies that are none in not_copies",
            command=f"{command}, or name copies that are none with --not-copies",
        )
    for text in seen.notes:
        warnings.warn(f"{text}.", SkinxaiWarning, stacklevel=4)


class LabelledImages:
    """The images of records, read once, with a look at each to recognise it.

    Where nothing is known to compare them with, they are not looked at, unless ``keep``.

    Raises:
        OptionError: records with other labels, ``on_error="return"``, or an id in ``not_copies``
            that is none.
        DatasetError: original files that are read in the place of prepared pixels have changed.
    """

    def __init__(
        self, model: ModelInUse, records: Records, options: InputOptions, wanted_by: str,
        not_copies: Collection[str], *, keep: bool = False,
    ) -> None:  # fmt: skip
        options.check_raises(f"in {wanted_by}")
        check_labels(records, model.config.labels)
        check_ids(not_copies, records)
        images: Any = [item.path for item in records]
        self._cache, self._resized = records.pixels, False
        preprocessings = model.predictor.preprocessings
        if self._cache is not None and all(self._cache.fits(each) for each in preprocessings):
            cache = self._cache
            images = (cache.read(item.image_id) for item in records)  # the same bits
            images = list(images) if cache.mapped else images  # several threads share a list
            self._resized = cache.image_size is not None
        elif self._cache is not None:
            check_originals_of(records)
        self.images: Iterable[Any] = several(images, options.progress)[1]
        self._records, self._not_copies = records, not_copies
        told = options.progress  # a function is told of images, and not of comparisons
        self._progress: bool | None = False if callable(told) else told
        calibration = model.predictor.calibration
        self._trained, self._looks = trained_images(model), dict[str, Look]()
        self._calibrated = None if calibration is None else calibration.known
        self._keep = keep or self._trained is not None or self._calibrated is not None

    @property
    def look(self) -> Looking | None:
        """Looks at each image while it is read; ``None`` where that tells nothing."""
        return self._look if self._keep else None

    @property
    def looks(self) -> list[Look]:
        """What each image that was read is recognised by, in the order of the records."""
        return [self._looks[item.image_id] for item in self._records]

    def _look(self, index: int, pixels: npt.NDArray[np.uint8]) -> None:
        name = self._records[index].image_id
        if self._cache is None:
            self._looks[name] = Look.at(pixels)
        elif (known := self._cache.fingerprints.get(name)) is not None:
            self._looks[name] = Look(self._cache.hash_of(name), known)
        else:
            digest = self._cache.hash_of(name)
            self._looks[name] = Look.at(pixels, digest, resized=self._resized)

    def seen(self, places: Iterable[int] | None = None) -> SeenImages:
        """Which of the images that were read the model was trained on.

        Args:
            places: of the images in the records; ``None``: all of them.
        """
        if self._trained is None:
            return SILENT
        chosen = range(len(self._records)) if places is None else places
        names = [self._records[place].image_id for place in chosen]
        looks = {name: self._looks[name] for name in names}
        return self._trained.seen(looks, not_copies=self._not_copies, progress=self._progress)

    def calibrated(self) -> SeenImages:
        """Which of the images the model was calibrated on; none of a model that is not."""
        if self._calibrated is None:
            return SeenImages()
        return self._calibrated.seen(
            self._looks, not_copies=self._not_copies, progress=self._progress
        )


def trained_images(model: ModelInUse) -> TrainedOn | None:
    """The training images of all members that say something, or ``None``."""
    members = () if model.exported else model.loaded.members  # a file does not say
    known = [own.trained_on for own in members if own.trained_on is not None]
    return reduce(or_, known) if known else None
