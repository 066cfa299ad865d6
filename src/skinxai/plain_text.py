"""Text from elsewhere: what is accepted as a label or a name, and how any text is shown.

Hidden characters are those that a reader does not see and that a terminal, or the reader, obeys:
control and format characters (also those that turn the direction of a line), lone surrogates,
private and unassigned ones, line and paragraph separators, and letters that are drawn as nothing.
A joiner of Arabic and Indic scripts or of emoji is not hidden where it stands alone between such
characters, nor is a variation selector alone after a character outside ASCII, or in a keycap.
Combining marks are hidden after `MAX_MARKS` in a row: more cover the lines above and below.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

MAX_CODE, MAX_NAME, MAX_LICENCE, MAX_LINE = 100, 200, 1000, 20_000
"""Most characters of a label code, of a name or id, of a licence, and of any other line."""
MAX_MARKS = 10
"""Most combining marks in a row. Scripts need up to 8; Unicode's stream-safe format allows 30."""
_KINDS = {
    "Cc": "a control character", "Cf": "a format character", "Cs": "a lone surrogate",
    "Co": "a private character", "Cn": "an unassigned character", "Zl": "a line separator",
    "Zp": "a paragraph separator",
}  # fmt: skip
_JOINERS = "\u200c\u200d"
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_MARKUP = re.compile(r"([\\`*\[\]<>|&~$!]|(?<![^\W_])_|_(?![^\W_]))")


def printable(text: str, longest: int | None = None, *, keep: str = "") -> str:
    r"""Text with an escape, such as ``\x1b``, in the place of each hidden character.

    Args:
        text: any text.
        longest: most characters of the result; the middle of a longer one is left out.
        keep: hidden characters that stay.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(
            _escaped(char) if char not in keep and _hidden(text, place) else char
            for place, char in enumerate(text)
        )
    if longest is None or len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[: half - 1]}…{text[half - longest :]}"


def composed(text: Any) -> Any:
    """Text in Unicode's composed form (NFC), in which names are compared; other values stay."""
    return unicodedata.normalize("NFC", text) if isinstance(text, str) else text


def quoted(text: str, longest: int | None = None) -> str:
    """Text in quotes, `printable`: for text that may be escaped already, which `repr` doubles."""
    return f"'{printable(text, longest)}'"


def agreeing(count: float, one: str, many: str) -> str:
    """The word of a sentence that agrees with a number: ``one`` of 1, else ``many``."""
    return one if count == 1 else many


def counted(count: float, noun: str) -> str:
    """A number and its noun, such as ``1 case`` and ``2 cases``: the one place that decides it."""
    return f"{count} {agreeing(count, noun, f'{noun}es' if noun.endswith('s') else f'{noun}s')}"


def each_once(texts: Iterable[str]) -> list[str]:
    """The texts that are not empty, each once, in order."""
    return [text for text in dict.fromkeys(texts) if text]


def one_line(text: str, longest: int = MAX_LINE) -> str:
    """Text for a message: its lines joined by blanks, `printable`, of bounded length."""
    return printable(re.sub(r"\s*[\r\n]+\s*", " ", text.strip("\r\n")), longest)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def broken_rule(what: str, text: object, longest: int) -> str:
    """Why text is not accepted, as a sentence; empty where it is printable, on one line and short.

    Args:
        what: the text is, e.g. ``"licence"``.
        text: as it came; what is no text is not accepted either.
        longest: most characters.
    """
    if not isinstance(text, str):
        return f"{what} must be text, got {type(text).__name__}."
    if len(text) > longest:
        reason = f"which has {counted(len(text), 'character')}"
    elif found := _first_hidden(text):
        reason = f"which holds {_escaped(found)}, {_kind(found)}"
    else:
        return ""
    return (
        f"{what} must be printable text on one line, of at most {longest} characters, got "
        f"{quoted(text, 80)}, {reason}."
    )


def markdown(text: str) -> str:
    """Text that Markdown shows as it is: no picture, HTML, emphasis or column of a table."""
    return _MARKUP.sub(r"\\\1", printable(text))


def markdown_code(text: str) -> str:
    """Text in Markdown's type of code, also in a table."""
    text = printable(text)
    return markdown(text) if "`" in text or "|" in text or not text else f"`{text}`"


def _first_hidden(text: str) -> str:
    if text.isascii() and text.isprintable():
        return ""
    return next((char for place, char in enumerate(text) if _hidden(text, place)), "")


def _kind(hidden: str) -> str:
    if hidden in _INVISIBLE or _SELECTORS.fullmatch(hidden):
        return "a character that is not seen"
    if _is_mark(hidden):
        return f"a combining mark after {MAX_MARKS} others"
    return _KINDS[unicodedata.category(hidden)]


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _hidden(text: str, place: int) -> bool:
    char = text[place]
    if " " <= char <= "~":
        return False
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if char in _JOINERS:
        alone = before not in _JOINERS and after not in _JOINERS
        return not (alone and before >= "\u0600" and after >= "\u0600")
    if _SELECTORS.fullmatch(char):
        return _SELECTORS.fullmatch(before) is not None or (before < "\u00a9" and after != "\u20e3")
    if char in _INVISIBLE:
        return True
    if not _is_mark(char):
        return unicodedata.category(char) in _KINDS
    run = text[max(0, place - MAX_MARKS) : place]
    return len(run) == MAX_MARKS and all(map(_continues_marks, run))


def _is_mark(char: str) -> bool:
    return unicodedata.category(char) in ("Mn", "Me")


def _continues_marks(char: str) -> bool:
    return char in _JOINERS or _is_mark(char)
