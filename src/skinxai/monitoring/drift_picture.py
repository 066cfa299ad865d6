"""A picture of a `Timeline`: every test at every look, and the estimated accuracy."""

from PIL import Image, ImageDraw, ImageFont

from skinxai.monitoring.measured_series import TESTS
from skinxai.monitoring.timeline import Timeline
from skinxai.plain_text import counted

LEFT, RIGHT, TOP, ROW, CHART, GAP = 130, 24, 56, 20, 110, 34
WIDTH = 720
INK, SOFT, LINE, ALARM = (20, 20, 20), (120, 120, 120), (59, 110, 165), (196, 61, 24)
QUIET, LOUD = (244, 246, 248), (94, 129, 160)  # statistics of 0, and just below their limit


def drawn(timeline: Timeline) -> Image.Image:
    """Draw each test's statistic, as a share of its limit, from the first look to the last.

    Blue is below the limit, the darker the nearer; orange is an alarm. Below is the accuracy that
    the probabilities promise, with the reference's as a dashed line.

    Returns:
        An RGB picture.
    """
    height = TOP + ROW * len(TESTS) + GAP + CHART + GAP
    page = Image.new("RGB", (LEFT + WIDTH + RIGHT, height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    last, looks = timeline.last, timeline.looks
    draw.text((8, 8), f"Drift, {timeline.model}", INK, font)
    draw.text(
        (8, 28), f"{counted(last.images, 'image')}, windows of {last.window}; at most "
        f"{100 * last.false_alarms:g} % false alarms in {last.window} images", SOFT, font,
    )  # fmt: skip
    _legend(draw, font)
    for row, test in enumerate(TESTS):
        y = TOP + ROW * row
        draw.text((8, y + 2), test.replace("_", " "), INK, font)
        cells = [
            (place, next(each for each in look.rows if each.test == test))
            for place, look in enumerate(looks)
        ]
        # An alarm comes last: where looks share a column, the later one covers the earlier.
        for place, found in sorted(cells, key=lambda cell: cell[1].alarm):
            x = LEFT + WIDTH * place // len(looks)
            end = LEFT + WIDTH * (place + 1) // len(looks)
            colour = ALARM if found.alarm else _between(min(found.ratio, 1.0))
            draw.rectangle((x, y, max(x, end - 1), y + ROW - 2), colour)
    if not looks:
        draw.text((LEFT, TOP), last.to_text(), SOFT, font)
    _accuracy(draw, font, timeline, TOP + ROW * len(TESTS) + GAP)
    return page


def _between(share: float) -> tuple[int, int, int]:
    red, green, blue = (
        round(low + share * (high - low)) for low, high in zip(QUIET, LOUD, strict=True)
    )
    return red, green, blue


def _legend(draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> None:
    x, y = LEFT + WIDTH - 250, 10
    draw.text((x - 12, y - 2), "0", INK, font, anchor="ra")
    for step in range(60):
        draw.rectangle((x + 2 * step, y, x + 2 * step + 1, y + 10), _between(step / 59))
    draw.text((x + 126, y - 2), "limit", INK, font)
    draw.rectangle((x + 180, y, x + 196, y + 10), ALARM)
    draw.text((x + 202, y - 2), "alarm", INK, font)


def _accuracy(
    draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    timeline: Timeline, top: int,
) -> None:  # fmt: skip
    looks, bottom = timeline.looks, top + CHART
    draw.text((8, top - 4), "estimated", INK, font)
    draw.text((8, top + 12), "accuracy", INK, font)
    for share in (0.0, 0.5, 1.0):
        height = round(bottom - share * CHART)
        draw.line((LEFT, height, LEFT + WIDTH, height), (220, 220, 220))
        draw.text((LEFT - 6, height), f"{share:g}", SOFT, font, anchor="rm")
    if not looks:
        return
    places = [LEFT + WIDTH * (k + 0.5) / len(looks) for k in range(len(looks))]
    values = [bottom - CHART * (look.estimated_accuracy or 0.0) for look in looks]
    points = list(zip(places, values, strict=True))
    if len(points) > 1:
        draw.line(points, LINE, 2)
    for x, y in points:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), LINE)
    if (known := timeline.last.reference_accuracy) is not None:
        level = round(bottom - known * CHART)
        for start in range(LEFT, LEFT + WIDTH, 10):
            draw.line((start, level, start + 4, level), SOFT)
    step = max(1, -(-len(looks) // 8))
    for k in range(0, len(looks), step):
        draw.text((places[k], bottom + 6), str(looks[k].images), SOFT, font, anchor="ma")
    draw.text((8, bottom + 6), "images seen", SOFT, font)
