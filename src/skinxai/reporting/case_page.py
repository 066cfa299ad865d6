"""The page of a case report as HTML."""

import html
from collections.abc import Iterable

from skinxai.reporting import case_words as words
from skinxai.reporting import map_pictures as pictures
from skinxai.reporting.case_report import CaseReport
from skinxai.reporting.page import page
from skinxai.results import Explanation

SIDE = 640
"""Longest side of the two large pictures, in pixels."""
SMALL = 400
ALPHA = 0.6
STYLE = """
.top { display: flex; flex-wrap: wrap; gap: .2rem 2rem; align-items: baseline;
  justify-content: space-between } .top p { margin: 0 }
.tool { color: var(--orange); font-weight: 600 }
.case { display: grid; grid-template-columns: repeat(12, 1fr); gap: 1rem; margin-top: 1rem }
.case > .card { margin: 0; min-width: 0 } .c12 { grid-column: span 12 } .c7 { grid-column: span 7 }
.c5 { grid-column: span 5 } .c4 { grid-column: span 4 }
.lead { display: grid; grid-template-columns: 1fr 1fr 1.05fr; gap: 1.2rem }
figure { width: fit-content; max-width: 100%; min-width: 0 } img { display: block; width: auto;
  height: auto; max-width: 100%; max-height: 26rem; border-radius: .3rem }
figcaption { margin-top: .3rem; overflow-wrap: anywhere; contain: inline-size }
.verdict b { display: inline-block; font-size: 1.7rem; line-height: 1.2; padding: .15rem .8rem;
  border-radius: .4rem; color: var(--full); background: var(--soft); margin-bottom: .4rem;
  print-color-adjust: exact } .verdict.refer b { background: var(--orange) }
.verdict.routine b { background: var(--green) }
.verdict p { margin: 0 0 .4rem; overflow-wrap: anywhere } .strong { font-weight: 600 }
.list td { padding: .28rem .7rem .28rem 0; vertical-align: middle; overflow-wrap: anywhere }
.list .dot { width: 1.2rem; color: var(--blue); padding: 0; font-size: 1.5rem; line-height: 1 }
.list .track { width: 34%; padding-right: .9rem } .list .number { text-align: right;
  white-space: nowrap; width: 4.2rem; padding-right: 0 }
.bar { height: .6rem; border-radius: .3rem; background: var(--blue); min-width: 1px;
  print-color-adjust: exact } .bad .bar { background: var(--orange) }
.mark { color: var(--orange); font-size: .8rem; white-space: nowrap }
.maps { display: grid; grid-template-columns: repeat(3, 1fr) 1.15fr; gap: 1rem }
.card p { margin: .3rem 0 0 } .card h2 + p { margin-top: 0 } .small { font-size: .875rem }
.pairs td { padding: .2rem .6rem .2rem 0 } .pairs td:last-child { text-align: right;
  font-weight: 600; padding-right: 0 } .id { color: var(--soft); font-size: .8rem;
  overflow-wrap: anywhere }
.facts { display: grid; gap: .1rem 1.2rem; margin: 0; grid-template-columns: max-content 1fr;
  font-size: .85rem } .facts dt { color: var(--soft) } .facts dd { margin: 0;
  overflow-wrap: anywhere }
@media screen and (max-width: 46rem) { .case > .card { grid-column: 1 / -1 }
  .lead { grid-template-columns: 1fr } .maps { grid-template-columns: 1fr 1fr }
  .maps > div { grid-column: 1 / -1 }
  .facts { grid-template-columns: 1fr } .facts dd { margin-bottom: .35rem }
  .list .track { width: 22% } }
@page { margin: 9mm }
@media print { :root { font-size: 7.3pt } .case { gap: .7rem; margin-top: .6rem }
  .card { padding: .7rem .8rem; break-inside: avoid } h1 { font-size: 1.5rem }
  details { display: none }
  .lead img { max-height: 13.5rem } img { max-height: 9.5rem } .against img { max-height: 11rem }
  .list td { padding-top: .15rem; padding-bottom: .15rem } footer { margin-top: .5rem } }
"""


def case_page(report: CaseReport) -> str:
    """The whole page: one file without scripts, which requests nothing from any server."""
    head = (
        f"<header class='top'><h1>{_t(words.heading(report))}</h1>"
        f"<p><span class='soft'>{_t(report.date.isoformat())}</span> &nbsp; "
        f"<span class='tool'>{_t(words.TOOL)}</span></p>"
        f"</header>"
    )
    cards = [
        _lead(report), _classes(report), _against(report), _agreement(report), _nearest(report),
        _image(report), _limits(report), _provenance(report),
    ]  # fmt: skip
    body = f"{head}<div class='case'>{''.join(cards)}</div>"
    return page(words.heading(report), body, pictures.STYLE + STYLE)


