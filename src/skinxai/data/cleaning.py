"""Text of tables and file names as people mean it: blanks, unknown values, Unicode forms."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from skinxai.plain_text import printable

NO_ID = frozenset(
    {
        "", "nan", "-nan", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nat", "null", "none", "-",
        "--", "?", "unknown", "missing",
    }
)  # fmt: skip
"""Texts that mean an unknown lesion or patient, in lower case."""
NO_LABEL = NO_ID - {"unknown", "missing"}
"""Texts that mean a missing label; ``unknown`` is a class of some data sets."""
MAX_AGE = 120
SEXES = frozenset({"male", "female"})
_BLANKS = r"[\s\x00\u200b-\u200f\u2060\ufeff]+"  # \s has the no-break space; the rest has no width
_NUMBER = re.compile(r"([0-9]+)(\.0)?")
_OUTER = re.compile(f"^{_BLANKS}|{_BLANKS}$")


def clean(text: str) -> str:
    """Strip blanks of any kind and compose the text (Unicode NFC)."""
    return unicodedata.normalize("NFC", _OUTER.sub("", text))


def known_id(text: str) -> str:
    """A lesion or patient id as `plain_id` returns it; empty if the text means "unknown"."""
    return plain_id(_known(text))


def plain_id(text: str) -> str:
    """A lesion or patient id without blanks around it, composed; ``12.0`` is ``12``.

    Whole numbers are written so where a table has empty cells in their column.
    """
    text = unicodedata.normalize("NFC", text.strip())
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text


def path_text(path: str) -> str:
    r"""A path in composed form, with ``\xe4`` for bytes that are not UTF-8."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", text)


def path_id(path: str) -> str:
    r"""A path as an image id: `path_text`, and ``\x1b`` for each hidden character."""
    return printable(path_text(path))


def fold(label: str) -> str:
    """A key that is the same for labels that differ only as `alike` says."""
    text = unicodedata.normalize("NFC", re.sub(_BLANKS, "", label).casefold())
    number = _NUMBER.fullmatch(text)
    return number[1].lstrip("0") or "0" if number else text


def alike(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only by blanks, case, zeros or composed letters, sorted."""
    groups: dict[str, set[str]] = {}
    for label in labels:
        groups.setdefault(fold(label), set()).add(label)
    return [sorted(group) for _, group in sorted(groups.items()) if len(group) > 1]


def known_attributes(values: Mapping[str, str], counted: Counter[str]) -> dict[str, str]:
    """Attributes with sexes in lower case, ages with a decimal point, and neither if impossible.

    The columns are found whatever the case of their names. What is left out is counted: remark on a
    row → number of rows.
    """
    kept = dict(values)
    for name, text in values.items():
        column = name.casefold()
        if column in ("age", "age_approx"):
            kept[name] = _age(text, counted)
        elif column == "sex":
            sex = clean(text).casefold()
            counted["with an unknown sex"] += sex not in {*SEXES, *NO_ID}
            kept[name] = sex if sex in SEXES else ""
    return kept


def _age(text: str, counted: Counter[str]) -> str:
    if not (text := _known(text)):
        return ""
    text = text.replace(",", ".")
    try:
        sound = 0 <= float(text) <= MAX_AGE
    except ValueError:
        sound = False
    counted["with an age outside 0–120"] += not sound
    return text if sound else ""


def _known(text: str) -> str:
    text = clean(text)
    return "" if text.lower() in NO_ID else text
