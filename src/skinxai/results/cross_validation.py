"""`OutOfFold`: the models of a cross-validation, each with its figures on its own fold."""

import math
import statistics
from dataclasses import dataclass

SPREAD = ("accuracy", "balanced_accuracy", "macro_f1")
"""Figures of each fold, fields of `FoldResult`."""


@dataclass(frozen=True)
class FoldResult:
    """One fold and the model that answered it.

    Args:
        fold: its number, from 1.
        model: ``name@revision`` of the model, which learnt no lesion of the fold.
        images: images of the fold.
        lesions: lesions of the fold.
        learnt: images that the model learnt from.
        chosen_on: images that its epoch was chosen on; they are neither learnt nor in the fold.
        epoch: the chosen epoch, from 1.
        accuracy: share of the fold's images with the right top class.
        balanced_accuracy: mean recall over the classes of the fold.
        macro_f1: mean F1 over the classes of the fold.
    """

    fold: int
    model: str
    images: int
    lesions: int
    learnt: int
    chosen_on: int
    epoch: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class OutOfFold:
    """Which model answered which images of a cross-validation.

    Args:
        folds: each fold, in order; at least two.
    """

    folds: tuple[FoldResult, ...]

    def spread(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation (n − 1) over the folds of a figure in `SPREAD`.

        The folds' models share most of their training images, so this is no standard error of the
        mean: there is no unbiased one (Bengio & Grandvalet, JMLR 5, 2004).
        """
        values = [float(getattr(each, name)) for each in self.folds]
        if any(map(math.isnan, values)):
            return math.nan, math.nan
        return statistics.fmean(values), statistics.stdev(values)

    def describe(self) -> str:
        """What these figures are of, and what they are not of, in sentences."""
        return (
            f"The figures are out-of-fold: each image was answered by the one of "
            f"{len(self.folds)} models that did not learn its lesion, and the epoch of each model "
            f"was chosen on images outside its fold. They are figures of such models; the "
            f"ensemble of all of them has learnt these images and must be judged on others."
        )
