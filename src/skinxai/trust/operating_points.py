"""Operating points: from which malignant probability on a lesion is referred."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.configs import check_keys
from skinxai.errors import CalibrationError, ModelConfigError, OptionError
from skinxai.plain_text import MAX_NAME, agreeing, broken_rule, counted

SCREENING, BALANCED = "screening", "balanced"
SCREENING_SENSITIVITY = 0.95
Z = 1.959963984540054
"""Of the two-sided 95 % interval of a normal distribution."""


@dataclass(frozen=True)
class Rate:
    """A share of lesions with its 95 % interval (Wilson, 1927).

    Args:
        value: 0–1.
        low: end of the interval.
        high: end of the interval.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        numbers = (self.value, self.low, self.high)
        if not all(type(v) in (int, float) and 0 <= v <= 1 for v in numbers):
            raise ModelConfigError(f"a rate and its interval must be in [0, 1], got {numbers}.")

    @classmethod
    def of(cls, hits: float, lesions: float) -> Self:
        """Of lesions, some of which may count in part: those whose images disagree.

        Args:
            hits: 0 to ``lesions``.
            lesions: > 0.
        """
        share, square = hits / lesions, Z * Z / lesions
        centre = (share + square / 2) / (1 + square)
        half = Z * math.sqrt(share * (1 - share) / lesions + square / lesions / 4) / (1 + square)
        low, high = min(share, centre - half), max(share, centre + half)  # 0 and 1 are ends
        return cls(share, max(0.0, low), min(1.0, high))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def told_apart(value: float, limit: float, digits: int = 3) -> tuple[str, str]:
    """A number and its limit as text, with the digits that show which is the larger."""
    while round(value, digits) == round(limit, digits) and value != limit:
        digits += 1  # 0.150 is not below 0.150
    return f"{value:.{digits}f}", f"{limit:.{digits}f}"


def threshold_text(threshold: float) -> str:
    """A threshold with three digits after the point, and more where these would be of 0 or 1.

    One of 0.0003 does not refer all.
    """
    return told_apart(threshold, float(round(threshold)))[0]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and how often it was right on the lesions that it was chosen on.

    Args:
        name: ``"screening"``, ``"balanced"``, or of one's own, as ``"sensitivity 0.90"``.
        rule: how the threshold was chosen, in words.
        threshold: a lesion whose calibrated malignant probability is at least this is referred.
        sensitivity: share of malignant lesions that are referred, on the calibration lesions.
        specificity: share of the other lesions that are not.
    """

    name: str
    rule: str
    threshold: float
    sensitivity: Rate
    specificity: Rate

    def __post_init__(self) -> None:
        for name, text in (("name", self.name), ("rule", self.rule)):
            if broken := broken_rule(f"{name} of an operating point", text, MAX_NAME):
                raise ModelConfigError(broken)
        if type(self.threshold) not in (int, float) or not 0 <= self.threshold <= 1:
            raise ModelConfigError(
                f"threshold of {self.name!r} must be in [0, 1], got {self.threshold!r}."
            )

    def refers(self, malignant_probability: float) -> bool:
        """Whether a lesion with this calibrated malignant probability is referred."""
        return malignant_probability >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`."""
        check_keys("an operating point", cls, values)
        rates = {}
        for name in ("sensitivity", "specificity"):
            check_keys(name, Rate, values[name])
            rates[name] = Rate(**values[name])
        return cls(**{**values, **rates})

    def __str__(self) -> str:
        return (
            f"{self.name}: refer from {threshold_text(self.threshold)} on; "
            f"sensitivity {self.sensitivity}, specificity {self.specificity}"
        )


