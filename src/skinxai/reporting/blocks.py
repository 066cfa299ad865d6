"""Blocks of a page: cards, tables, and figures with their intervals."""

import html
import math
from collections.abc import Iterable, Sequence

from skinxai.reporting.charts import whisker
from skinxai.results import Figure

STYLE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.2rem, 1fr));
  gap: 1.2rem 1.6rem } .tiles.six { grid-template-columns: repeat(6, 1fr) }
.tile b { display: block; font-size: 1.9rem; line-height: 1.25; font-weight: 650 }
.whisker { max-width: 9rem; margin-top: .1rem }
.interval { color: var(--soft); font-size: .8rem; white-space: nowrap }
.figures td { min-width: 6.5rem } .figures td:first-child { min-width: 9rem }
@media (max-width: 66rem) { .tiles.six { grid-template-columns: repeat(3, 1fr) } }
@media (max-width: 34rem) { .tiles, .tiles.six { grid-template-columns: 1fr 1fr } }
@media (max-width: 46rem) { .figures thead { display: none }
  .figures tr { display: grid; grid-template-columns: 1fr 1fr; gap: .6rem 1rem; padding: .8rem 0;
    border-bottom: 1px solid var(--line) } .figures tr:last-child { border-bottom: 0 }
  .figures td { border: 0; padding: 0; min-width: 0 }
  .figures td:first-child { grid-column: 1 / -1 }
  .figures td + td::before { content: attr(data-name); display: block; font-size: .75rem;
    color: var(--soft) } .figures td.count { grid-column: 1 / -1; color: var(--soft);
    font-size: .875rem } .figures td.count::before { display: inline; content: attr(data-name) " ";
    font-size: inherit } }
"""


def card(title: str, note: str, body: str, kind: str = "") -> str:
    """A section with a title, an optional sentence and a body, all HTML."""
    words = f"<p class='note'>{note}</p>" if note else ""
    return f"<section class='card {kind}'><h2>{title}</h2>{words}{body}</section>"


def tiles(shown: Sequence[str]) -> str:
    """Several tiles side by side."""
    return f"<div class='tiles{' six' if len(shown) == 6 else ''}'>{''.join(shown)}</div>"


def tile(name: str, figure: Figure, why: str = "", note: str = "") -> str:
    """A large figure with a scale from 0 to 1, or a note instead; ``why`` stands for a NaN."""
    below = f"<br><span class='interval'>{html.escape(note)}</span>" if note else _scale(figure)
    return (
        f"<div class='tile'><span class='soft'>{html.escape(name)}</span>"
        f"{figure_text(figure, why, 'b')}{below}</div>"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str | int]], kind: str = "figures") -> str:
    """A table of HTML and counts; on narrow screens each row becomes a block."""
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td class='{'count' if isinstance(cell, int) else ''}' data-name='{name}'>{cell}</td>"
            for name, cell in zip(heads, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table class='{kind}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def figure_cell(figure: Figure, why: str = "") -> str:
    """A figure as text and, below, on a scale from 0 to 1."""
    return f"{figure_text(figure, why)}{_scale(figure)}"


def figure_text(figure: Figure, why: str, tag: str = "span") -> str:
    """A figure and its interval as text; if it is NaN, a dash and the reason."""
    if math.isnan(figure.value):
        return f"<{tag}>–</{tag}> <span class='interval'>{html.escape(why)}</span>"
    interval = str(figure).partition(" ")[2].strip("()")
    return f"<{tag}>{figure.value:.3f}</{tag}> <span class='interval'>{interval}</span>"


def _scale(figure: Figure) -> str:
    return whisker(figure.value, figure.low, figure.high)
