"""Text that hides, forges or marks up what is shown, and what must not come out.

The rules are written down anew here: nothing of `skinxai.plain_text` is asked.
"""

import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt
from typer.testing import CliRunner

from skinxai.cli import app
from skinxai.errors import SkinxaiError

FAKE = "nv 1.000"
HIDDEN = {
    "csi": f"\x1b[2K\r{FAKE}", "c1": "\x9b2J", "link": "\x1b]8;;http://evil\x1b\\x\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07", "return": f"\r{FAKE}", "backspace": f"\b\b\b{FAKE}",
    "bell": "\a", "delete": "\x7f", "newline": f"\n{FAKE}", "vertical": f"\v{FAKE}",
    "next line": f"\x85{FAKE}", "line": f"\u2028{FAKE}", "override": "\u202e000.1 vn",
    "isolate": "\u2066", "mark": "\u200e", "zero width": "\u200b", "joiner": "\u200d",
    "selector": "\ufe0f", "bom": "\ufeffx", "filler": "\u3164x", "tag": "\U000e0041",
    "private": "\ue000", "unassigned": "\U000e0fff", "nul": "\0x",
    "surrogate": "\ud800x", "byte": "\udcffx", "marks": "\u0301" * 60,
    "selectors": "\ufe0f" * 30, "joiners": "病" + "\u200d" * 30 + "変",
}  # fmt: skip
"""Refused as a label or name; escaped where a user's own file has it."""
MARKUP = {
    "pipe": "|b|c|", "code": "`x`", "picture": "![x](http://evil/x.png)",
    "emphasis": "**b** _c_", "script": "<script>alert(1)</script>",
    "handler": "<marquee onstart=alert(1)>", "quotes": "\"'><marquee title=\"'",
    "entity": "&lt;marquee&gt;", "formula": "=cmd()", "mathtext": "$\\frac$", "percent": "%s%n%d",
    "braces": "{}{0.__class__}",
}  # fmt: skip
"""Printable: shown as it is wherever it is shown."""
LONG = {"long": "x" * 100_000}
COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60)}
SAMPLES = 4
_INVISIBLE = "\u034f\u115f\u1160\u2800\u3164\uffa0\ufe0f"
_KINDS = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def hidden(text: str) -> list[str]:
    """Characters of shown text that its reader does not see, lines and tabs apart."""
    return [
        c for c in text
        if c not in "\n\t" and (c in _INVISIBLE or unicodedata.category(c) in _KINDS)
    ]  # fmt: skip


def endless_marks(text: str) -> list[str]:
    """Combining marks that cover the lines around them."""
    runs = re.findall("m{11,}", "".join("m" if unicodedata.combining(c) else " " for c in text))
    return ["combining marks without end" for _ in runs[:1]]


def wrong_terminal(text: str) -> list[str]:
    """What is wrong with text on a terminal."""
    found = [f"hidden {c!r}" for c in hidden(text)[:1]] + endless_marks(text)
    found += ["a forged line" for line in text.splitlines() if line.startswith(FAKE)][:1]
    return found + ["a line without end" for line in text.split("\n") if len(line) > 25_000][:1]


def wrong_csv(text: str) -> list[str]:
    """What is wrong with a table."""
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    found = [f"hidden {c!r}" for c in hidden(text)[:1]] + endless_marks(text)
    if any(len(row) != len(rows[0]) for row in rows):
        found.append("torn rows")
    cells = [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    return found + [
        f"a formula {cell!r}" for cell in cells if not re.fullmatch(r"-?[\d.e+-]+", cell)
    ]


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "marquee", "iframe", "object", "base", "form"):
            self.wrong.append(f"a tag {tag!r}")
        for name, value in attributes:
            if name.startswith("on") or (value or "").startswith(("http", "javascript", "//")):
                self.wrong.append(f"an attribute {name}={value!r:.40}")

    def handle_data(self, data: str) -> None:
        self.text += data


def wrong_html(text: str) -> list[str]:
    """What is wrong with a page."""
    return [f"hidden {c!r}" for c in hidden(text)[:1]] + endless_marks(text) + _Page(text).wrong


def wrong_markdown(text: str) -> list[str]:
    """What is wrong with a card, or with tables in Markdown and text before them."""
    found = wrong_terminal(text)
    start = 0 if text.startswith("#") else text.find("\n\n") + 1
    for token in MarkdownIt("commonmark").enable("table").parse(text[start:]):
        for each in (token, *(token.children or ())):
            if each.type in ("html_block", "html_inline", "image"):
                found.append(each.type)
    head = None
    for line in text.splitlines():
        cells = len(re.sub(r"\\.", "", line).split("|")) if line.startswith("|") else None
        if cells is not None and head is not None and cells != head:
            found.append("torn rows")
        head = cells
    return found


def wrong_json(text: str) -> list[str]:
    """What is wrong with a file for programs."""
    json.loads(text)
    return [f"hidden {c!r}" for c in hidden(text)[:1]]


CHECKS: dict[str, Callable[[str], list[str]]] = {
    ".csv": wrong_csv, ".html": wrong_html, ".md": wrong_markdown, ".json": wrong_json,
    ".log": wrong_terminal,
}  # fmt: skip


@dataclass
class Shown:
    """What one call showed.

    Args:
        ended: ``"done"``, ``"refused"``, ``"some failed"`` or the name of an untyped error.
        wrong: what is wrong, by output.
        outputs: that were looked at.
        text: all that was printed.
    """

    ended: str
    wrong: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    text: str = ""

    def look(self, output: str, wrong: Callable[[str], list[str]], text: str) -> None:
        """Note what is wrong with an output."""
        self.outputs.append(output)
        self.text += text
        try:
            self.wrong += [f"{output}: {each}" for each in wrong(text)]
        except Exception as error:  # no CSV, no JSON: as wrong as can be
            self.wrong.append(f"{output}: {type(error).__name__}: {error}")


@dataclass(frozen=True)
class Call:
    """One use of the command line.

    Args:
        words: its arguments.
        writes: a folder that is looked through after it.
        printed: what its standard output is: a suffix of `CHECKS`, or text.
    """

    words: tuple[object, ...]
    writes: Path | None = None
    printed: str = ""


def shown(call: Call) -> Shown:
    """Call the command line and look at all that comes out."""
    words = [w if isinstance(w, str) else os.fspath(w) for w in call.words]
    result = CliRunner().invoke(app, words)
    error = result.exception
    ended = {0: "done", 1: "some failed"}.get(result.exit_code, "refused")
    if error is not None and not isinstance(error, SystemExit | SkinxaiError):
        ended = type(error).__name__
    if isinstance(error, SkinxaiError):
        ended = "refused"
    found = Shown(ended)
    if ended not in ("done", "some failed", "refused"):
        found.wrong.append(f"ended by {ended}: {str(error)[:80]!a}")
    look = CHECKS.get(call.printed, wrong_terminal) if result.stdout else wrong_terminal
    found.look("stdout", look, result.stdout)
    found.look("stderr", wrong_terminal, result.stderr)
    if isinstance(error, SkinxaiError):
        found.look("error", wrong_terminal, str(error))
        found.look("error", wrong_terminal, error.on_command_line)
        if "\n" in error.on_command_line:
            found.wrong.append("error: more than one line")
    if call.writes is not None and call.writes.is_dir():
        for path in sorted(call.writes.rglob("*")):
            if path.suffix in CHECKS and path.is_file():
                data = path.read_bytes()
                text = data.decode("utf-8", "surrogatepass")
                found.look(path.name, CHECKS[path.suffix], text)
    return found
