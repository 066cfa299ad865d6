"""Whether an image is good enough to be classified: limits for the measures of its pixels.

Each check compares one number with one limit. The limits are fitted on calibration images, because
what is usual differs between cameras.
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import InputRangeError, ModelConfigError, OptionError, UnknownNameError
from skinxai.readonly import ReadOnly
from skinxai.trust.image_measures import MEASURES, Check, measure

__all__ = ["MEASURES", "Check", "QualityLimits", "measure"]


@dataclass(frozen=True)
class QualityLimits:
    """The limit of each check in `MEASURES`.

    Args:
        limits: a finite number for each flag; a value equal to its limit is allowed.
        images: number of calibration images on which the limits were fitted.
    """

    limits: Mapping[str, float]
    images: int

    def __post_init__(self) -> None:
        if not isinstance(self.limits, Mapping) or set(self.limits) != set(MEASURES):
            raise ModelConfigError(
                f"limits must have exactly the keys {sorted(MEASURES)}, got {self.limits!r:.200}."
            )
        for flag, limit in self.limits.items():
            if type(limit) not in (int, float) or not math.isfinite(limit):
                raise ModelConfigError(f"limits.{flag} must be a finite number, got {limit!r}.")
        if type(self.images) is not int or self.images < 1:
            raise ModelConfigError(f"images must be an integer >= 1, got {self.images!r}.")
        limits = {flag: float(self.limits[flag]) for flag in MEASURES}
        object.__setattr__(self, "limits", ReadOnly(limits))

    @classmethod
    def fit(cls, measured: Sequence[Mapping[str, float]], *, rejected: float = 0.01) -> Self:
        """Limits that flag at most a share of the calibration images.

        Each check allows the same number of extreme images, the largest for which at most the
        share ``rejected`` of all images has any flag. No limit becomes stricter than the
        `Check.tolerated` value, so few or uniform calibration images do not make the gate refuse
        ordinary ones. With fewer than ``1 / rejected`` images, none of them is flagged.

        Args:
            measured: what `measure` returned for each calibration image.
            rejected: largest share of these images that may have a flag, in [0, 0.5].

        Raises:
            OptionError: no images, a measure missing, or ``rejected`` outside its range.
            InputRangeError: a measure that is NaN or infinite.
        """
        if type(rejected) not in (int, float) or not 0 <= rejected <= 0.5:
            raise OptionError(f"rejected must be in [0, 0.5], got {rejected!r}.")
        if not measured:
            raise OptionError(
                "measured must have at least one image's measures, got none; "
                "pass what measure() returned for each calibration image."
            )
        columns = {flag: np.empty(len(measured)) for flag in MEASURES}
        for row, values in enumerate(measured):
            for flag in MEASURES:
                columns[flag][row] = _value(values, flag)
        allowed = int(rejected * len(measured))
        bounds = {flag: _bounds(MEASURES[flag], columns[flag]) for flag in MEASURES}

        def flagged(extreme: int) -> int:
            hit = np.zeros(len(measured), bool)
            for flag, column in columns.items():
                limit = bounds[flag][extreme]
                hit |= column < limit if MEASURES[flag].bad == "low" else column > limit
            return int(hit.sum())

        # Where each check allows its worst image, none is flagged; from there the count grows.
        extreme = bisect.bisect_right(range(allowed + 1), allowed, key=flagged) - 1
        return cls({flag: float(bounds[flag][extreme]) for flag in MEASURES}, len(measured))

    def flags(self, measured: Mapping[str, float]) -> dict[str, float]:
        """The flags that are raised, each with its measured value, in the order of `MEASURES`.

        Raises:
            OptionError: a measure is missing.
            InputRangeError: a measure that is NaN or infinite.
        """
        values = {flag: _value(measured, flag) for flag in MEASURES}
        return {f: v for f, v in values.items() if MEASURES[f].breaks(v, self.limits[f])}

    def sentence(self, flag: str, value: float) -> str:
        """A raised flag in words: ``"blurred: sharpness 0.8, below the limit of 3"``.

        Raises:
            UnknownNameError: no such flag.
            OptionError: ``value`` is within the limit.
        """
        if flag not in MEASURES:
            raise UnknownNameError(f"flag must be one of {sorted(MEASURES)}, got {flag!r}.")
        check, limit = MEASURES[flag], self.limits[flag]
        if not check.breaks(value, limit):
            raise OptionError(f"value of {flag} must break its limit {limit}, got {value!r}.")
        side = "below" if check.bad == "low" else "above"
        digits = 2
        while digits < 17 and f"{value:.{digits}g}" == f"{limit:.{digits}g}":
            digits += 1
        return (
            f"{check.words}: {check.short} {_plain(value, digits)}, {side} the limit of "
            f"{_plain(limit, digits)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"limits": dict(self.limits), "images": self.images}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`.

        Raises:
            ModelConfigError: anything that `to_dict` does not return.
        """
        if not isinstance(values, Mapping) or set(values) != {"limits", "images"}:
            raise ModelConfigError(
                f"quality must be a JSON object with exactly the keys ['images', 'limits'], got "
                f"{values!r:.200}."
            )
        return cls(**values)


def _bounds(check: Check, column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The limits that allow the worst, the second worst and so on, none beyond the tolerated."""
    if check.bad == "low":
        return np.minimum(np.sort(column), check.tolerated)
    return np.maximum(np.sort(column)[::-1], check.tolerated)


def _value(values: Mapping[str, float], flag: str) -> float:
    if not isinstance(values, Mapping) or flag not in values:
        raise OptionError(f"measured must have the measure {flag!r}, got {values!r:.200}.")
    if not math.isfinite(value := float(values[flag])):
        raise InputRangeError(f"the measure {flag!r} must be finite, got {value}.")
    return value


def _plain(value: float, digits: int) -> str:
    return f"{float(f'{value:.{digits}g}'):g}" if digits <= 6 else repr(value)
