"""`Evaluation`: how well a model did on labelled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from skinxai.labels import LabelSet

LEAKED = "LEAKED: these lesions or patients were in training as well."


@dataclass(frozen=True)
class Figure:
    """One figure with its 95 % interval, from a bootstrap over lesions."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


@dataclass(frozen=True)
class Evaluation:
    """How well a model did on labelled images.

    Args:
        accuracy: share of images with the right top class.
        balanced_accuracy: mean recall over classes.
        macro_f1: mean F1 over classes.
        expected_calibration_error: 15 equal bins of the top class's probability.
        brier_score: 0–2.
        precision: of each class.
        recall: of each class.
        f1: of each class.
        auc: of each class against all others.
        confusion: counts, row = true class, column = predicted class.
        images: how many.
        lesions: how many.
        labels: the label set.
        model: ``name@revision``.
        data: which images.
        leaked: whether lesions or patients of these images were in training as well; then the
            figures are worth nothing, and every way of showing them says so.
    """

    accuracy: Figure
    balanced_accuracy: Figure
    macro_f1: Figure
    expected_calibration_error: Figure
    brier_score: Figure
    precision: Mapping[str, Figure]
    recall: Mapping[str, Figure]
    f1: Mapping[str, Figure]
    auc: Mapping[str, Figure]
    confusion: tuple[tuple[int, ...], ...]
    images: int
    lesions: int
    labels: LabelSet
    model: str
    data: str
    leaked: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in values.items():
            if isinstance(value, Figure):
                values[name] = asdict(value)
            elif isinstance(value, Mapping):
                values[name] = {code: asdict(figure) for code, figure in value.items()}
        return values | {"labels": list(self.labels)}

    def to_markdown(self) -> str:
        """Two tables: overall, and for each class."""
        rows = {
            "accuracy": self.accuracy,
            "balanced accuracy": self.balanced_accuracy,
            "macro-F1": self.macro_f1,
            "expected calibration error": self.expected_calibration_error,
            "Brier score": self.brier_score,
        }
        overall = "\n".join(f"| {name} | {figure} |" for name, figure in rows.items())
        classes = "\n".join(
            f"| {code} | {sum(self.confusion[k])} | {self.recall[code]} | {self.precision[code]} "
            f"| {self.f1[code]} | {self.auc[code]} |"
            for k, code in enumerate(self.labels)
        )
        warning = f"**{LEAKED}**\n\n" if self.leaked else ""
        return (
            f"{warning}| figure | value (95 % interval) |\n| --- | --- |\n{overall}\n\n"
            f"| class | images | recall | precision | F1 | AUC |\n"
            f"| --- | --- | --- | --- | --- | --- |\n{classes}"
        )

    def __repr__(self) -> str:
        return (
            f"Evaluation({f'{LEAKED} ' if self.leaked else ''}accuracy={self.accuracy}, "
            f"balanced_accuracy={self.balanced_accuracy}, macro_f1={self.macro_f1}; "
            f"{self.images} images of {self.lesions} lesions)"
        )
