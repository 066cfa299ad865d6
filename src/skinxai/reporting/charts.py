"""Charts as inline SVG: colours come from the page's style, and texts are escaped."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]

STYLE = """
svg text { font: 11px system-ui, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums }
.grid { stroke: var(--line); stroke-width: 1 } .chance { stroke: var(--soft); stroke-width: 1;
  stroke-dasharray: 3 3 } .curve { fill: none; stroke-width: 2; stroke-linejoin: round }
.s0 { stroke: var(--blue) } .s1 { stroke: var(--orange); stroke-dasharray: 7 3 }
.s2 { stroke: var(--green); stroke-dasharray: 2 3 } .s3 { stroke: var(--soft) }
.d0 { fill: var(--blue) } .d1 { fill: var(--orange) } .d2 { fill: var(--green) }
.d3 { fill: var(--soft) } .under { fill: var(--blue); fill-opacity: .1 }
.chart svg { max-width: 32rem; margin: .4rem auto 0 }
.wide { grid-column: 1 / -1 } .wide svg { max-width: 56rem }
.legend { margin: .4rem 0 0; font-size: .85rem; color: var(--soft) }
.key { display: inline-block; margin-right: 1rem } .key svg { display: inline-block; width: 1.8rem;
  vertical-align: middle; margin: 0 .4rem 0 0 }
.range { stroke: var(--blue); stroke-width: 3; stroke-linecap: round; stroke-opacity: .45 }
"""
SERIES = 4


@dataclass(frozen=True)
class Plot:
    """A rectangle of a drawing with a linear scale on both axes.

    Args:
        left: left edge of the rectangle, in units of the drawing.
        top: upper edge; smaller values are higher.
        width: width of the rectangle.
        height: height of the rectangle.
        x: values at the left and right edge.
        y: values at the lower and upper edge.
    """

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Position of a value in the drawing."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + across * self.width, self.top + (1 - up) * self.height

    def axes(self, x: Sequence[float], y: Sequence[float], names: tuple[str, str]) -> str:
        """Grid lines with their values, and the axes' names.

        Args:
            x: values to mark on the horizontal axis.
            y: values to mark on the vertical axis.
            names: name of the horizontal axis, shown below it, and of the vertical one, above it.
        """
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for value in y:
            _, place = self.at(self.x[0], value)
            parts.append(line((self.left, place), (right, place), "grid"))
            parts.append(text(self.left - 6, place + 4, short(value), "end"))
        for value in x:
            place, _ = self.at(value, self.y[0])
            parts.append(line((place, bottom), (place, bottom + 4), "grid"))
            parts.append(text(place, bottom + 16, short(value), "middle"))
        parts.append(text(right, bottom + 31, names[0], "end"))
        parts.append(text(self.left - 6, self.top - 9, names[1], "start"))
        return "".join(parts)

    def curve(self, points: Points, series: int = 0) -> str:
        """A line through points, with dots if there are few."""
        drawn = self.line(points, series)
        if len(points) <= 40:
            for x, y in points:
                drawn += dot(*self.at(x, y), 2.5, f"d{series % SERIES}", f"{short(x)}: {y:.4g}")
        return drawn

    def line(self, points: Points, series: int = 0) -> str:
        """A line through points."""
        return f"<polyline class='curve s{series % SERIES}' points='{self.path(points)}'/>"

    def path(self, points: Points) -> str:
        """Positions of points, as SVG has them."""
        return " ".join("{:.1f},{:.1f}".format(*self.at(*point)) for point in points)


def svg(width: float, height: float, label: str, body: str) -> str:
    """A drawing that fills the available width; ``label`` says what it shows."""
    return (
        f"<svg viewBox='0 0 {width:g} {height:g}' role='img' aria-label='{html.escape(label)}'>"
        f"{body}</svg>"
    )


def text(x: float, y: float, words: str, anchor: str, more: str = "") -> str:
    """Text at a position; ``more`` holds further SVG attributes."""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {more}>{html.escape(words)}</text>"
    )


def line(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    """A straight line with a class of the style."""
    return (
        f"<line class='{kind}' x1='{start[0]:.1f}' y1='{start[1]:.1f}' x2='{end[0]:.1f}' "
        f"y2='{end[1]:.1f}'/>"
    )


def dot(x: float, y: float, radius: float, kind: str, title: str) -> str:
    """A dot with a tooltip."""
    return (
        f"<circle class='{kind}' cx='{x:.1f}' cy='{y:.1f}' r='{radius:.1f}'>"
        f"<title>{html.escape(title)}</title></circle>"
    )


def whisker(value: float, low: float, high: float) -> str:
    """A dot with its interval on a scale from 0 to 1; the bare scale if it is NaN."""
    scale = Plot(4, 0, 112, 12)
    body = line((4, 6), (116, 6), "grid")
    for mark in (0.0, 0.5, 1.0):
        x, _ = scale.at(mark, 0)
        body += line((x, 3), (x, 9), "grid")
    if not math.isnan(low) and not math.isnan(high):
        body += line((scale.at(low, 0)[0], 6), (scale.at(high, 0)[0], 6), "range")
    if not math.isnan(value):
        body += f"<circle class='d0' cx='{scale.at(value, 0)[0]:.1f}' cy='6' r='3.5'/>"
    return f"<svg class='whisker' viewBox='0 0 120 12' aria-hidden='true'>{body}</svg>"


def line_chart(
    label: str, series: Sequence[tuple[str, Points]], name: str, *, height: float, zero: bool
) -> str:
    """Lines over epochs.

    Args:
        label: what the chart shows.
        series: name and points of each line; at least one point in all.
        name: name of the vertical axis.
        height: height of the drawing, whose width is 360.
        zero: whether the vertical axis starts at 0.
    """
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    y_marks = ticks(min(0.0, *ys) if zero else min(ys), max(ys), 5 if height > 150 else 2)
    left, right = min(xs), max(xs)
    pad = 0.5 if left == right else 0.0
    plot = Plot(46, 22, 302, height - 60, (left - pad, right + pad), (y_marks[0], y_marks[-1]))
    near = (right - left) / 12  # an inner mark this near to an end would touch its number
    inner = [x for x in ticks(left, right, 6) if left + near < x < right - near and x == int(x)]
    x_marks = sorted({left, *inner, right})
    body = plot.axes(x_marks, y_marks, ("epoch", name))
    body += "".join(plot.curve(points, k) for k, (_, points) in enumerate(series) if points)
    return svg(360, height, label, body)


def legend(names: Sequence[str]) -> str:
    """A legend as HTML: the names of the lines beside samples of them."""
    keys = "".join(
        f"<span class='key'><svg viewBox='0 0 26 8' aria-hidden='true'>"
        f"<line class='curve s{k % SERIES}' x1='1' y1='4' x2='25' y2='4'/></svg>"
        f"{html.escape(name)}</span>"
        for k, name in enumerate(names)
    )
    return f"<p class='legend'>{keys}</p>"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values; the first and the last enclose ``low`` and ``high``."""
    if low == high:
        low, high = (low, high + 1) if low == 0 else (low - abs(low) / 2, high + abs(high) / 2)
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def short(value: float) -> str:
    """A value of an axis, e.g. ``0.5``, ``12``, ``2e-4``."""
    shown = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    if 0 < abs(value) < 0.01:
        digits, power = f"{value:.1e}".split("e")
        shown = f"{float(digits):g}e{int(power)}"
    return shown
