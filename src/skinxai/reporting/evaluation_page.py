"""The page of an evaluation: figures with their intervals, and curves."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinxai.disk.regular_files import MAX_TEXT_BYTES, read_file
from skinxai.disk.staging import at_present, write_together
from skinxai.errors import OptionError
from skinxai.plain_text import counted
from skinxai.reporting import blocks, charts, evaluation_charts, training_log
from skinxai.reporting import evaluation_cards as cards
from skinxai.reporting import trust_cards as trust
from skinxai.reporting.blocks import card, tile, tiles
from skinxai.reporting.fold_cards import by_fold
from skinxai.reporting.page import page
from skinxai.results import Evaluation

if TYPE_CHECKING:
    from PIL.Image import Image

STYLE = """
.tool { border-left: 3px solid var(--orange); padding-left: .6rem; margin: .8rem 0 0 }
.code { font-weight: 650; overflow-wrap: anywhere } .tag { color: var(--orange); font-size: .8rem }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.2rem, 1fr)); gap: 1rem }
.curves figcaption { color: var(--ink) } .facts { display: grid; gap: .3rem 1.5rem; margin: 0;
  grid-template-columns: max-content 1fr } .facts dt { color: var(--soft) }
.facts dd { margin: 0; overflow-wrap: anywhere } h3 { font-size: 1rem; margin: 1.4rem 0 .3rem }
.warning { border-left: 3px solid var(--orange); padding-left: .6rem; margin: .8rem 0 0;
  font-size: .875rem } .verdict { border-left: 4px solid var(--green); overflow-wrap: anywhere }
.banner { overflow-wrap: anywhere } .verdict.doubt { border-left-color: var(--orange) }
.verdict p { margin: 0 }
@media (min-width: 60rem) { .curves { grid-template-columns: repeat(4, 1fr) } }
@media (max-width: 46rem) { .facts { grid-template-columns: 1fr; gap: 0 }
  .facts dd { margin-bottom: .5rem } }
"""


def write_evaluation(
    evaluation: Evaluation,
    folder: str | os.PathLike[str],
    *,
    log: Sequence[Mapping[str, Any]] = (),
    pictures: Mapping[str, Image] | None = None,
) -> tuple[Path, Path]:
    """Write ``evaluation.html`` (one file, no request to any server) and ``evaluation.json``.

    Args:
        evaluation: the evaluation.
        folder: folder to write to; it is created if it does not exist.
        log: log of the run that made the model, one row for each epoch, as in its ``log.csv``.
            ``epoch`` is required; ``loss``, ``learning_rate``, ``macro_f1``,
            ``balanced_accuracy`` and ``accuracy`` are drawn if present. A table has all columns.
        pictures: of the hardest images, by image id, such as `Classifier.compare` draws; they are
            in the page, so that whoever has the page has the images.

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
    write_together(
        target, {data.name: text, shown.name: _page(evaluation, rows, pictures or {}).encode()}
    )
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


def _page(
    evaluation: Evaluation, rows: Sequence[training_log.Row], pictures: Mapping[str, Image]
) -> str:
    name = evaluation.model.partition("@")[0]
    body = (
        f"<header><h1>{html.escape(name)}</h1><p class='soft'>Evaluation on "
        f"{html.escape(evaluation.data)}: {counted(evaluation.images, 'image')} of "
        f"{counted(evaluation.lesions, 'lesion')}</p><p class='tool'>A research tool, not a "
        f"medical device.</p></header>"
        + _verdict(evaluation)
        + _headline(evaluation)
        + by_fold(evaluation)
        + trust.decided(evaluation)
        + trust.compared(evaluation)
        + cards.classes(evaluation)
        + "<div class='pair'>"
        + cards.confusion(evaluation)
        + cards.reliability(evaluation)
        + trust.decision_curve(evaluation)
        + trust.selective(evaluation)
        + "</div>"
        + cards.curves(evaluation)
        + cards.roc_points(evaluation)
        + cards.subgroups(evaluation)
        + trust.hard_cases(evaluation, pictures)
        + training_log.training_curves(rows)
        + _facts(evaluation)
        + "<footer>A research tool, not a medical device. Do not use it for diagnosis, "
        "triage or treatment.</footer>"
    )
    styles = (module.STYLE for module in (charts, blocks, evaluation_charts, trust, training_log))
    title = f"{'LEAKED: ' if evaluation.leaked else ''}Evaluation of {name}"
    return page(title, body, "".join(styles) + STYLE)


def _verdict(evaluation: Evaluation) -> str:
    text = html.escape(evaluation.verdict)
    if evaluation.leaked:
        return (
            f"<div class='banner' role='alert'><b>LEAKED</b><br>"
            f"{text.partition(': ')[2][:1].upper()}{text.partition(': ')[2][1:]}</div>"
        )
    doubts = evaluation.seen.notes or evaluation.not_known or evaluation.calibration_seen
    doubt = " doubt" if doubts else ""
    return f"<section class='card verdict{doubt}'><p>{text}</p></section>"


def _headline(evaluation: Evaluation) -> str:
    shown = [
        tile("balanced accuracy", evaluation.balanced_accuracy),
        tile("macro-F1", evaluation.macro_f1),
        tile("accuracy", evaluation.accuracy),
    ]
    for label in dict.fromkeys(point.label for point in evaluation.roc_points.values()):
        name = f"{evaluation.labels.long_name(label)} recall"
        shown.append(tile(name, evaluation.recall[label], cards.why_not(evaluation, label)))
    for name, figure in (
        ("calibration error", evaluation.expected_calibration_error),
        ("Brier score, 0–2", evaluation.brier_score),
    ):
        shown.append(tile(name, figure, note="lower is better"))
    return f"<section class='card'>{tiles(shown)}</section>"


def _facts(evaluation: Evaluation) -> str:
    facts = {
        "model": evaluation.model,
        "data": evaluation.data,
        "images": f"{evaluation.images} of {counted(evaluation.lesions, 'lesion')}",
        "classes": ", ".join(evaluation.labels),
        "probabilities": f"calibrated on {evaluation.calibrated_on}"
        if evaluation.calibrated_on
        else "not calibrated",
        "intervals": "95 %; bootstraps draw whole lesions, shares have Wilson intervals of as many "
        "images as the lesions are worth. Where no resample has another value, as of a class that "
        "is all right, shares have these as well, and other figures have no interval",
        "calibration error": "expected calibration error of the top class, 15 equal bins",
    }
    shown = "".join(
        f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items() if value
    )
    return card("What was judged", "", f"<dl class='facts'>{shown}</dl>")
