"""A picture of a search: the macro-F1 of each trial, and the best so far."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from skinxai.experiments.study import Trial

LEFT, TOP, WIDTH, HEIGHT, RIGHT, BOTTOM = 60, 70, 700, 260, 24, 50
INK, SOFT, LINE = (20, 20, 20), (110, 110, 110), (222, 222, 222)
COLOURS = {"complete": (59, 110, 165), "pruned": (150, 150, 150), "failed": (196, 61, 24)}


def drawn(trials: Sequence[Trial]) -> Image.Image:
    """Draw each ended trial by its number; the line is the best complete trial so far."""
    page = Image.new("RGB", (LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    draw.text((8, 8), "Validation macro-F1 of each trial", INK, font)
    x = 8
    for state, words in (("complete", "complete"), ("pruned", "given up early: best so far"),
                         ("failed", "failed")):  # fmt: skip
        draw.ellipse((x, 33, x + 8, 41), COLOURS[state])
        draw.text((x + 13, 30), words, SOFT, font)
        x += 40 + int(draw.textlength(words, font))
    draw.line((x, 37, x + 18, 37), INK, 2)
    draw.text((x + 24, 30), "best so far, optimistic", SOFT, font)
    for mark in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _height(mark)
        draw.line((LEFT, y, LEFT + WIDTH, y), LINE)
        draw.text((LEFT - 8, y), f"{mark:g}", SOFT, font, anchor="rm")
    count = max(1, len(trials))
    step = max(1, -(-count // 10))
    best: list[tuple[float, float]] = []
    for place, each in enumerate(trials):
        across = LEFT + WIDTH * (place + 0.5) / count
        if place % step == 0:
            draw.text((across, TOP + HEIGHT + 8), str(each.number), SOFT, font, anchor="ma")
        if each.macro_f1 is not None:
            level = min(_height(each.macro_f1), best[-1][1] if best else TOP + HEIGHT)
            best += [(across, best[-1][1]), (across, level)] if best else [(across, level)]
        if each.state in COLOURS:
            y = _height(each.macro_f1 if each.macro_f1 is not None else each.reached or 0.0)
            draw.ellipse((across - 4, y - 4, across + 4, y + 4), COLOURS[each.state])
    if best:
        draw.line([*best, (LEFT + WIDTH, best[-1][1])], INK, 1)
    draw.text((LEFT + WIDTH, TOP + HEIGHT + 26), "trial", SOFT, font, anchor="ra")
    return page


def _height(value: float) -> float:
    return TOP + HEIGHT * (1 - min(1.0, max(0.0, value)))
