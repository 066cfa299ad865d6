"""Charts of an `Evaluation`: confusion matrix, ROC curves, reliability diagram."""

import html
import math

from skinxai.plain_text import counted
from skinxai.reporting.charts import Plot, dot, line, svg, text, ticks
from skinxai.results import CalibrationBin, Evaluation, RocPoint

HALVES, QUARTERS = (0.0, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0)
STYLE = """
.right { fill: var(--blue) } .wrong { fill: var(--orange) } .empty { fill: var(--line) }
svg text.count { font-size: 13px; font-weight: 600; fill: var(--ink) }
svg text.count.zero { font-weight: 400; fill: var(--soft) }
svg text.count.mid { fill: var(--mid) } svg text.count.full { fill: var(--full) }
svg text.axis { font-size: 12px; fill: var(--ink) }
.gap { stroke: var(--orange); stroke-width: 2; stroke-opacity: .55 }
.bar { fill: var(--blue); fill-opacity: .35 }
"""
CELL, LONGEST = 42, 9


def confusion_chart(evaluation: Evaluation) -> str:
    """Counts, coloured by their share of the true class: right answers blue, others orange."""
    labels = list(evaluation.labels)
    left, top = 24 + 7 * min(LONGEST, max(map(len, labels))), 66
    side = CELL * len(labels)
    parts = [
        text(left + side / 2, 12, "predicted", "middle"),
        text(0, 0, "true", "middle", f"transform='translate(9 {top + side / 2:g}) rotate(-90)'"),
    ]
    for k, code in enumerate(labels):
        middle = CELL * (k + 0.5)
        turned = f"transform='translate({left + middle:g} {top - 8}) rotate(-45)'"
        parts.append(_name(evaluation, code, 0, 0, "start", turned))
        parts.append(_name(evaluation, code, left - 8, top + middle + 4, "end", ""))
    for row, (true, counts) in enumerate(zip(labels, evaluation.confusion, strict=True)):
        total = sum(counts)
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            parts.append(_cell(evaluation, (true, labels[column]), count, total, share,
                               left + CELL * column, top + CELL * row))  # fmt: skip
    chart = svg(left + side + 40, top + side + 2, "Confusion matrix", "".join(parts))
    least = f" style='min-width:{26 * len(labels) + left}px'" if len(labels) > 8 else ""
    return f"<div class='scroll'><div{least}>{chart}</div></div>"


def _name(evaluation: Evaluation, code: str, x: float, y: float, anchor: str, more: str) -> str:
    shown = code if len(code) <= LONGEST else f"{code[: LONGEST - 1]}…"
    title = f"<title>{html.escape(evaluation.labels.long_name(code))}</title>"
    return text(x, y, shown, anchor, f"class='axis' {more}").replace("</text>", f"{title}</text>")


def _cell(
    evaluation: Evaluation, pair: tuple[str, str], count: int, total: int, share: float, x: float,
    y: float,
) -> str:  # fmt: skip
    true, predicted = (evaluation.labels.long_name(code) for code in pair)
    of = f"{count} of {total} ({share:.1%})" if total else "no images"
    title = f"<title>{html.escape(f'{true} called {predicted}: {of}')}</title>"
    kind = "right" if pair[0] == pair[1] else "wrong"
    tone = "full" if share >= 0.75 else "mid" if share >= 0.6 else "" if count else "zero"
    box = f"x='{x + 1:g}' y='{y + 1:g}' width='{CELL - 2}' height='{CELL - 2}' rx='4'"
    return (
        f"<g>{title}<rect class='empty' fill-opacity='.35' {box}/>"
        f"<rect class='{kind}' fill-opacity='{share:.3f}' {box}/>"
        + text(x + CELL / 2, y + CELL / 2 + 4.5, str(count), "middle", f"class='count {tone}'")
        + "</g>"
    )


def roc_chart(evaluation: Evaluation, code: str) -> str:
    """The ROC curve of a class; melanoma has points of it with their intervals."""
    plot = Plot(30, 18, 150, 150)
    body = plot.axes(HALVES, HALVES, ("false positive rate", "sensitivity"))
    body += line(plot.at(0, 0), plot.at(1, 1), "chance")
    points = evaluation.roc[code]
    if points:
        body += f"<polygon class='under' points='{plot.path([*points, (1, 0)])}'/>"
        body += plot.line(points)
    for point in evaluation.roc_points.values():
        if point.label == code and not math.isnan(point.figure.value):
            body += _roc_point(plot, point)
    return svg(190, 204, f"ROC curve of {code}", body)


def _roc_point(plot: Plot, point: RocPoint) -> str:
    figure, title = point.figure, f"{point}: {point.figure}"
    if point.held == "specificity":
        low, high = (plot.at(1 - point.at_least, rate) for rate in (figure.low, figure.high))
        place = plot.at(1 - point.at_least, figure.value)
    else:
        low, high = (plot.at(1 - rate, point.at_least) for rate in (figure.low, figure.high))
        place = plot.at(1 - figure.value, point.at_least)
    drawn = "" if math.isnan(figure.low) else line(low, high, "range")
    return drawn + dot(*place, 3.5, "d1", title)


def reliability_chart(bins: tuple[CalibrationBin, ...]) -> str:
    """Accuracy with its interval against confidence, dots as large as their bins; counts below."""
    plot = Plot(46, 22, 300, 220)
    body = plot.axes(QUARTERS, QUARTERS, ("confidence (probability of the top class)", "accuracy"))
    body += line(plot.at(0, 0), plot.at(1, 1), "chance")
    most = max(each.count for each in bins)
    for each in bins:
        share = each.accuracy
        place = plot.at(each.confidence, share.value)
        rates = f"confidence {each.confidence:.3f}, accuracy {share}"
        low, high = (plot.at(each.confidence, rate) for rate in (share.low, share.high))
        body += line(low, high, "range")
        body += line(plot.at(each.confidence, each.confidence), place, "gap")
        body += dot(
            *place,
            3 + 7 * math.sqrt(each.count / most),
            "d0",
            f"{rates}, {counted(each.count, 'image')}",
        )
    marks = ticks(0, most, 2)
    below = Plot(46, 312, 300, 44, y=(0.0, marks[-1]))
    body += below.axes((), marks, ("", "images"))
    for each in bins:
        x, y = below.at(each.confidence, each.count)
        body += f"<rect class='bar' x='{x - 6:.1f}' y='{y:.1f}' width='12' height='{356 - y:.1f}'/>"
    return svg(360, 362, "Reliability diagram", body)
