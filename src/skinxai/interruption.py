"""Signals that ask long work to end: noted, so that it ends between two steps, or raised.

What a handler raises within `concurrent.futures` can leave a lock held for which a thread of the
pool then waits for ever, and the program with it. `mapped` keeps them apart.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

if TYPE_CHECKING:
    from concurrent.futures import Executor

Result = TypeVar("Result")
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class SignalExit(SystemExit):
    """The end of the program that a signal asked for, unlike one that a plugin asks for."""


class Interruption:
    """Context that notes SIGINT, SIGTERM and SIGHUP in ``received`` instead of ending the process.

    A second signal has its usual effect at once. If the context ends without an error and without
    `stop`, a noted signal has its effect then. Signals that the program was started to ignore
    (``nohup``, background jobs of a shell) stay ignored. Outside the main thread Python delivers
    no signals, and nothing is changed.

    Args:
        launched: whether a launcher started this process as one of several ranks. It passes each
            signal on, so that Ctrl-C arrives twice, and ends ranks that do not end within its own
            time; further signals are ignored then, also after `stop`.
    """

    def __init__(self, *, launched: bool = False) -> None:
        self.received: int | None = None
        self._launched = launched
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            ignored = (signal.SIG_IGN, None)  # None: installed by other code than Python's
            wanted = [number for number in _SIGNALS if signal.getsignal(number) not in ignored]
            self._before = {number: signal.signal(number, self._note) for number in wanted}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._restore()
        if kind is None and self.received:
            self.stop()

    def stop(self, number: int | None = None) -> None:
        """End the program as a signal would have: `KeyboardInterrupt`, or 128 + its number.

        Args:
            number: the signal; ``None``: the noted one.
        """
        number = number or self.received or 0
        if self._launched:
            for each in self._before:
                signal.signal(each, signal.SIG_IGN)
            self._before = {}
        self._restore()
        if number == signal.SIGINT:
            raise KeyboardInterrupt(signal.SIGINT.name)
        raise SignalExit(128 + number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if not self._launched:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@contextmanager
def signals_raise() -> Iterator[None]:
    """Context in which SIGTERM and SIGHUP raise `SignalExit` of 128 + their number.

    They would end the process without its ``finally`` clauses, in which what is done is written. A
    second one does so, as it does in a forked process. Other handlers stay as they are.
    """
    process, before = os.getpid(), {}

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != process:
            signal.raise_signal(number)
        raise SignalExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        usual = [number for number in _SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
        before = {number: signal.signal(number, end) for number in usual}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Context at whose end SIGINT, SIGTERM and SIGHUP have the handlers that they had before it."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not handler and handler is not None:
                signal.signal(number, handler)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Context at whose end SIGINT, SIGTERM and SIGHUP have the effect that they would have had.

    A second signal has its effect at once.
    """
    held = Interruption()
    held.__enter__()
    try:
        yield
    finally:
        held._restore()
        if held.received:
            signal.raise_signal(held.received)


def mapped(
    pool: Executor, function: Callable[..., Result], *items: Iterable[Any]
) -> Iterator[Result]:
    """Yield what ``pool.map(function, *items)`` does; a signal waits for the next result."""
    with signals_wait():
        results = cast("Generator[Result]", pool.map(function, *items))
    try:
        while True:
            with signals_wait():
                try:
                    result = next(results)
                except StopIteration:
                    return
            yield result
            del result  # a large one is not kept while the next one is made
    finally:
        with signals_wait():
            results.close()
