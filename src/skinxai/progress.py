"""Progress of long work: a bar with time left, or a function that is told. No torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Tell = Callable[[int, int | None], object]
"""Is told how many are done, of how many (``None``: not known)."""
Progress = bool | Tell | None
"""``True`` or ``False``; ``None`` shows a bar on a terminal; a function is told in its place."""


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
    items: Iterable[Any], total: int | None, progress: Progress, unit: str
) -> Iterable[Any]:
    """The items, whose taking moves a bar or is told.

    Args:
        items: in order.
        total: how many, where that is known.
        progress: as in `Progress`.
        unit: what an item is called.
    """
    if progress is False:
        return items
    if callable(progress):
        return _Told(items, total, progress)
    from tqdm import tqdm

    return tqdm(items, total=total, unit=unit, disable=_hidden(progress))


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
    from tqdm import tqdm

    disable = True if progress is False else _hidden(progress)
    with tqdm(total=total, unit=unit, disable=disable, leave=False) as bar:
        yield bar.update


def _hidden(progress: bool | None) -> bool | None:
    return None if progress is None else not progress  # None: hidden unless on a terminal
