"""The figures of one model's answers on any choice of images, as a bootstrap asks for them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from skinxai.assessment.intervals import mean_of_shares, with_width
from skinxai.assessment.metrics import brier_score, confusion_matrix, metrics_of, one_vs_rest_auc
from skinxai.assessment.net_benefit import THRESHOLDS, worth_of
from skinxai.assessment.roc import area, area_above, rate_at, roc_curve
from skinxai.labels import LabelSet
from skinxai.results import Figure

Floats = npt.NDArray[np.float64]
Name = tuple[str, str]
"""A figure, and the class, the point or the threshold that it is of, or an empty text."""
MELANOMA = "mel"
ROC_POINTS = (
    ("specificity", 0.80),
    ("specificity", 0.90),
    ("specificity", 0.95),
    ("sensitivity", 0.95),
)
"""Points of melanoma's ROC curve: the rate that is held, and its value."""
SHARES = ("accuracy", "precision", "recall")
MEANS = ("balanced accuracy", "macro-F1")
ISIC_SENSITIVITY = 0.8
"""Above which the partial area of the ISIC 2024 challenge lies."""


def malignant_scores(
    truth: npt.NDArray[np.int64], probabilities: Floats, labels: LabelSet
) -> tuple[npt.NDArray[np.bool_], Floats] | None:
    """Which images are malignant, and their malignant probability, ``(N,)`` each, if any may be."""
    kinds = [labels.position(code) for code in labels if code in (labels.malignant or ())]
    if not kinds:
        return None
    return np.isin(truth, kinds), np.minimum(probabilities[:, kinds].sum(axis=1), 1.0)


class FigureRows:
    """Figures of images with known classes; a call gives those of some rows.

    Args:
        truth: ``(N,)``, class positions.
        probabilities: ``(N, K)``.
        labels: the label set.
    """

    def __init__(
        self, truth: npt.NDArray[np.int64], probabilities: Floats, labels: LabelSet
    ) -> None:
        self._truth, self._scores, self._labels = truth, probabilities, labels
        self._guesses = probabilities.argmax(axis=1)
        self._melanoma = labels.position(MELANOMA) if MELANOMA in labels else None
        self._malignant = malignant_scores(truth, probabilities, labels)
        self._worth = None if self._malignant is None else worth_of(*self._malignant)
        names: list[Name] = [
            (figure, code) for figure in ("precision", "recall", "F1", "AUC") for code in labels
        ]
        overall = ("accuracy", "balanced accuracy", "macro-F1", "Brier score")
        names += [(figure, "") for figure in overall]
        if self._melanoma is not None:
            names += [("ROC point", f"{held} {at_least:.2f}") for held, at_least in ROC_POINTS]
        if self._worth is not None:
            names += [("malignant AUC", ""), ("malignant partial AUC", "")]
            names += [("net benefit", f"{threshold:.2f}") for threshold in THRESHOLDS]
        self.names = tuple(names)

    def __call__(self, rows: npt.NDArray[np.int64]) -> Floats:
        """The figures in the order of `names`, of the images at these places."""
        truth, scores = self._truth[rows], self._scores[rows]
        found = metrics_of(confusion_matrix(truth, self._guesses[rows], len(self._labels)))
        overall = [found.accuracy, found.balanced_accuracy, found.macro_f1]
        overall.append(brier_score(truth, scores))
        if self._melanoma is not None:
            curve = roc_curve(truth == self._melanoma, scores[:, self._melanoma])
            overall += [rate_at(*point, *curve) for point in ROC_POINTS]
        parts: list[npt.ArrayLike] = [
            found.precision,
            found.recall,
            found.f1,
            one_vs_rest_auc(truth, scores),
            overall,
        ]
        if self._malignant is not None and self._worth is not None:
            curve = roc_curve(*(values[rows] for values in self._malignant))
            parts.append([area(*curve), area_above(ISIC_SENSITIVITY, *curve)])
            parts.append(self._worth[rows].mean(axis=0))
        return np.concatenate([np.asarray(part, np.float64) for part in parts])

    def figure(self, name: Name, ends: Sequence[float], lesions: Sequence[str]) -> Figure:
        """A figure with its interval, as far as a bootstrap over lesions knows one.

        Args:
            name: of `names`.
            ends: its value, and the ends of `clustered_bootstrap`.
            lesions: each image's, ``(N,)``.

        Returns:
            With NaN ends if `lone`, or no resample had another value; but then with those of
            `clustered_share` if it is a share of images. Means over classes: see `mean_of_shares`.
        """
        found, each = Figure(*ends), np.asarray(lesions)
        if self.lone(name, each):
            return Figure(found.value, float("nan"), float("nan"))
        if name[0] == "net benefit":  # 0 where no image is referred
            return found
        right = self._guesses == self._truth
        if name[0] in MEANS:
            return mean_of_shares(found, right, self._truth, lesions)
        if name[0] not in SHARES:
            return with_width(found)
        own = (*self._groups(name), np.ones(len(each), np.bool_))[0]
        return with_width(found, right[own], each[own].tolist())

    def lone(self, name: Name, lesions: npt.NDArray[np.str_]) -> bool:
        """Whether a group that a figure is the rate of, or tells apart, is of one lesion.

        A resample has that lesion or no value, so that a bootstrap over lesions knows no interval.
        """
        return any(len(np.unique(lesions[group])) < 2 for group in self._groups(name))

    def _groups(self, name: Name) -> tuple[npt.NDArray[np.bool_], ...]:
        """``(N,)`` each; none: all images."""
        figure, code = name
        if figure in ("precision", "recall", "AUC"):
            answers = self._guesses if figure == "precision" else self._truth
            group = answers == self._labels.position(code)
        elif figure == "ROC point":
            group = self._truth == self._melanoma
        elif self._malignant is not None and figure in ("malignant AUC", "malignant partial AUC"):
            group = self._malignant[0]
        else:
            return ()
        return (group,) if figure in SHARES else (group, ~group)
