"""The one place that makes an `Explanation`: maps of passes, averaged in pixels of the source."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from skinxai.predicting.inputs import Prepared
from skinxai.readonly import ReadOnly
from skinxai.results import Explanation
from skinxai.results.drawing import resize_map
from skinxai.results.probabilities import weighted_mean


class Circumstances(TypedDict):
    """Fields that the explanations of one batch share; see `Explanation`."""

    against: str | None
    score: str
    method: str
    layer: str
    options: ReadOnly[str, Any]
    model: str
    backend: str
    versions: ReadOnly[str, str]


def explanation(
    item: Prepared,
    circumstances: Circumstances,
    *,
    target: str,
    weights: Sequence[float],
    maps: Mapping[str, Iterable[npt.NDArray[Any]]],
    scores: Mapping[str, Iterable[float]],
    seconds: float,
) -> Explanation:
    """One image's explanation.

    Args:
        item: the image, with the pixels of its source.
        circumstances: what it shares with others.
        target: label that is explained.
        weights: each pass's share of the mean.
        maps: name → one map ``(h, w)`` of each pass, of the whole image.
        scores: name → one score of each pass.
        seconds: that the explanation took.
    """
    assert item.pixels is not None
    size = (item.pixels.shape[0], item.pixels.shape[1])

    def mean_map(values: Iterable[npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        resized = (resize_map(each, size) for each in values)
        return weighted_mean(weights, resized).astype(np.float32)

    def mean(values: Iterable[float]) -> float:
        return float(weighted_mean(weights, (np.asarray(each) for each in values)))

    return Explanation(
        maps=ReadOnly({name: mean_map(values) for name, values in maps.items()}),
        scores=ReadOnly({name: mean(values) for name, values in scores.items()}),
        target=target,
        source=item.source,
        seconds=seconds,
        pixels=item.pixels,
        warnings=item.warnings,
        **circumstances,
    )
