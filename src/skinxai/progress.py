"""Progress of long work: a bar with time left, or a function that is told. No torch."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from skinxai.plain_text import printable

Tell = Callable[[int, int | None], object]
"""Is told how many are done, of how many (``None``: not known)."""
Progress = bool | Tell | None
"""``True`` or ``False``; ``None`` shows a bar on a terminal; a function is told in its place."""

_state = {"quiet": False, "command line": False}


class _Told:
    """Items, and how many of them have been taken, told to a function."""

    def __init__(self, iterable: Iterable[Any], total: int | None, tell: Tell) -> None:
        self.iterable = iterable
        self._total, self._tell = total, tell

    def __iter__(self) -> Iterator[Any]:
        for number, item in enumerate(self.iterable, 1):
            yield item
            self._tell(number, self._total)


def watched(
    items: Iterable[Any], total: int | None, progress: Progress, unit: str, what: str = ""
) -> Iterable[Any]:
    """The items, whose taking moves a bar or is told.

    Args:
        items: in order.
        total: how many, where that is known.
        progress: as in `Progress`.
        unit: what an item is called.
        what: is done with them, in front of the bar.
    """
    if progress is False:
        return items
    if callable(progress):
        return _Told(items, total, progress)
    shown: Iterable[Any] = bar(progress, iterable=items, desc=what or None, total=total, unit=unit)
    return shown


@contextmanager
def counter(total: int, progress: Progress, unit: str) -> Iterator[Callable[[int], object]]:
    """Within it, what counts steps.

    Args:
        total: how many steps.
        progress: as in `Progress`.
        unit: what a step is called.
    """
    if callable(progress):
        done = 0

        def count(steps: int) -> None:
            nonlocal done
            done += steps
            progress(min(done, total), total)

        yield count
        return
    with bar(progress, total=total, unit=unit, leave=False) as shown:
        yield shown.update


class Rounds:
    """Rounds of long work that each show a bar of their own: which one it is, and the time left.

    Args:
        total: how many rounds.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._first: tuple[int, float] | None = None

    def begin(self, number: int) -> str:
        """Words for a round that begins, such as ``3 of 5, about 12:30 left in all``.

        Args:
            number: of the round, from 1. Rounds in between that other processes have done, or that
                were done before, need no call.
        """
        from tqdm import tqdm

        now, words = time.monotonic(), f"{number} of {self.total}"
        self._first = self._first or (number, now)
        first, began = self._first
        if number <= first:
            return words
        left = (now - began) / (number - first) * (self.total - number + 1)
        return f"{words}, about {tqdm.format_interval(left)} left in all"


@contextmanager
def busy(what: str, progress: bool | None = None) -> Iterator[None]:
    """Within it, a line with the time that work takes which cannot be counted.

    Args:
        what: is done.
        progress: ``True`` or ``False``; ``None`` shows the line on a terminal.
    """
    with bar(progress, desc=what, bar_format="{desc}: {elapsed}", leave=False) as shown:
        done = threading.Event()

        def tick() -> None:
            while not done.wait(0.5):
                shown.refresh()

        clock = threading.Thread(target=tick, daemon=True)
        if not shown.disable:
            clock.start()
        try:
            yield
        finally:
            done.set()
            if clock.ident is not None:
                clock.join()


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, bars that were not asked for and what `say` says are left out."""
    before, _state["quiet"] = _state["quiet"], True
    try:
        yield
    finally:
        _state["quiet"] = before


def is_quiet() -> bool:
    """Whether `quiet` is in force."""
    return _state["quiet"]


@contextmanager
def command_line() -> Iterator[None]:
    """Within it, `say` speaks to somebody who gave a command."""
    before, _state["command line"] = _state["command line"], True
    try:
        yield
    finally:
        _state["command line"] = before


def say(line: str, *, command: str = "", error: bool = False) -> None:
    """Print what long work has to say above its bar.

    Args:
        line: one line.
        command: the same for the command line, where it differs.
        error: on standard error, in place of standard output.
    """
    if not is_quiet():
        from tqdm import tqdm

        text = command if command and _state["command line"] else line
        tqdm.write(printable(text), file=sys.stderr if error else sys.stdout)


def bar(progress: bool | None, **options: Any) -> Any:
    """A bar of tqdm on standard error.

    Args:
        progress: ``True`` or ``False``; ``None`` shows it on a terminal, unless `quiet` hides it.
        **options: of tqdm.
    """
    from tqdm import tqdm

    hidden = (True if is_quiet() else None) if progress is None else not progress
    return tqdm(disable=hidden, **_size(), **options)


def _size() -> dict[str, Any]:
    """A size for terminals that tell none, on which tqdm would draw nothing."""
    try:
        told = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):  # no terminal, or no file
        return {}
    return {} if told else {"ncols": 80, "nrows": 24}
