"""`Evaluation`: how well a model did on labelled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from skinxai.labels import LabelSet
from skinxai.plain_text import markdown
from skinxai.results.figures import CalibrationBin, Figure, OperatingPoint, Subgroup
from skinxai.results.json_values import (
    by_name,
    exactly,
    from_plain,
    label_set,
    many,
    number,
    to_plain,
)
from skinxai.results.seen import SeenImages

LEAKED = "LEAKED: these lesions or patients were in training as well."


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
        roc: of each class against all others, points (false positive rate, true positive rate)
            from (0, 0) to (1, 1), at most 200; empty where the class has no images, or no other.
        calibration: the bins of the expected calibration error that hold images, for drawing.
        operating_points: of melanoma, where the label set has it, by name, e.g.
            ``"specificity 0.90"``: its sensitivity where the specificity is at least that.
        subgroups: by sex, age band and site, where the records know them: groups of at least 20
            images, without images whose value is not known.
        images: how many.
        lesions: how many.
        labels: the label set.
        model: ``name@revision``.
        data: which images.
        leaked: whether these images, or their lesions or patients, were in training; then the
            figures are worth nothing, and every way of showing them says so.
        seen: which images the model was trained on, and what could not be looked for.
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
    roc: Mapping[str, tuple[tuple[float, float], ...]]
    calibration: tuple[CalibrationBin, ...]
    operating_points: Mapping[str, OperatingPoint]
    subgroups: tuple[Subgroup, ...]
    images: int
    lesions: int
    labels: LabelSet
    model: str
    data: str
    leaked: bool = False
    seen: SeenImages = field(default_factory=SeenImages)

    @property
    def leak(self) -> str:
        """Why the figures are worth nothing, or an empty text."""
        if not self.leaked:
            return ""
        return f"LEAKED: of {self.images} images, {self.seen.describe()}." if self.seen else LEAKED

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``None`` where a figure is not defined."""
        values: dict[str, Any] = to_plain(self)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`.

        Raises:
            OptionError: an unknown or missing key, or a value of another type.
        """
        found: Self = from_plain(cls, _READERS)(values, "evaluation")
        return found

    def to_markdown(self) -> str:
        """Tables: overall, for each class, and for each subgroup where there are any."""
        rows: dict[str, Figure] = {
            "accuracy": self.accuracy,
            "balanced accuracy": self.balanced_accuracy,
            "macro-F1": self.macro_f1,
            "expected calibration error": self.expected_calibration_error,
            "Brier score": self.brier_score,
        } | {str(point): point.figure for point in self.operating_points.values()}
        overall = "\n".join(f"| {markdown(name)} | {figure} |" for name, figure in rows.items())
        classes = "\n".join(
            f"| {markdown(code)} | {sum(self.confusion[k])} | {self.recall[code]} "
            f"| {self.precision[code]} | {self.f1[code]} | {self.auc[code]} |"
            for k, code in enumerate(self.labels)
        )
        groups = "\n".join(
            f"| {markdown(f'{g.attribute} {g.value}')} | {g.images} | {g.classes} | {g.accuracy} "
            f"| {g.balanced_accuracy} | {g.macro_f1} |"
            for g in self.subgroups
        )
        warning = f"**{markdown(self.leak)}**\n\n" if self.leaked else ""
        warning += "".join(f"Note: {markdown(text)}.\n\n" for text in self.seen.notes)
        text = (
            f"{warning}| figure | value (95 % interval) |\n| --- | --- |\n{overall}\n\n"
            f"| class | images | recall | precision | F1 | AUC |\n"
            f"| --- | --- | --- | --- | --- | --- |\n{classes}"
        )
        heads = "| subgroup | images | classes | accuracy | balanced accuracy | macro-F1 |"
        return f"{text}\n\n{heads}\n{'| --- ' * 6}|\n{groups}" if groups else text

    def __repr__(self) -> str:
        return (
            f"Evaluation({f'{self.leak} ' if self.leaked else ''}accuracy={self.accuracy}, "
            f"balanced_accuracy={self.balanced_accuracy}, macro_f1={self.macro_f1}; "
            f"{self.images} images of {self.lesions} lesions)"
        )


_WORDS = {"str": exactly(str), "int": exactly(int), "float": number}
_FIGURE = from_plain(Figure, _WORDS)
_READERS = _WORDS | {
    "bool": exactly(bool),
    "Figure": _FIGURE,
    "Mapping[str, Figure]": by_name(_FIGURE),
    "tuple[tuple[int, ...], ...]": many(many(exactly(int))),
    "Mapping[str, tuple[tuple[float, float], ...]]": by_name(many(many(number))),
    "tuple[CalibrationBin, ...]": many(from_plain(CalibrationBin, _WORDS)),
    "Mapping[str, OperatingPoint]": by_name(
        from_plain(OperatingPoint, _WORDS | {"Figure": _FIGURE})
    ),
    "tuple[Subgroup, ...]": many(from_plain(Subgroup, _WORDS | {"Figure": _FIGURE})),
    "LabelSet": label_set,
    "SeenImages": from_plain(SeenImages, {"tuple[str, ...]": many(exactly(str))}),
}
"""What reads a field of `Evaluation`, by its annotation."""
