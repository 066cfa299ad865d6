"""What the pages show, as HTML and pictures: no streamlit."""

import html
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai.labels import LabelSet
from skinxai.reporting import map_pictures as pictures
from skinxai.reporting.case_words import said
from skinxai.results import Explanation, Prediction

SIDE = 900
"""Longest side of a picture on the page, in pixels; what is computed has the image's own."""
SMALL = 240
"""Longest side of a picture among others."""


def plain(text: str) -> str:
    """Text that Markdown shows as it is: no link, picture or icon of a visitor's file name.

    A word joiner, which is not seen, keeps addresses from becoming links by themselves.
    """
    text = re.sub(r"(?i)(://|@|(?<=www)\.)", "\u2060\\1\u2060", " ".join(text.split()))
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>~$:&@=^])", r"\\\1", text)


def full_name(labels: LabelSet, code: str) -> str:
    """Long name of a class, with a capital."""
    name = labels.long_name(code)
    return name[:1].upper() + name[1:]


def heading(text: str) -> str:
    """The heading of a part of a page."""
    return f"<h2 class='heading'>{html.escape(text)}</h2>"


def note(text: str) -> str:
    """What is to be known of an image, without the code in front of it."""
    return f"<p class='note'>{html.escape(said(text))}</p>"


def findings(prediction: Prediction) -> str:
    """All classes with their probabilities as bars, the most probable first."""
    labels, rows = prediction.labels, []
    for code, value in prediction.top(len(prediction.labels)):
        bad = code in (labels.malignant or ())
        mark = " <span class='mark'>▲ malignant</span>" if bad else ""
        rows.append(
            f"<tr class='{'malignant' if bad else ''}' data-code='{html.escape(code)}'>"
            f"<th scope='row'>{html.escape(full_name(labels, code))}{mark}"
            f"<div class='track'><div style='width:{100 * value:.2f}%'></div></div></th>"
            f"<td>{100 * value:.1f} %</td></tr>"
        )
    return f"<table class='findings' aria-label='Probabilities'>{''.join(rows)}</table>"


def picture(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """An image, no larger than a page needs it."""
    return pictures.smaller(pixels, SIDE)


def blended(explanation: Explanation, alpha: float, uniform: bool = False) -> Image.Image:
    """The heatmap over the image, no larger than a page needs it."""
    return pictures.blended(explanation, SIDE, alpha, uniform)


NO_SCALE = "<div class='scale'></div><div class='ends'><span>&nbsp;</span></div>"
"""In the place of `scale`, of the same height."""


def thumbnail(pixels: npt.NDArray[np.uint8]) -> str:
    """A small picture as a data URL."""
    return pictures.data_url(pictures.jpeg(pictures.smaller(pixels, SMALL), 80, 2))


def lesions(rows: Sequence[tuple[str, float, str | None]], pictures: bool) -> str:
    """Lesions side by side.

    Args:
        rows: of each its name, its distance, and its picture as a data URL.
        pictures: keep a place for those that are missing.
    """
    items = []
    for name, distance, url in rows:
        shown = "<div class='none'></div>" if pictures else ""
        if url:
            shown = f"<img src='{html.escape(url)}' alt='{html.escape(name, quote=True)}'>"
        words = f"{html.escape(name)}<p class='under'>distance {distance:.2f}</p>"
        items.append(f"<li>{shown}{words}</li>")
    return f"<ul class='lesions'>{''.join(items)}</ul>"


def card_text(card: str) -> str:
    """A model card without its front matter."""
    return re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)


def around_confusion(card: str, labels: LabelSet) -> tuple[str, list[list[int]], str] | None:
    """A card's text before its confusion matrix, the counts, rows true, and the text after.

    ``None`` where it has none.
    """
    lines = card.splitlines()
    plain_lines = [re.sub(r"\s+", " ", line.strip()) for line in lines]
    head = f"| | {' | '.join(labels)} |"
    if head not in plain_lines:
        return None
    place = plain_lines.index(head)
    first, end = place + 2, place + 2 + len(labels)  # below the rule
    rows = [line.split("|")[2:-1] for line in plain_lines[first:end]]
    if len(rows) != len(labels) or any(
        len(row) != len(labels) or not all(cell.strip().isdigit() for cell in row) for row in rows
    ):
        return None
    counts = [[int(cell) for cell in row] for row in rows]
    return "\n".join(lines[:place]), counts, "\n".join(lines[end:])


def confusion(counts: list[list[int]], labels: LabelSet) -> str:
    """The confusion matrix as a picture: cells coloured by their share of the true class."""
    heads = "".join(f"<th scope='col'>{html.escape(code)}</th>" for code in labels)
    rows = []
    for row, (true, numbers) in enumerate(zip(labels, counts, strict=True)):
        cells = []
        for column, count in enumerate(numbers):
            share = count / max(1, sum(numbers))
            tone = "--blue" if row == column else "--orange"
            kind = "full" if share > 0.6 else "" if count else "zero"
            words = f"{true} called {labels[column]}: {count} of {sum(numbers)}"
            cells.append(
                f"<td class='{kind}' style='--tone:var({tone});--share:{share:.3f}' "
                f"title='{html.escape(words, quote=True)}'>{count}</td>"
            )
        rows.append(f"<tr><th scope='row'>{html.escape(true)}</th>{''.join(cells)}</tr>")
    return (
        "<table class='confusion' aria-label='Confusion matrix: rows true, columns predicted'>"
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
