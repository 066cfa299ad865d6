"""Charts of an `Evaluation`: the decision curve, and wrong answers by coverage."""

import math
from collections.abc import Sequence

from skinxai.reporting.charts import Plot, Points, svg, ticks
from skinxai.results import NetBenefit


def decision_chart(curve: Sequence[NetBenefit]) -> str:
    """Net benefit by threshold: of the model with its interval, of referring all, and nobody."""
    model = [(each.threshold, each.model.value) for each in curve]
    everybody = [(each.threshold, each.refer_all) for each in curve]
    ends = [value for each in curve for value in (each.model.low, each.model.high)]
    known = [value for value in ends if not math.isnan(value)]
    highest = max(value for _, value in [*model, *everybody, (0.0, max(known, default=0.0))])
    lowest = max(-highest / 2, min([0.0, *known, *(value for _, value in everybody)]))
    marks = ticks(lowest, highest, 4)
    plot = Plot(46, 22, 300, 200, (0.0, 0.5), (marks[0], marks[-1]))
    body = plot.axes((0, 0.1, 0.2, 0.3, 0.4, 0.5), marks, ("refer from this probability on", "net"))
    if known:
        upper = [(each.threshold, each.model.high) for each in curve]
        lower = [(each.threshold, max(each.model.low, marks[0])) for each in curve]
        body += f"<polygon class='under' points='{plot.path([*upper, *lower[::-1]])}'/>"
    lines = (_above(model, marks[0]), _above(everybody, marks[0]), [(0.0, 0.0), (0.5, 0.0)])
    for k, points in enumerate(lines):
        body += plot.line(points, k)
    return svg(360, 262, "Decision curve", body)


def _above(points: Points, lowest: float) -> Points:
    """The first part of a line, which ends where it would leave the plot."""
    kept: list[tuple[float, float]] = []
    for x, y in points:
        if y < lowest:
            if kept:
                before, height = kept[-1]
                share = (height - lowest) / (height - y)
                kept.append((before + share * (x - before), lowest))
            break
        kept.append((x, y))
    return kept


def risk_chart(curve: Points) -> str:
    """Share of wrong answers by the share of images that are answered."""
    marks = ticks(0.0, max([0.01, *(risk for _, risk in curve)]), 4)
    plot = Plot(46, 22, 300, 200, (0.0, 1.0), (0.0, marks[-1]))
    body = plot.axes((0, 0.25, 0.5, 0.75, 1), marks, ("share of images answered", "wrong"))
    body += plot.line(curve)
    return svg(360, 262, "Wrong answers by coverage", body)
