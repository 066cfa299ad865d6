"""The page of an evaluation: figures with their intervals, and curves."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skinxai.disk.regular_files import MAX_TEXT_BYTES, read_file
from skinxai.disk.staging import at_present, write_together
from skinxai.errors import OptionError
from skinxai.reporting import blocks, charts, evaluation_charts, training_log
from skinxai.reporting.blocks import card, figure_cell, figure_text, table, tile, tiles
from skinxai.reporting.page import page
from skinxai.results import Evaluation

STYLE = """
.tool { border-left: 3px solid var(--orange); padding-left: .6rem; margin: .8rem 0 0 }
.code { font-weight: 650; overflow-wrap: anywhere } .tag { color: var(--orange); font-size: .8rem }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.2rem, 1fr)); gap: 1rem }
.curves figcaption { color: var(--ink) } .facts { display: grid; gap: .3rem 1.5rem; margin: 0;
  grid-template-columns: max-content 1fr } .facts dt { color: var(--soft) }
.facts dd { margin: 0; overflow-wrap: anywhere }
@media (min-width: 60rem) { .curves { grid-template-columns: repeat(4, 1fr) } }
@media (max-width: 46rem) { .facts { grid-template-columns: 1fr; gap: 0 }
  .facts dd { margin-bottom: .5rem } }
