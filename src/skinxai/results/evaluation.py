"""`Evaluation`: how well a model did on labelled images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from skinxai.errors import OptionError
from skinxai.labels import LabelSet
from skinxai.plain_text import counted
from skinxai.results.comparison import Comparison
from skinxai.results.cross_validation import OutOfFold
from skinxai.results.evaluation_json import READERS
from skinxai.results.evaluation_tables import tables
from skinxai.results.figures import CalibrationBin, Figure, Gap, RocPoint, Subgroup
from skinxai.results.hard_case import HardCase
from skinxai.results.json_values import from_plain, to_plain
from skinxai.results.malignancy import Decisions, Malignancy
from skinxai.results.seen import SeenImages
from skinxai.results.selective_answers import SelectiveAnswers

LEAKED = "LEAKED: these lesions or patients were in training as well."


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well a model did on labelled images.

    Args:
        leaked: whether these images, or their lesions or patients, were in training; then the
            figures are worth nothing, and every way of showing them says so.
        seen: which images the model was trained on, and what could not be looked for.
        not_known: what else the verdict cannot know, e.g. whose patients they are.
        model: ``name@revision``.
        calibrated_on: the images that its probabilities were calibrated on; ``None`` of a model
            that was not calibrated.
        calibration_seen: which of the judged images these are; on them, calibration errors, Brier
            score and decisions are better than on others.
        data: which images.
        images: how many.
        lesions: how many.
        labels: the label set.
        accuracy: share of images with the right top class.
        balanced_accuracy: mean recall over classes.
        macro_f1: mean F1 over classes.
        expected_calibration_error: 15 equal bins of the top class's probability.
        equal_mass_calibration_error: the same with 15 bins of equal numbers of images.
        classwise_calibration_error: 15 equal bins of each class's probability, mean over classes.
        brier_score: 0–2.
        precision: of each class.
        recall: of each class.
        f1: of each class.
        auc: of each class against all others.
        confusion: counts, row = true class, column = predicted class.
        roc: of each class against all others, points (false positive rate, true positive rate)
            from (0, 0) to (1, 1), at most 200; empty where the class has no images, or no other.
        calibration: the bins of the expected calibration error that hold images, for drawing.
        roc_points: of melanoma, where the label set has it, by name, e.g.
            ``"specificity 0.90"``: its sensitivity where the specificity is at least that.
        malignancy: malignant images against all others; ``None`` where the label set declares
            nothing malignant.
        decisions: what the model decides at each of its operating points, by name; empty of a
            model that has none.
        selective: accuracy where only the surest images are answered.
        subgroups: by sex, age band, site, source and skin tone, where the records know them:
            groups of at least 20 images, without images whose value is not known.
        gaps: how far apart these groups are.
        comparison: with another model, where one was given.
        out_of_fold: of a cross-validation, whose images were answered by several models; ``None``
            of one model.
        hardest: of each class the images with the largest loss, where they were asked for.
        notes: what a reader must know, such as groups that are too small for figures.
    """

    leaked: bool = False
    seen: SeenImages = field(default_factory=SeenImages)
    not_known: tuple[str, ...] = ()
    model: str
    calibrated_on: str | None = None
    calibration_seen: SeenImages = field(default_factory=SeenImages)
    data: str
    images: int
    lesions: int
    labels: LabelSet
    accuracy: Figure
    balanced_accuracy: Figure
    macro_f1: Figure
    expected_calibration_error: Figure
    equal_mass_calibration_error: Figure
    classwise_calibration_error: Figure
    brier_score: Figure
    precision: Mapping[str, Figure]
    recall: Mapping[str, Figure]
    f1: Mapping[str, Figure]
    auc: Mapping[str, Figure]
    confusion: tuple[tuple[int, ...], ...]
    roc: Mapping[str, tuple[tuple[float, float], ...]]
    calibration: tuple[CalibrationBin, ...]
    roc_points: Mapping[str, RocPoint]
    malignancy: Malignancy | None = None
    decisions: Mapping[str, Decisions] = field(default_factory=dict)
    selective: SelectiveAnswers | None = None
    subgroups: tuple[Subgroup, ...] = ()
    gaps: tuple[Gap, ...] = ()
    comparison: Comparison | None = None
    out_of_fold: OutOfFold | None = None
    hardest: tuple[HardCase, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def leak(self) -> str:
        """Why the figures are worth nothing, or an empty text."""
        if not self.leaked:
            return ""
        if not self.seen:
            return LEAKED
        return f"LEAKED: of {counted(self.images, 'image')}, {self.seen.describe()}."

    @property
    def verdict(self) -> str:
        """Whether the model knew these images, and what is not known, in sentences."""
        unknown = "; ".join((*self.seen.notes, *self.not_known))
        rest = f" Not known: {unknown}." if unknown else ""
        if self.calibration_seen:  # counts alone: a card has the verdict, and ids are private
            rest = (
                f" The model was calibrated on {len(self.calibration_seen)} of these images: "
                f"calibration errors, Brier score and decisions are better here than on "
                f"others.{rest}"
            )
        if self.out_of_fold is not None:
            rest = f" {self.out_of_fold.describe()}{rest}"
        if self.leaked:
            return f"{self.leak} The figures are worth nothing.{rest}"
        return (
            f"No leak is known: none of the {counted(self.images, 'image')} was recognised as a "
            f"training image or a copy of one.{rest}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the verdict first; ``None`` where a figure is not defined."""
        values: dict[str, Any] = to_plain(self)
        return {"verdict": self.verdict} | values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `to_dict`.

        Raises:
            OptionError: an unknown or missing key, a value of another type, or another verdict
                than the values give.
        """
        given = values
        if isinstance(values, dict):
            given = {name: value for name, value in values.items() if name != "verdict"}
        found: Self = from_plain(cls, READERS)(given, "evaluation")
        if "verdict" not in values or values["verdict"] != found.verdict:
            raise OptionError(
                f"evaluation.verdict must be {found.verdict!r:.60}, as the other values say, got "
                f"{values.get('verdict')!r:.60}."
            )
        return found

    def to_markdown(self) -> str:
        """The verdict, and tables: overall, each class, each operating point, subgroups, gaps."""
        return tables(self)

    def __repr__(self) -> str:
        return (
            f"Evaluation({f'{self.leak} ' if self.leaked else ''}accuracy={self.accuracy}, "
            f"balanced_accuracy={self.balanced_accuracy}, macro_f1={self.macro_f1}; "
            f"{counted(self.images, 'image')} of {counted(self.lesions, 'lesion')})"
        )
