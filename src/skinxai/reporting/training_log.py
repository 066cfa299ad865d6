"""The log of a run: its rows, and their curves for a page."""

import csv
import html
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skinxai.disk.regular_files import MAX_TEXT_BYTES, read_file
from skinxai.errors import OptionError
from skinxai.plain_text import counted
from skinxai.reporting.charts import legend, line_chart

Row = Mapping[str, float | str | None]
VALIDATED = {
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
}
RATE = "learning_rate"
STYLE = """
section.log details { margin: 0 }
.log td, .log th { padding: .2rem .9rem .2rem 0; font-size: .85rem; white-space: nowrap }
"""


def read_log(run_folder: str | os.PathLike[str]) -> list[Row]:
    """Read the rows of a run folder's ``log.csv``; empty if it has no such file.

    Raises:
        OptionError: if a row has no epoch.
    """
    path = Path(run_folder) / "log.csv"
    if not path.is_file():
        return []
    try:
        text = read_file(path, MAX_TEXT_BYTES).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise OptionError(f"{str(path)!r} must be a run's log, CSV in UTF-8: {error}.") from error
    return log_rows(rows)


def log_rows(log: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Convert texts of a log that are numbers to numbers, and NaN and empty cells to ``None``.

    Raises:
        OptionError: if a row has no epoch.
    """
    rows: list[Row] = [{str(name): _value(value) for name, value in row.items()} for row in log]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("epoch"), float):
            raise OptionError(
                f"each row of log must have a number as epoch, but row {number} has "
                f"{row.get('epoch')!r}."
            )
    return rows


def training_curves(rows: Sequence[Row]) -> str:
    """HTML of the curves and of the log as a table; empty if there are no rows."""
    if not rows:
        return ""
    losses = {name: name.replace("_", " ") for row in rows for name in row if name.endswith("loss")}
    scored = [row for row in rows if isinstance(row.get("macro_f1"), float)]
    best = max(scored, key=lambda row: _number(row, "macro_f1"), default=None)
    note = "" if best is None else (
        f"<p class='note'>Highest macro-F1: {_number(best, 'macro_f1'):.3f} in epoch "
        f"{_number(best, 'epoch'):g}.</p>"
    )  # fmt: skip
    learning = _chart(rows, losses, "loss", 190, zero=True)
    learning += _chart(rows, {RATE: "learning rate"}, "learning rate", 140, zero=True)
    validation = _chart(rows, VALIDATED, "", 300, zero=False)
    cards = [
        f"<section class='card chart'><h2>{title}</h2>{more}{drawn}</section>"
        for title, more, drawn in (
            ("Training", "", learning),
            ("Validation by epoch", note, validation),
        )
        if drawn
    ]
    return (
        f"<div class='pair'>{''.join(cards)}</div><section class='card log'><details><summary>Log "
        f"of the run: {counted(len(rows), 'epoch')}</summary>{_table(rows)}</details></section>"
    )


def _chart(
    rows: Sequence[Row], columns: Mapping[str, str], name: str, height: float, *, zero: bool
) -> str:
    series = [
        (shown, [(_number(row, "epoch"), _number(row, column)) for row in rows
                 if isinstance(row.get(column), float)])
        for column, shown in columns.items()
    ]  # fmt: skip
    series = [(shown, points) for shown, points in series if points]
    if not series:
        return ""
    names = [shown for shown, _ in series]
    drawn = line_chart(f"{', '.join(names)} by epoch", series, name, height=height, zero=zero)
    return (legend(names) if len(names) > 1 else "") + drawn


def _table(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_shown(row.get(name))}</td>' for name in names)}</tr>" for row in rows
    )
    return f"<div class='scroll'><table class='log'><tr>{head}</tr>{body}</table></div>"


def _shown(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    return "–" if value is None else html.escape(value)


def _number(row: Row, name: str) -> float:
    value = row[name]
    return value if isinstance(value, float) else math.nan


def _value(value: Any) -> float | str | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None
