"""Cards of an evaluation's page: what the classes, the probabilities and the groups give."""

import html

from skinxai.plain_text import counted
from skinxai.reporting import evaluation_charts
from skinxai.reporting.blocks import card, figure_cell, figure_text, table, tile, tiles
from skinxai.results import Evaluation


def classes(evaluation: Evaluation) -> str:
    """The figures of each class."""
    rows: list[list[str | int]] = []
    for k, code in enumerate(evaluation.labels):
        why, long_name = why_not(evaluation, code), evaluation.labels.long_name(code)
        first = f"<span class='code'>{html.escape(code)}</span>"
        if code in (evaluation.labels.malignant or ()):
            first += " <span class='tag'>malignant</span>"
        if long_name != code:
            first += f"<br><span class='soft'>{html.escape(long_name)}</span>"
        found = (evaluation.recall, evaluation.precision, evaluation.f1, evaluation.auc)
        cells = [figure_cell(figures[code], why) for figures in found]
        rows.append([first, sum(evaluation.confusion[k]), *cells])
    return card(
        "Each class",
        "With 95 % intervals, on a scale from 0 to 1. AUC is against all other classes.",
        table(("class", "images", "recall", "precision", "F1", "AUC"), rows),
    )


def confusion(evaluation: Evaluation) -> str:
    """The confusion matrix."""
    return card(
        "Confusion matrix",
        "Counts of images; the colour is the share of the row: blue for right answers, orange "
        "for others.",
        evaluation_charts.confusion_chart(evaluation),
        "chart wide" if len(evaluation.labels) > 10 else "chart",
    )


def reliability(evaluation: Evaluation) -> str:
    """The reliability diagram, and its bins as a table."""
    rows: list[list[str | int]] = [
        [f"{each.confidence:.3f}", figure_text(each.accuracy, ""), each.count]
        for each in evaluation.calibration
    ]
    heads = ("confidence", "accuracy", "images")
    bins = f"<details><summary>As a table</summary>{table(heads, rows, 'log')}</details>"
    return card(
        "Reliability",
        "Of the answers with a confidence of 80 %, 80 of 100 should be right. Where the points lie "
        "below the diagonal, the model is overconfident; their bars are 95 % intervals.",
        evaluation_charts.reliability_chart(evaluation.calibration) + bins,
        "chart",
    )


def curves(evaluation: Evaluation) -> str:
    """The ROC curve of each class."""
    figures = "".join(
        f"<figure>{evaluation_charts.roc_chart(evaluation, code)}<figcaption>"
        f"<span class='code'>{html.escape(code)}</span> AUC "
        f"{figure_text(evaluation.auc[code], why_not(evaluation, code))}</figcaption></figure>"
        for code in evaluation.labels
    )
    points = " Orange dots are the points below." if evaluation.roc_points else ""
    note = f"Each class against all others.{points}"
    return card("ROC curves", note, f"<div class='curves'>{figures}</div>")


def roc_points(evaluation: Evaluation) -> str:
    """Points of melanoma's ROC curve; empty where the label set has no melanoma."""
    points = evaluation.roc_points.values()
    if not points:
        return ""
    shown = [
        tile(f"{point.gained} at {point.at_least:.0%} {point.held}", point.figure,
              why_not(evaluation, point.label))
        for point in points
    ]  # fmt: skip
    names = dict.fromkeys(html.escape(evaluation.labels.long_name(p.label)) for p in points)
    return card(
        f"Points of the ROC curve: {', '.join(names)}",
        "The threshold is chosen on these same images, so these are points of their ROC curve; on "
        "other images the rates may differ.",
        tiles(shown),
    )


def subgroups(evaluation: Evaluation) -> str:
    """Each group, how far apart they are, and which were too small; empty without any."""
    if not evaluation.subgroups and not evaluation.notes:
        return ""
    rows = [
        [f"<span class='soft'>{html.escape(g.attribute)}</span> "
         f"<span class='code'>{html.escape(g.value)}</span><br><span "
         f"class='soft'>{counted(g.images, 'image')} of {counted(g.lesions, 'lesion')}, "
         f"{counted(g.classes, 'class')}</span>",
         figure_cell(g.accuracy), figure_cell(g.balanced_accuracy), figure_cell(g.macro_f1)]
        for g in evaluation.subgroups
    ]  # fmt: skip
    return card(
        "Subgroups",
        "Groups of at least 20 images, without images whose value is not known. Balanced accuracy "
        "and macro-F1 are means over the classes that occur in a group, and in a resample: do not "
        "compare groups that have different classes by them. Rare classes make wide intervals.",
        table(("group", "accuracy", "balanced accuracy", "macro-F1"), rows)
        + _gaps(evaluation)
        + "".join(f"<p class='warning'>{html.escape(text)}.</p>" for text in evaluation.notes),
    )


def _gaps(evaluation: Evaluation) -> str:
    if not evaluation.gaps:
        return ""
    rows = [
        [f"<span class='soft'>{html.escape(gap.attribute)}</span> "
         f"<span class='code'>{html.escape(gap.figure)}</span>", figure_cell(gap.difference),
         html.escape(gap.best), html.escape(gap.worst)]
        for gap in evaluation.gaps
    ]  # fmt: skip
    return (
        "<h3>How far apart the groups are</h3><p class='note'>The largest value of a group minus "
        "the smallest, of groups with at least 20 images that the figure is of. Chance alone makes "
        "groups differ: where the low end is 0, chance may explain the gap. Accuracy also depends "
        "on which classes a group has.</p>"
        + table(("gap", "largest minus smallest", "largest in", "smallest in"), rows)
    )


def why_not(evaluation: Evaluation, code: str) -> str:
    """Why the figure of a class is not defined."""
    count = sum(evaluation.confusion[evaluation.labels.position(code)])
    return "no images of another class" if count else "no images of this class"