def _lead(report: CaseReport) -> str:
    image = pictures.as_img(pictures.smaller(report.pixels, SIDE), "The image", SIDE)
    shown = f"<figure>{image}<figcaption>The image</figcaption></figure>"
    if report.maps:
        shown += _figure(report.maps[0], words.about_first(report), SIDE)
    else:
        shown += f"<p class='soft'>{_t(words.missing(report, 'maps'))}</p>"
    title, rests_on = words.verdict(report)
    kind, most = report.prediction.decision or "", words.most_probable(report)
    return (
        f"<section class='card lead c12'>{shown}<div class='verdict {_t(kind)}'>"
        f"<b>{_t(title)}</b><p class='soft'>{_t(rests_on)}</p>"
        f"<p class='strong'>{_t(most)}</p>{_paragraphs(words.reasons(report))}"
        f"</div></section>"
    )


def _classes(report: CaseReport) -> str:
    rows = words.class_rows(report)
    more = words.rest_of_classes(report)
    rest = f"<p class='small'>{_t(more)}</p>" if more else ""
    if more:
        rest += f"<details><summary>Show them</summary>{_rows(rows[words.SHOWN :])}</details>"
    return _card("Probabilities", f"{_rows(rows[: words.SHOWN])}{rest}"
                 f"{_paragraphs(words.about_classes(report), 'small')}",
                 "c7" if report.against else "c12")  # fmt: skip


def _rows(rows: Iterable[words.ClassRow]) -> str:
    shown = ""
    for row in rows:
        mark = " <span class='mark'>▲ malignant</span>" if row.malignant else ""
        code = f" <span class='id'>{_t(row.code)}</span>" if row.code else ""
        shown += (
            f"<tr class='{'bad' if row.malignant else ''}'>"
            f"<td class='dot'>{'•' if row.in_set else ''}</td>"
            f"<td>{_t(row.name)}{code}{mark}</td><td class='track'>"
            f"<div class='bar' style='width:{100 * row.value:.2f}%'></div></td>"
            f"<td class='number'>{100 * row.value:.1f} %</td></tr>"
        )
    return f"<table class='list'>{shown}</table>"


def _against(report: CaseReport) -> str:
    if report.against is None:
        return ""
    shown = _figure(report.against, words.about_against(report), SMALL)
    return _card(words.against_title(report), shown, "c5 against")


def _agreement(report: CaseReport) -> str:
    if not report.agreement:
        return ""
    maps = "".join(
        _figure(pictures.averaged(each), words.about_method(each), SMALL) for each in report.maps
    )
    pairs = "".join(
        f"<tr><td>{_t(pair)}</td><td>{_t(value)}</td></tr>"
        for pair, value in words.agreement(report)
    )
    about = f"<p class='small soft'>{_t(words.AGREEMENT)}</p>"
    missing = _paragraphs([words.missing(report, "maps")], "small")
    body = f"<div class='maps'>{maps}<div><table class='pairs'>{pairs}</table>{about}</div></div>"
    return _card(words.METHODS, body + missing, "c12")


def _nearest(report: CaseReport) -> str:
    title = words.LESIONS
    if not report.nearest:
        why = words.missing(report, "nearest")
        return _card(title, _paragraphs([why], "small"), "c4") if why else ""
    rows = "".join(
        f"<tr><td>{_t(name)} <span class='id'>{_t(own)}</span></td><td>{_t(distance)}</td></tr>"
        for name, distance, own in words.nearest(report)
    )
    about = f"<p class='small soft'>{_t(words.about_nearest(report))}</p>"
    return _card(title, f"<table class='pairs'>{rows}</table>{about}", "c4")


def _image(report: CaseReport) -> str:
    return _card(words.IMAGE, _paragraphs(words.about_image(report), "small"), "c4")


def _limits(report: CaseReport) -> str:
    return _card("Limits", _paragraphs(words.limits(report), "small"), "c4")


def _provenance(report: CaseReport) -> str:
    facts = "".join(
        f"<dt>{_t(name)}</dt><dd>{_t(value)}</dd>" for name, value in words.provenance(report)
    )
    return _card("Where this comes from", f"<dl class='facts'>{facts}</dl>", "c12")


def _figure(explanation: Explanation, caption: str, side: int) -> str:
    alt = f"Heatmap over the image, {words.method_name(explanation.method)}"
    shown = pictures.as_img(pictures.blended(explanation, side, ALPHA), alt, side)
    return (
        f"<figure>{shown}{pictures.scale(explanation)}<figcaption>{_t(caption)}</figcaption>"
        f"</figure>"
    )


def _card(title: str, body: str, kind: str) -> str:
    return f"<section class='card {kind}'><h2>{_t(title)}</h2>{body}</section>"


def _paragraphs(sentences: Iterable[str], kind: str = "") -> str:
    return "".join(f"<p class='{kind}'>{_t(each)}</p>" for each in sentences if each)


def _t(text: str) -> str:
    return html.escape(text, quote=True)
