"""The known name that a mistyped one was meant to be."""

import difflib
from collections.abc import Callable, Iterable


def closest(
    name: object, known: Iterable[str], *, cutoff: float = 0.6, plain: Callable[[str], str] = str
) -> str | None:
    """The known name that is most like ``name``, or ``None`` where none is like it.

    Args:
        name: what came.
        known: what there is.
        cutoff: how alike it must be, 0–1.
        plain: makes both comparable, such as `str.lower`.
    """
    written = {plain(each): each for each in known}
    near = difflib.get_close_matches(plain(str(name)), written, n=1, cutoff=cutoff)
    return written[near[0]] if near else None


def did_you_mean(
    name: object, known: Iterable[str], *, cutoff: float = 0.6, plain: Callable[[str], str] = str
) -> str:
    """``" Did you mean 'x'?"``, with its blank, of `closest`; empty where nothing is like it."""
    near = closest(name, known, cutoff=cutoff, plain=plain)
    return "" if near is None else f" Did you mean {near!r}?"
