"""How fast each backend predicts on this machine, and how far its answers are from torch's."""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.classifier import Classifier
from skinxai.errors import ModelError, NoInputsError, OptionError
from skinxai.images.limits import MAX_PIXELS
from skinxai.predicting.runners import RUNNERS

Image = str | os.PathLike[str]
WAYS = {name: (name, "float32") for name in ("torch", *RUNNERS)} | {
    "sixteen bits": ("openvino", "bfloat16")
}


@dataclass(frozen=True)
class Speed:
    """One backend.

    Args:
        backend: with its version, as results name it.
        images_per_second: of many files, median over the rounds.
        milliseconds: from one file to its prediction, warm, median.
        difference: largest of a probability, from torch's.
        labels: how many images get another label than torch's.
    """

    backend: str
    images_per_second: float
    milliseconds: float
    difference: float
    labels: int


def prediction_speed(
    images: Sequence[Image],
    model: str | os.PathLike[str] | None = None,
    *,
    rounds: int = 3,
    max_pixels: int = MAX_PIXELS,
) -> tuple[list[Speed], dict[str, str]]:
    """Time `Classifier.predict` from files to probabilities; the backends take turns.

    Args:
        images: files, at least one.
        model: as in `Classifier.from_pretrained`.
        rounds: over all images, >= 1.
        max_pixels: most pixels of an image that are decoded, >= 1.

    Returns:
        A row for each backend that answers, and why the others do not.

    Raises:
        NoInputsError: no images.
    """
    if not images:
        raise NoInputsError("benchmark needs at least one image, got none.")
    classifiers, missing = {}, {}
    for name, (backend, precision) in WAYS.items():
        try:
            classifiers[name] = Classifier.from_pretrained(
                model, backend=backend, precision=precision
            )
        except (OptionError, ModelError) as error:
            if name == "torch":
                raise
            missing[backend] = str(error)
    options: dict[str, Any] = {"max_pixels": max_pixels, "progress": False}
    rows = {name: _rows(each, images, options) for name, each in classifiers.items()}  # and warm
    many: dict[str, list[float]] = {name: [] for name in classifiers}
    one: dict[str, list[float]] = {name: [] for name in classifiers}
    for _ in range(rounds):
        for name, classifier in classifiers.items():
            many[name].append(_seconds(classifier, images, options))
    for image in [images[number % len(images)] for number in range(20)]:
        for name, classifier in classifiers.items():
            one[name].append(_seconds(classifier, image, options))
    found = [
        Speed(
            classifier.backend,
            len(images) / statistics.median(many[name]),
            1000 * statistics.median(one[name]),
            float(np.abs(rows[name] - rows["torch"]).max()),
            int((rows[name].argmax(axis=1) != rows["torch"].argmax(axis=1)).sum()),
        )
        for name, classifier in classifiers.items()
    ]
    return found, missing


def to_lines(found: Sequence[Speed], missing: dict[str, str], images: int) -> Iterator[str]:
    """A Markdown table, and a line for each backend that is missing."""
    yield f"| backend | images/s | one image, ms | largest difference | other labels of {images} |"
    yield "| --- | --- | --- | --- | --- |"
    for row in found:
        yield (
            f"| {row.backend} | {row.images_per_second:.1f} | {row.milliseconds:.1f} | "
            f"{row.difference:.1g} | {row.labels} |"
        )
    for reason in missing.values():
        yield f"\nleft out: {reason}"


def _rows(
    classifier: Classifier, images: Sequence[Image], options: dict[str, Any]
) -> npt.NDArray[np.float64]:
    found = classifier.predict(list(images), **options)
    return np.array([list(each.probabilities.values()) for each in found])


def _seconds(
    classifier: Classifier, images: Sequence[Image] | Image, options: dict[str, Any]
) -> float:
    started = time.perf_counter()
    classifier.predict(images, **options)
    return time.perf_counter() - started