@dataclass(frozen=True)
class MalignancyScores:
    """Calibration images: their calibrated malignant probability, and whether they are malignant.

    Every lesion counts once: each of its n images counts 1/n.

    Args:
        scores: ``(N,)``, 0–1.
        malignant: bool ``(N,)``.
        lesions: each image's.

    Raises:
        CalibrationError: no malignant lesion, or no other.
    """

    scores: npt.NDArray[np.float64]
    malignant: npt.NDArray[np.bool_]
    lesions: Sequence[str]

    def __post_init__(self) -> None:
        if not self.malignant.any() or self.malignant.all():
            kind = "malignant" if not self.malignant.any() else "benign"
            count = len(self.scores)
            raise CalibrationError(
                f"an operating point needs malignant and benign lesions, "
                f"{agreeing(count, 'this', 'these')} {counted(count, 'image')} "
                f"{agreeing(count, 'has', 'have')} no {kind} one."
            )

    def screening(self) -> OperatingPoint:
        """Sensitivity of at least 0.95 on these lesions."""
        rule = f"sensitivity of at least {SCREENING_SENSITIVITY} on the calibration lesions"
        return self._at(SCREENING, rule, self._holding(sensitivity=SCREENING_SENSITIVITY))

    def balanced(self) -> OperatingPoint:
        """The largest sum of sensitivity and specificity (Youden, 1950)."""
        thresholds, sensitivity, specificity = self._curve()
        both = sensitivity + specificity
        best = int((both >= both.max() - 1e-12).argmax())  # of equal ones the highest sensitivity
        rule = "largest sum of sensitivity and specificity on the calibration lesions"
        return self._at(BALANCED, rule, float(thresholds[best]))

    def holding(
        self, *, sensitivity: float | None = None, specificity: float | None = None
    ) -> OperatingPoint:
        """The best point that holds one rate on these lesions.

        Raises:
            OptionError: not exactly one rate, or none in (0, 1).
            CalibrationError: a specificity that no threshold holds.
        """
        given = {"sensitivity": sensitivity, "specificity": specificity}
        asked = [(name, rate) for name, rate in given.items() if rate is not None]
        if len(asked) != 1 or not 0 < asked[0][1] < 1:
            raise OptionError(
                f"an operating point needs a sensitivity or a specificity in (0, 1), got {given}."
            )
        ((name, rate),) = asked
        short = f"{rate:.2f}"
        shown = short if float(short) == rate else str(rate)  # 0.999 is not 1.00
        rule = f"{name} of at least {shown} on the calibration lesions"
        return self._at(f"{name} {shown}", rule, self._holding(**{name: rate}))

    def _holding(self, *, sensitivity: float = 0.0, specificity: float = 0.0) -> float:
        thresholds, sensitive, specific = self._curve()
        if sensitivity:  # the highest threshold that holds it
            return float(thresholds[sensitive >= sensitivity - 1e-12].max())
        holding = thresholds[specific >= specificity - 1e-12]
        if not len(holding):
            raise CalibrationError(
                f"a specificity of {specificity:g} needs a threshold below which so many benign "
                f"lesions lie, but too many of these have the malignant probability 1; ask for "
                f"less, or calibrate on other images."
            )
        return float(holding.min())

    def _curve(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Thresholds in ascending order, with the sensitivity and the specificity of each.

        Each lies half-way between two scores, so that another backend's last digits decide nothing.
        """
        ends = np.concatenate([[0.0], np.unique(self.scores), [1.0]])
        thresholds = (ends[:-1] + ends[1:]) / 2
        weights = self._weights()
        below = np.searchsorted(np.sort(self.scores), thresholds)
        order = np.argsort(self.scores)
        sums = [
            np.concatenate([[0.0], np.cumsum(np.where(kind, weights, 0.0)[order])])
            for kind in (self.malignant, ~self.malignant)
        ]
        missed, spared = (each[below] / each[-1] for each in sums)
        return thresholds, 1 - missed, spared

    def _weights(self) -> npt.NDArray[np.float64]:
        _, member, counts = np.unique(
            np.asarray(self.lesions), return_inverse=True, return_counts=True
        )
        return np.asarray(1 / counts[member], np.float64)

    def _at(self, name: str, rule: str, threshold: float) -> OperatingPoint:
        weights, referred = self._weights(), self.scores >= threshold
        rates = []
        for kind, right in ((self.malignant, referred), (~self.malignant, ~referred)):
            lesions = len({lesion for lesion, own in zip(self.lesions, kind, strict=True) if own})
            hits = float(weights[kind & right].sum() / weights[kind].sum()) * lesions
            rates.append(Rate.of(min(hits, lesions), lesions))
        return OperatingPoint(name, rule, threshold, *rates)
