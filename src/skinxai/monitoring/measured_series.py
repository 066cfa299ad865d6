"""What is compared one number at a time: a name, in words, and where it stands in an answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skinxai.trust.reference_sample import QUALITY, Columns, ReferenceSample

Floats = npt.NDArray[np.float32]


Answers = Columns | ReferenceSample
"""Of a window, or of a reference."""


@dataclass(frozen=True)
class Series:
    """One number of each image.

    Args:
        words: what it is.
        values: of N answers, float32 ``(N,)``.
    """

    words: str
    values: Callable[[Answers], Floats]


def _quality(flag: str, words: str) -> Series:
    place = QUALITY.index(flag)
    return Series(words, lambda answers: answers.quality[:, place])


def _colour(places: list[int], words: str) -> Series:
    return Series(words, lambda answers: np.asarray(answers.colours[:, places].mean(axis=1)))


SERIES: Mapping[str, Series] = {
    "confidence": Series("probability of the top class", lambda a: a.probabilities.max(axis=1)),
    "novelty": Series("how unlike the known images, 0–1", lambda a: a.novelty),
    "resolution": _quality("too_small", "shorter side in pixels"),
    "sharpness": _quality("blurred", "sharpness of the green channel"),
    "noise": _quality("noisy", "noise of the green channel, in levels"),
    "brightness": _quality("too_dark", "90th percentile of the luminance, in levels"),
    "clipping": _quality("overexposed", "share of clipped pixels"),
    "border": _quality("border", "share of dark or white border and vignette"),
    "colour_cast": _quality("colour_cast", "distance of the median colour from the usual one"),
    "contrast": _quality("no_lesion", "contrast of the lesion"),
    "variation": _quality("uniform", "deviation of the channel that varies most, in levels"),
    "lightness": _colour([0], "mean lightness, 0–1"),
    "red_green": _colour([1], "mean of red less green"),
    "yellow_blue": _colour([2], "mean of yellow less blue"),
    "detail": _colour([6, 9], "logarithm of the difference between neighbouring cells"),
}
"""Name → series; each is compared by a Kolmogorov-Smirnov test."""

EMBEDDING, CLASSES = "embedding", "classes"
TESTS: Mapping[str, str] = {
    EMBEDDING: "embeddings, by maximum mean discrepancy",
    CLASSES: "counts of the top classes, by chi-square",
    **{name: each.words for name, each in SERIES.items()},
}
"""Name of every test → what it compares."""


def top_classes(answers: Answers) -> npt.NDArray[np.intp]:
    """Position of each answer's top class, ``(N,)``."""
    return np.asarray(answers.probabilities.argmax(axis=1), np.intp)
