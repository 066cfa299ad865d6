"""What the pages show, as HTML and pictures: no streamlit."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai.drawing import map_colours, overlay, resize_map
from skinxai.labels import LabelSet
from skinxai.results import Explanation, Prediction

SIDE = 900
"""Longest side of a picture on the page, in pixels; what is computed has the image's own."""
STYLE = """<style>
:root { --blue: light-dark(#145a96, #6db3f2); --orange: light-dark(#b4490a, #f39a5f);
  --ink: light-dark(#1b2430, #e6eaef); --soft: light-dark(#586474, #9eabb9);
  --line: light-dark(#dfe3e8, #303a45); --full: light-dark(#fff, #10151a) }
.block-container { max-width: 76rem; padding-top: 4.5rem; padding-bottom: 2rem }
[data-testid=stMarkdownContainer] table { display: block; overflow-x: auto }
.caution { color: var(--soft); font-size: .875rem; margin: 0 }
.differential { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
.differential th { font-weight: 400; text-align: left; padding: .28rem 0 0; line-height: 1.25 }
.differential tr:first-child th, .differential tr:first-child td { font-weight: 650 }
.differential td { text-align: right; vertical-align: bottom; width: 4.2rem; white-space: nowrap }
.track { height: .5rem; border-radius: .25rem; background: var(--line); margin: .15rem 0 .2rem }
.track div { height: 100%; border-radius: .25rem; background: var(--blue); min-width: 2px }
.malignant .track div { background: var(--orange) }
.mark { color: var(--orange); font-size: .8rem; font-weight: 600; white-space: nowrap }
.scale { height: .7rem; border-radius: .2rem; border: 1px solid var(--line) }
.ends { display: flex; justify-content: space-between; color: var(--soft); font-size: .8rem;
  font-variant-numeric: tabular-nums }
.confusion { border-collapse: separate; border-spacing: 2px; font-variant-numeric: tabular-nums }
.confusion td { width: 3rem; height: 2.4rem; text-align: center; border-radius: .25rem;
  background: color-mix(in srgb, var(--tone) calc(100% * var(--share)), var(--line) 0%) }
.confusion td.full { color: var(--full) } .confusion td.zero { color: var(--soft) }
.confusion th { font-weight: 400; font-size: .85rem; padding: 0 .3rem; text-align: right }
.confusion thead th { text-align: center }
@media (max-width: 40rem) { .confusion td { width: 2.2rem; height: 2rem; font-size: .8rem }
  .confusion th { font-size: .7rem; padding: 0 .1rem } }
</style>"""


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


def differential(prediction: Prediction) -> str:
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
    return f"<table class='differential' aria-label='Probabilities'>{''.join(rows)}</table>"


def picture(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """An image, no larger than a page needs it."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    return image


def blended(explanation: Explanation, alpha: float) -> Image.Image:
    """The heatmap over the image, no larger than a page needs it."""
    assert explanation.heatmap is not None
    below = np.asarray(picture(explanation.pixels))
    values = explanation.heatmap
    if below.shape[:2] != values.shape:
        values = resize_map(values, (below.shape[0], below.shape[1]))
    return overlay(below, values, alpha)


def scale(explanation: Explanation) -> str:
    """The colours of a heatmap, with its lowest and highest raw value."""
    assert explanation.heatmap is not None
    low, high = float(explanation.heatmap.min()), float(explanation.heatmap.max())
    colours = np.rint(map_colours(np.linspace(low, high, 24), low, high)).astype(int)
    steps = ",".join(f"rgb({r} {g} {b})" for r, g, b in colours)
    zero = "<span>0 is white</span>" if low < 0 < high else ""
    return (
        f"<div class='scale' style='background:linear-gradient(to right,{steps})'></div>"
        f"<div class='ends'><span>{low:.3g}</span>{zero}<span>{high:.3g}</span></div>"
    )


NO_SCALE = "<div class='scale'></div><div class='ends'><span>&nbsp;</span></div>"
"""In the place of `scale`, of the same height."""


def thumbnail(pixels: npt.NDArray[np.uint8]) -> str:
    """A small picture as a data URL."""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((96, 96))
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def without_front_matter(card: str) -> str:
    """A model card's text; pictures on other servers stay links."""
    text = re.sub(r"\A---\n.*?\n---\n", "", card, flags=re.DOTALL)
    return text.replace("![", "[")


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
