"""An `Evaluation` as Markdown: the verdict, then tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from skinxai.plain_text import markdown
from skinxai.results.cross_validation import SPREAD
from skinxai.results.figures import Figure

if TYPE_CHECKING:
    from skinxai.results.comparison import Comparison
    from skinxai.results.cross_validation import OutOfFold
    from skinxai.results.evaluation import Evaluation


def tables(found: Evaluation) -> str:
    """The whole text; what an evaluation has not is left out."""
    verdict = markdown(found.verdict)
    lines = [f"**{verdict}**" if found.leaked else verdict]
    lines += [f"Note: {markdown(text)}." for text in found.notes]
    if found.selective is not None:
        lines += [f"Note: {markdown(text)}." for text in found.selective.notes]
    return "\n\n".join(filter(None, [*lines, *_tables(found)]))


def _tables(found: Evaluation) -> Iterator[str]:
    yield _table(("figure", "value (95 % interval)"), _overall(found))
    yield _table(
        ("class", "images", "recall", "precision", "F1", "AUC"),
        (
            (code, sum(found.confusion[k]), found.recall[code], found.precision[code],
             found.f1[code], found.auc[code])
            for k, code in enumerate(found.labels)
        ),
    )  # fmt: skip
    yield _table(
        ("operating point", "referred", "missed", "missed lesions", "spared", "abstained",
         "sensitivity", "specificity"),
        (
            (f"{name}{' (default)' if each.default else ''}", each.referred, each.missed,
             each.missed_lesions, each.spared, each.abstained, each.sensitivity, each.specificity)
            for name, each in found.decisions.items()
        ),
    )  # fmt: skip
    if found.comparison is not None:
        yield _compared(found.model, found.comparison)
    if found.out_of_fold is not None:
        yield _by_fold(found.out_of_fold)
    yield _table(
        ("subgroup", "images", "classes", "accuracy", "balanced accuracy", "macro-F1"),
        (
            (f"{g.attribute} {g.value}", g.images, g.classes, g.accuracy, g.balanced_accuracy,
             g.macro_f1)
            for g in found.subgroups
        ),
    )  # fmt: skip
    yield _table(
        ("gap", "figure", "largest", "smallest", "difference"),
        ((g.attribute, g.figure, g.best, g.worst, g.difference) for g in found.gaps),
    )
    yield _table(
        ("hardest image", "true", "answered", "probability", "of the true class"),
        (
            (case.image_id, case.label, case.answered, f"{case.probability:.3f}",
             f"{case.true_probability:.3f}")
            for case in found.hardest
        ),
    )  # fmt: skip


def _overall(found: Evaluation) -> Iterator[tuple[str, Figure]]:
    yield "accuracy", found.accuracy
    yield "balanced accuracy", found.balanced_accuracy
    yield "macro-F1", found.macro_f1
    yield "expected calibration error", found.expected_calibration_error
    yield "calibration error, equal-mass bins", found.equal_mass_calibration_error
    yield "calibration error, class-wise", found.classwise_calibration_error
    yield "Brier score", found.brier_score
    yield from ((str(point), point.figure) for point in found.roc_points.values())
    if found.malignancy is not None:
        yield "malignant AUC", found.malignancy.auc
        yield "malignant partial AUC above 80 % sensitivity, 0–0.2", found.malignancy.partial_auc
    if found.selective is not None:
        yield "AURC of the top probability", found.selective.aurc
        for coverage, figure in found.selective.accuracy_at.items():
            yield f"accuracy at {float(coverage):.0%} coverage", figure


def _by_fold(found: OutOfFold) -> str:
    rows: list[tuple[object, ...]] = [
        (each.fold, each.images, each.lesions, each.epoch,
         *(f"{getattr(each, name):.3f}" for name in SPREAD))
        for each in found.folds
    ]  # fmt: skip
    spread = ("{:.3f} ± {:.3f}".format(*found.spread(name)) for name in SPREAD)
    rows.append(("mean ± standard deviation", "", "", "", *spread))
    heads = ("fold", "images", "lesions", "epoch", *(name.replace("_", " ") for name in SPREAD))
    return _table(heads, rows)


def _compared(model: str, other: Comparison) -> str:
    rows = (
        (name, f"{pair.model:.3f}", f"{pair.against:.3f}", signed(pair.difference))
        for name, pair in other.figures.items()
    )
    table = _table(("figure", model, other.against, "difference"), rows)
    test = other.mcnemar
    words = (
        f"{'**LEAKED: the other model was trained on these images.** ' if other.leaked else ''}"
        f"McNemar test on lesions: {test.model} for {markdown(model)}, {test.against} for "
        f"{markdown(other.against)}, p = {test.p_value:.3g}."
    )
    return f"{table}\n\n{words}"


def signed(figure: Figure) -> str:
    """A difference with its interval, each with its sign; a dash where it is not defined."""
    if math.isnan(figure.value):
        return "–"
    if math.isnan(figure.low):
        return f"{figure.value:+.3f} (–)"
    return f"{figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f})"


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, or an empty text without rows; figures and counts need no escapes."""
    lines = [
        f"| {' | '.join(markdown(cell) if isinstance(cell, str) else str(cell) for cell in row)} |"
        for row in rows
    ]
    if not lines:
        return ""
    head = f"| {' | '.join(map(markdown, heads))} |\n|{' --- |' * len(heads)}"
    return "\n".join([head, *lines])
