"""The page of a case report as one sheet of PDF, in the order of the HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass

from skinxai.reporting import case_words as words
from skinxai.reporting import map_pictures as pictures
from skinxai.reporting.case_report import CaseReport
from skinxai.reporting.pdf_sheets import A4, LEADING, POINT, PdfSheet
from skinxai.results import Explanation

LEFT, TOP, GAP = 13.0, 19.0, 5.0
"""Margins in millimetres: what is printed also fits the height of Letter, 279 mm."""
WIDTH = A4[0] - 2 * LEFT
BOTTOM = A4[1] - TOP
INK, SOFT, LINE = "#1b2430", "#586474", "#cfd6dd"
BLUE, ORANGE, GREEN = "#145a96", "#b4490a", "#00745a"
TONES = {"refer": ORANGE, "routine": GREEN}
TEXT, NOTE, HEAD = 7.6, 6.8, 9.6
"""Sizes of the font, in points."""
SIDE, SMALL = 700, 420
"""Longest sides of pictures, in pixels."""
ALPHA = 0.6
LEAD, LIST, METHODS, FACTS = 63.0, 56.0, 54.0, 28.0
"""Most millimetres that the parts of the sheet take; what is left is for those between them."""


@dataclass
class _Column:
    """A column that is filled from its top.

    Args:
        sheet: that is drawn on.
        x: left edge, in millimetres.
        y: where the next line begins.
        width: in millimetres.
        bottom: lower edge: text that reaches it is cut.
    """

    sheet: PdfSheet
    x: float
    y: float
    width: float
    bottom: float = BOTTOM

    def head(self, text: str) -> None:
        """A heading of one line."""
        (line,) = self.sheet.lines(text, self.width, HEAD, bold=True, most=1)
        self.sheet.text(self.x, self.y, line, HEAD, bold=True)
        self.y += HEAD * LEADING * POINT + 1.2

    def say(
        self, text: str, size: float = TEXT, *, colour: str = INK, bold: bool = False,
        most: int = 99,
    ) -> None:  # fmt: skip
        """A paragraph, as far as there is room."""
        room = int((self.bottom - self.y) / (size * LEADING * POINT) + 0.01)
        if text and room > 0:
            self.y = self.sheet.paragraph(
                self.x, self.y, self.width, text, size, colour=colour, bold=bold,
                most=min(most, room),
            )  # fmt: skip
            self.y += 0.9

    def figure(self, explanation: Explanation, height: float, caption: str, most: int = 4) -> None:
        """A heatmap over its image, its scale, and what it shows."""
        shown = pictures.blended(explanation, SIDE if height > 40 else SMALL, ALPHA)
        scale = min(self.width / shown.width, height / shown.height)
        self.y = self.sheet.picture(self.x, self.y, (self.width, height), shown) + 1.0
        wide = shown.width * scale
        self.sheet.gradient(self.x, self.y, wide, 1.6, pictures.colours(explanation, 48).tolist())
        low, high = (f"{value:.3g}".replace("-", "−") for value in pictures.ends(explanation))
        self.y += 2.2
        self.sheet.text(self.x, self.y, low, NOTE - 0.6, colour=SOFT)
        self.sheet.text(self.x + wide, self.y, high, NOTE - 0.6, colour=SOFT, right=True)
        self.y += 3.2
        self.say(caption, NOTE, colour=SOFT, most=most)


def case_pdf(report: CaseReport) -> bytes:
    """The sheet as PDF."""
    sheet = PdfSheet(words.heading(report))
    y = _header(sheet, report)
    for part in (_lead, _classes, _agreement, _three):
        y = part(sheet, report, y)
    _provenance(sheet, report, y)
    return sheet.bytes()


def _header(sheet: PdfSheet, report: CaseReport) -> float:
    right = LEFT + WIDTH
    sheet.text(right, TOP, report.date.isoformat(), TEXT, colour=SOFT, right=True)
    sheet.text(right, TOP + 3.8, words.TOOL, TEXT, bold=True, colour=ORANGE, right=True)
    room = WIDTH - sheet.width(words.TOOL, TEXT, bold=True) - GAP
    (title,) = sheet.lines(words.heading(report), room, 15, bold=True, most=1)
    sheet.text(LEFT, TOP, title, 15, bold=True)
    return _rule(sheet, TOP + 8.6)


def _lead(sheet: PdfSheet, report: CaseReport, y: float) -> float:
    """The image, its heatmap and the decision side by side."""
    width, height = (WIDTH - 2 * GAP) / 3, 50.0
    bottom = y + LEAD
    places = [_Column(sheet, LEFT + k * (width + GAP), y, width, bottom) for k in range(3)]
    image = places[0]
    image.y = sheet.picture(image.x, y, (width, height), pictures.smaller(report.pixels, SIDE))
    image.y += 1.4
    image.say("The image", NOTE, colour=SOFT)
    if report.maps:
        places[1].figure(report.maps[0], height, words.about_first(report), most=2)
    else:
        places[1].say(words.missing(report, "maps"), colour=SOFT)
    column = places[2]
    title, rests_on = words.verdict(report)
    wide = sheet.width(title, 17, bold=True) + 7
    tone = TONES.get(report.prediction.decision or "", SOFT)
    sheet.box(column.x, y, wide, 10.4, fill=tone, radius=1.6)
    sheet.text(column.x + 3.5, y + 2.5, title, 17, bold=True, colour="#ffffff")
    column.y = y + 12.6
    column.say(rests_on, NOTE, colour=SOFT, most=3)
    column.say(words.most_probable(report), TEXT + 0.6, bold=True, most=3)
    for each in words.reasons(report):
        column.say(each)
    return _rule(sheet, max(each.y for each in places) + 0.8)


def _classes(sheet: PdfSheet, report: CaseReport, y: float) -> float:
    """The list of classes, and why the first rather than the second."""
    beside = 52.0 if report.against is not None else 0.0
    column = _Column(sheet, LEFT, y, WIDTH - beside - (GAP if beside else 0), y + LIST)
    column.head("Probabilities")
    rows = words.class_rows(report)[: words.SHOWN]
    step = 4.5 if len(rows) <= 7 else 3.9
    number, bar = column.x + column.width, 28.0
    for row in rows:
        colour = ORANGE if row.malignant else BLUE
        if row.in_set:
            sheet.box(column.x + 0.3, column.y + 0.5, 1.6, 1.6, fill=BLUE, radius=0.8)
        code = f" ({row.code})" if row.code else ""
        mark = "malignant" if row.malignant else ""
        room = column.width - 4 - bar - 13 - 17
        sheet.fitted(column.x + 3.4, column.y, room, row.name + code, TEXT)
        sheet.text(number - 13 - bar - 2, column.y, mark, NOTE - 0.4, colour=ORANGE, right=True)
        sheet.box(number - 13 - bar, column.y + 0.3, max(bar * row.value, 0.15), 2.0, fill=colour)
        sheet.text(number, column.y, f"{100 * row.value:.1f} %", TEXT, right=True)
        column.y += step
    column.y += 0.6
    column.say(words.joined([words.rest_of_classes(report), *words.about_classes(report)]), NOTE)
    if report.against is None:
        return _rule(sheet, column.y)
    other = _Column(sheet, LEFT + WIDTH - beside, y, beside, y + LIST)
    other.say(words.against_title(report), HEAD - 1.2, bold=True, most=3)
    other.figure(report.against, 28.0, words.about_against(report), most=5)
    return _rule(sheet, max(column.y, other.y))


def _agreement(sheet: PdfSheet, report: CaseReport, y: float) -> float:
    """The maps of several methods, and how far they agree."""
    if not report.agreement:
        return y
    width, bottom, first = 37.0, y + METHODS, _Column(sheet, LEFT, y, WIDTH)
    first.head(words.METHODS)
    places = []
    for k, made in enumerate(report.maps):
        place = _Column(sheet, LEFT + k * (width + 4), first.y, width, bottom)
        place.figure(pictures.averaged(made), 27.0, words.about_method(made), most=5)
        places.append(place)
    x = LEFT + len(places) * (width + 4)
    text = _Column(sheet, x, first.y, LEFT + WIDTH - x, bottom)
    for pair, value in words.agreement(report):
        _pair(text, pair, value)
    text.y += 1
    text.say(words.AGREEMENT, NOTE - 0.4, colour=SOFT)
    text.say(words.missing(report, "maps"), NOTE - 0.4, most=3)
    return _rule(sheet, max(each.y for each in (*places, text)))


def _three(sheet: PdfSheet, report: CaseReport, y: float) -> float:
    """Similar lesions, what is to be known of the image, and limits, side by side."""
    parts: list[tuple[str, Sequence[str]]] = [
        (words.IMAGE, words.about_image(report)), ("Limits", words.limits(report)),
    ]  # fmt: skip
    if report.nearest or (why := words.missing(report, "nearest")):
        parts.insert(0, (words.LESIONS, [words.about_nearest(report)] if report.nearest else [why]))
    width = (WIDTH - (len(parts) - 1) * GAP) / len(parts)
    lowest = y
    for k, (title, sentences) in enumerate(parts):
        column = _Column(sheet, LEFT + k * (width + GAP), y, width, BOTTOM - FACTS - 3)
        column.head(title)
        if title == words.LESIONS:
            for name, distance, own in words.nearest(report):
                _pair(column, name, distance, own)
        for each in sentences:
            column.say(each, NOTE)
        lowest = max(lowest, column.y)
    return _rule(sheet, lowest)


def _provenance(sheet: PdfSheet, report: CaseReport, y: float) -> None:
    column = _Column(sheet, LEFT + 22, y, WIDTH - 22)
    for name, value in words.provenance(report):
        sheet.text(LEFT, column.y, name, NOTE - 0.4, colour=SOFT)
        column.say(value, NOTE - 0.4, most=2 if name in ("Model", "Heatmaps") else 1)
        column.y -= 0.5


def _pair(column: _Column, name: str, value: str, note: str = "") -> None:
    """Text at the left of a line, a number at its right, and between them a note."""
    sheet, size, step = column.sheet, TEXT - 0.4, 3.7
    if column.y + step > column.bottom:
        return
    sheet.text(column.x + column.width, column.y, value, size, bold=True, right=True)
    room = column.width - sheet.width(value, size, bold=True) - 2
    if note:
        wide = sheet.width(note, NOTE - 1.2)
        sheet.text(column.x + room - wide, column.y + 0.3, note, NOTE - 1.2, colour=SOFT)
        room -= wide + 2
    sheet.fitted(column.x, column.y, room, name, size)
    column.y += step


def _rule(sheet: PdfSheet, y: float) -> float:
    """A thin line across the sheet; returns where the next part begins."""
    sheet.box(LEFT, y + 0.6, WIDTH, 0.15, fill=LINE)
    return y + 3.0