"""


def write_evaluation(
    evaluation: Evaluation,
    folder: str | os.PathLike[str],
    *,
    log: Sequence[Mapping[str, Any]] = (),
) -> tuple[Path, Path]:
    """Write ``evaluation.html`` (one file, no request to any server) and ``evaluation.json``.

    Args:
        evaluation: the evaluation.
        folder: folder to write to; it is created if it does not exist.
        log: log of the run that made the model, one row for each epoch, as in its ``log.csv``.
            ``epoch`` is required; ``loss``, ``learning_rate``, ``macro_f1``,
            ``balanced_accuracy`` and ``accuracy`` are drawn if present. A table has all columns.

    Returns:
        Both paths; `read_evaluation` reads the second one.

    Raises:
        OptionError: if a row of the log has no epoch.
        OutputError: if the folder cannot be written.
    """
    rows = training_log.log_rows(log)
    target = Path(folder)
    shown, data = target / "evaluation.html", target / "evaluation.json"
    values = evaluation.to_dict() | {"log": rows}
    text = json.dumps(values, indent=2, allow_nan=False).encode() + b"\n"
    write_together(target, {data.name: text, shown.name: _page(evaluation, rows).encode()})
    return shown, data


def read_evaluation(
    path: str | os.PathLike[str],
) -> tuple[Evaluation, Sequence[Mapping[str, Any]]]:
    """Read the evaluation and the log that `write_evaluation` wrote into ``evaluation.json``.

    Raises:
        OptionError: if there is no such file, or `write_evaluation` did not write it.
    """
    try:
        values = json.loads(at_present(Path(path), lambda place: read_file(place, MAX_TEXT_BYTES)))
        log = [dict(row) for row in values.pop("log")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionError(
            f"{str(path)!r} must be an evaluation.json of write_evaluation(): {error!r}."
        ) from error
    return Evaluation.from_dict(values), log


def _page(evaluation: Evaluation, rows: Sequence[training_log.Row]) -> str:
    name = evaluation.model.partition("@")[0]
    banner = (
        f"<div class='banner' role='alert'><b>LEAKED</b><br>"
        f"{html.escape(_sentence(evaluation.leak))} The figures are worth nothing.</div>"
        if evaluation.leaked
        else ""
    )
    body = (
        f"<header><h1>{html.escape(name)}</h1><p class='soft'>Evaluation on "
        f"{html.escape(evaluation.data)}: {evaluation.images} images of {evaluation.lesions} "
        f"lesions</p><p class='tool'>A research tool, not a medical device.</p></header>{banner}"
        + _headline(evaluation)
        + _classes(evaluation)
        + "<div class='pair'>"
        + _confusion(evaluation)
        + _reliability(evaluation)
        + "</div>"
        + _curves(evaluation)
        + _operating_points(evaluation)
        + _subgroups(evaluation)
        + training_log.training_curves(rows)
        + _facts(evaluation)
        + "<footer>A research tool, not a medical device. Do not use it for diagnosis, "
        "triage or treatment.</footer>"
    )
    styles = (module.STYLE for module in (charts, blocks, evaluation_charts, training_log))
    title = f"{'LEAKED: ' if evaluation.leaked else ''}Evaluation of {name}"
    return page(title, body, "".join(styles) + STYLE)


def _headline(evaluation: Evaluation) -> str:
    shown = [
        tile("balanced accuracy", evaluation.balanced_accuracy),
        tile("macro-F1", evaluation.macro_f1),
        tile("accuracy", evaluation.accuracy),
    ]
    for label in dict.fromkeys(point.label for point in evaluation.operating_points.values()):
        name = f"{evaluation.labels.long_name(label)} recall"
        shown.append(tile(name, evaluation.recall[label], _why(evaluation, label)))
    for name, figure in (
        ("calibration error", evaluation.expected_calibration_error),
        ("Brier score, 0–2", evaluation.brier_score),
    ):
        shown.append(tile(name, figure, note="lower is better"))
    return f"<section class='card'>{tiles(shown)}</section>"


def _classes(evaluation: Evaluation) -> str:
    rows: list[list[str | int]] = []
    for k, code in enumerate(evaluation.labels):
        why, long_name = _why(evaluation, code), evaluation.labels.long_name(code)
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


def _confusion(evaluation: Evaluation) -> str:
    return card(
        "Confusion matrix",
        "Counts of images; the colour is the share of the row: blue for right answers, orange "
        "for others.",
        evaluation_charts.confusion_chart(evaluation),
        "chart wide" if len(evaluation.labels) > 10 else "chart",
    )


def _reliability(evaluation: Evaluation) -> str:
    rows: list[list[str | int]] = [
        [f"{each.confidence:.3f}", f"{each.accuracy:.3f}", each.count]
        for each in evaluation.calibration
    ]
    heads = ("confidence", "accuracy", "images")
    bins = f"<details><summary>As a table</summary>{table(heads, rows, 'log')}</details>"
    return card(
        "Reliability",
        "Of the answers with a confidence of 80 %, 80 of 100 should be right. Where the points lie "
        "below the diagonal, the model is overconfident.",
        evaluation_charts.reliability_chart(evaluation.calibration) + bins,
        "chart",
    )


def _curves(evaluation: Evaluation) -> str:
    figures = "".join(
        f"<figure>{evaluation_charts.roc_chart(evaluation, code)}<figcaption>"
        f"<span class='code'>{html.escape(code)}</span> AUC "
        f"{figure_text(evaluation.auc[code], _why(evaluation, code))}</figcaption></figure>"
        for code in evaluation.labels
    )
    points = " Orange dots are the operating points below." if evaluation.operating_points else ""
    note = f"Each class against all others.{points}"
    return card("ROC curves", note, f"<div class='curves'>{figures}</div>")


def _operating_points(evaluation: Evaluation) -> str:
    points = evaluation.operating_points.values()
    if not points:
        return ""
    shown = [
        tile(f"{point.gained} at {point.at_least:.0%} {point.held}", point.figure,
              _why(evaluation, point.label))
        for point in points
    ]  # fmt: skip
    names = dict.fromkeys(html.escape(evaluation.labels.long_name(p.label)) for p in points)
    return card(
        f"Operating points: {', '.join(names)}",
        "The threshold is chosen on these same images, so these are points of their ROC curve; on "
        "other images the rates may differ.",
        tiles(shown),
    )


def _subgroups(evaluation: Evaluation) -> str:
    if not evaluation.subgroups:
        return ""
    rows = [
        [f"<span class='soft'>{html.escape(g.attribute)}</span> "
         f"<span class='code'>{html.escape(g.value)}</span><br><span class='soft'>{g.images} "
         f"images of {g.lesions} lesions, {g.classes} classes</span>",
         figure_cell(g.accuracy), figure_cell(g.balanced_accuracy), figure_cell(g.macro_f1)]
        for g in evaluation.subgroups
    ]  # fmt: skip
    return card(
        "Subgroups",
        "Groups of at least 20 images, without images whose value is not known. Balanced accuracy "
        "and macro-F1 are means over the classes that occur in a group, and in a resample: do not "
        "compare groups that have different classes by them. Rare classes make wide intervals.",
        table(("group", "accuracy", "balanced accuracy", "macro-F1"), rows),
    )


def _sentence(leak: str) -> str:
    """The text after ``LEAKED:``, with a capital letter."""
    text = leak.partition(": ")[2]
    return text[:1].upper() + text[1:]


def _facts(evaluation: Evaluation) -> str:
    facts = {
        "model": evaluation.model,
        "data": evaluation.data,
        "images": f"{evaluation.images} of {evaluation.lesions} lesions",
        "classes": ", ".join(evaluation.labels),
        "leaked": evaluation.leak or "no shared image, lesion or patient is known",
        "not looked for": "; ".join(evaluation.seen.notes),
        "intervals": "95 %, percentile bootstrap that draws whole lesions",
        "calibration error": "expected calibration error of the top class, 15 equal bins",
    }
    shown = "".join(
        f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items() if value
    )
    return card("What was judged", "", f"<dl class='facts'>{shown}</dl>")


def _why(evaluation: Evaluation, code: str) -> str:
    """Why the figure of a class is not defined."""
    count = sum(evaluation.confusion[evaluation.labels.position(code)])
    return "no images of another class" if count else "no images of this class"
