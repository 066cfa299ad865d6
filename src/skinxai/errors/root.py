"""The root of all errors, with its two sentences, and the warning."""

import copy
import re
from typing import Self

from skinxai.plain_text import one_line


class SkinxaiWarning(UserWarning):
    """Something that does not change a result but that its reader should know, on one line."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class SkinxaiError(Exception):
    r"""Base of all errors of this package.

    Messages quote what came from elsewhere: each is one line of bounded length, with an escape
    such as ``\x1b`` in the place of a hidden character (see `skinxai.plain_text`).

    ``index`` and ``source`` are set where the error belongs to one of several inputs:
    the position in the call's order, and what came in, as text.

    Args:
        message: the sentence. It is complete where no remedy follows as an argument of its own.
        python: a remedy in Python, without a full stop, such as ``"pass max_pixels=60_000_000"``.
        command: the same remedy as the command line has it; ``python`` where it is empty.
    """

    code = "skinxai"
    index: int | None = None
    source: str | None = None

    def __init__(self, message: str = "", *, python: str = "", command: str = "") -> None:
        super().__init__(with_remedy(message, python))
        self.on_command_line = with_remedy(message, command or python)

    def prefixed(self, text: str) -> Self:
        """The same error with ``text`` and a colon in front of both of its sentences."""
        made = copy.copy(self)
        made.args = (one_line(f"{text}: {self}"),)
        made.on_command_line = one_line(f"{text}: {self.on_command_line}")
        return made

    def at(self, index: int, source: str) -> "SkinxaiError":
        """Note which input this error belongs to, and return the error itself."""
        if self.index is None:
            self.index, self.source = index, source
            self.add_note(f"input {index}: {source}")
        return self


def for_visitors(text: str) -> str:
    """An error's sentence without the keyword that only who calls Python can pass."""
    return re.sub(r" or pass \w+=(\d+|\(.*?\))", "", text)


def with_remedy(message: str, remedy: str) -> str:
    """The sentence with its remedy, on one line."""
    return one_line(f"{message}; {remedy}." if remedy else message)
