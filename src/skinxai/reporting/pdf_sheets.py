"""One sheet of PDF: text, pictures and lines at places in millimetres. The one file with reportlab.

reportlab is pure Python with a BSD licence and needs no library of the system. Its text is drawn
here as it is: none of it is parsed as markup.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from skinxai.errors import OptionError
from skinxai.reporting.map_pictures import jpeg

A4 = (210.0, 297.0)
"""Width and height in millimetres."""
POINT = 25.4 / 72
LEADING = 1.28
"""Distance of two lines, in font sizes."""
PLAIN, BOLD = "Vera", "VeraBd"
"""Bitstream Vera, which reportlab ships: free to embed; letters of Western Europe's languages."""


class PdfSheet:
    """A sheet of A4 that is drawn on from its upper left corner.

    Places are left and upper edges; they and lengths are in millimetres, sizes of a font in points,
    colours ``#rrggbb``. Of more than the ``most`` lines of a text the rest is replaced by ``…``.

    Args:
        title: of the document.

    Raises:
        OptionError: reportlab is not installed.
    """

    def __init__(self, title: str) -> None:
        try:
            import reportlab
            from reportlab.pdfbase import pdfmetrics
            from reportlab.pdfbase.ttfonts import TTFont
            from reportlab.pdfgen.canvas import Canvas
        except ImportError as error:
            raise OptionError(
                "a PDF needs the package reportlab: pip install 'skinxai[pdf]'."
            ) from error
        folder = Path(reportlab.__file__).with_name("fonts")
        self._fonts = {}
        for name in (PLAIN, BOLD):
            font = TTFont(name, str(folder / f"{name}.ttf"))
            pdfmetrics.registerFont(font)
            self._fonts[name] = font
        self._buffer = io.BytesIO()
        size = (A4[0] / POINT, A4[1] / POINT)
        # Invariant: no clock and no random id, so that the same page has the same bytes.
        self._canvas: Any = Canvas(
            self._buffer, size, invariant=1, pageCompression=1, lang="en", initialFontName=PLAIN
        )
        self._canvas.setTitle(title)
        self._canvas.setCreator("skinxai")

    def bytes(self) -> bytes:
        """The document; nothing can be drawn after it."""
        self._canvas.showPage()
        self._canvas.save()
        return self._buffer.getvalue()

    def width(self, text: str, size: float, bold: bool = False) -> float:
        """Width of a line of text."""
        font = BOLD if bold else PLAIN
        return float(self._canvas.stringWidth(self._known(text, bold), font, size)) * POINT

    def text(
        self, x: float, y: float, text: str, size: float, *, bold: bool = False,
        colour: str = "#1b2430", right: bool = False,
    ) -> None:  # fmt: skip
        """Draw one line; ``x`` is its left end, or its right one where ``right``."""
        self._canvas.setFillColor(colour)
        self._canvas.setFont(BOLD if bold else PLAIN, size)
        draw = self._canvas.drawRightString if right else self._canvas.drawString
        draw(x / POINT, (A4[1] - y) / POINT - size * 0.8, self._known(text, bold))

    def fitted(self, x: float, y: float, width: float, text: str, size: float) -> None:
        """Draw one line; a long one in smaller letters, and a longer one cut as well."""
        smaller = max(size * min(1.0, width / max(self.width(text, size), 1e-9)), size * 0.8)
        for line in self.lines(text, width + 0.01, smaller, most=1):
            self.text(x, y + (size - smaller) * 0.4 * POINT, line, smaller)

    def paragraph(
        self, x: float, y: float, width: float, text: str, size: float, *, bold: bool = False,
        colour: str = "#1b2430", most: int = 99,
    ) -> float:  # fmt: skip
        """Draw text in lines and return the place below it."""
        for line in self.lines(text, width, size, bold=bold, most=most):
            self.text(x, y, line, size, bold=bold, colour=colour)
            y += size * LEADING * POINT
        return y

    def lines(
        self, text: str, width: float, size: float, *, bold: bool = False, most: int = 99
    ) -> list[str]:
        """Text divided into lines; words that are too long for one are divided as well."""
        found: list[str] = []
        line = ""
        for word in re.findall(r"\S*\d %\S*|\S+", text):  # a number keeps its sign of per cent
            longer = f"{line} {word}" if line else word
            if self.width(longer, size, bold) <= width:
                line = longer
                continue
            if line:
                found.append(line)
            while self.width(word, size, bold) > width:
                part = self._fitting(word, width, size, bold)
                found.append(part)
                word = word[len(part) :]
            line = word
        if line:
            found.append(line)
        if len(found) > most:
            rest = " ".join(found[most - 1 :])
            room = width - self.width("…", size, bold)
            found = [*found[: most - 1], f"{self._fitting(rest, room, size, bold).rstrip()}…"]
        return found

    def picture(self, x: float, y: float, box: tuple[float, float], picture: Image.Image) -> float:
        """Draw a picture as large as fits into a box, at its upper left; return its lower edge."""
        from reportlab.lib.utils import ImageReader

        scale = min(box[0] / picture.width, box[1] / picture.height)
        width, height = picture.width * scale, picture.height * scale
        self._canvas.drawImage(
            ImageReader(io.BytesIO(jpeg(picture, 92))), x / POINT,
            (A4[1] - y - height) / POINT, width / POINT, height / POINT,
        )  # fmt: skip
        return y + height

    def box(
        self, x: float, y: float, width: float, height: float, *, fill: str | None = None,
        line: str | None = None, radius: float = 0.0,
    ) -> None:  # fmt: skip
        """Draw a rectangle, with the colours of its inside and its border, if it has them."""
        if fill:
            self._canvas.setFillColor(fill)
        if line:
            self._canvas.setStrokeColor(line)
            self._canvas.setLineWidth(0.5)
        self._canvas.roundRect(
            x / POINT, (A4[1] - y - height) / POINT, width / POINT, height / POINT,
            radius / POINT, stroke=int(bool(line)), fill=int(bool(fill)),
        )  # fmt: skip

    def gradient(
        self, x: float, y: float, width: float, height: float, colours: Sequence[Sequence[int]]
    ) -> None:
        """Draw a bar of colours ``(r, g, b)``, 0–255, the first at its left."""
        step = width / len(colours)
        for k, (r, g, b) in enumerate(colours):
            rest = width - k * step  # up to the right end, so that there are no seams
            self.box(x + k * step, y, rest, height, fill=f"#{r:02x}{g:02x}{b:02x}")

    def _fitting(self, word: str, width: float, size: float, bold: bool) -> str:
        """The longest beginning of a word that fits, of at least one character."""
        count = 1
        while count < len(word) and self.width(word[: count + 1], size, bold) <= width:
            count += 1
        return word[:count]

    def _known(self, text: str, bold: bool) -> str:
        """Text with an escape in the place of each character that the font lacks."""
        known = self._fonts[BOLD if bold else PLAIN].face.charToGlyph
        return "".join(c if ord(c) in known else c.encode("unicode_escape").decode() for c in text)
