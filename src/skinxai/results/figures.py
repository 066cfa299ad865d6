"""Parts of an `Evaluation`: figures with intervals, and what they are figures of."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure with its 95 % interval.

    The interval is from a bootstrap over lesions; that of a share of decisions, of a bin's
    accuracy, or of a share for which no resample has another value, is Wilson's, see
    `skinxai.assessment.intervals.clustered_share`. NaN where the figure, or its interval, is not
    defined, e.g. the recall of a class without images; shown as ``–``.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        # One object for all NaN: tuples compare what they hold by identity first, so that figures
        # that lack the same are equal.
        for name in ("value", "low", "high"):
            if math.isnan(getattr(self, name)):
                object.__setattr__(self, name, math.nan)

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{self.value:.3f} (–)"
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


@dataclass(frozen=True)
class RocPoint:
    """The best point of a class's ROC curve that holds one of its two rates.

    The threshold is chosen on the judged images themselves, and anew in each resample of the
    interval. So this is a point of their ROC curve, not a promise: a threshold that was fixed
    beforehand, as an operating point's, meets other images at another specificity.

    Args:
        label: the class that is looked for, against all others.
        held: ``"specificity"`` or ``"sensitivity"``.
        at_least: the rate that is held, 0–1.
        figure: the other rate, as high as the curve allows.
    """

    label: str
    held: str
    at_least: float
    figure: Figure

    @property
    def gained(self) -> str:
        """The rate that `figure` is: ``"sensitivity"`` where specificity is held."""
        return "sensitivity" if self.held == "specificity" else "specificity"

    def __str__(self) -> str:
        return f"{self.label} {self.gained} at {self.held} ≥ {self.at_least:.2f}"


@dataclass(frozen=True)
class CalibrationBin:
    """Images whose top class has a probability within one of 15 equal bins.

    Args:
        confidence: mean probability of the top class, 0–1.
        accuracy: share of them that are right, 0–1, with a Wilson interval for as many images as
            the lesions are worth, see `skinxai.assessment.intervals.clustered_share`.
        count: images, > 0.
    """

    confidence: float
    accuracy: Figure
    count: int


@dataclass(frozen=True)
class Subgroup:
    """How well a model did on the images that share an attribute's value.

    Args:
        attribute: ``"sex"``, ``"age"``, ``"site"``, ``"source"``, ``"Fitzpatrick type"`` or
            ``"skin tone (ITA)"``.
        value: e.g. ``"female"``, ``"50–69"``, ``"back"``.
        images: how many.
        lesions: how many.
        classes: how many occur; the means over classes are over these, so groups with different
            classes do not compare in them.
        accuracy: share of images with the right top class.
        balanced_accuracy: mean recall over the classes that occur.
        macro_f1: mean F1 over the classes that occur.
    """

    attribute: str
    value: str
    images: int
    lesions: int
    classes: int
    accuracy: Figure
    balanced_accuracy: Figure
    macro_f1: Figure


@dataclass(frozen=True)
class Gap:
    """How far apart the groups of one attribute are in one figure.

    Args:
        attribute: of the groups, as in `Subgroup`.
        figure: ``"accuracy"``, ``"malignant recall"``, the share of the malignant images whose top
            class is malignant, or ``"benign recall"``, the share of the others whose top class is
            not.
        best: the group with the largest value.
        worst: the group with the smallest value.
        difference: largest minus smallest, 0–1. Chance alone makes groups differ, so the low end is
            lowered by the most that it may add; 0 means that chance alone may explain the gap.
    """

    attribute: str
    figure: str
    best: str
    worst: str
    difference: Figure
