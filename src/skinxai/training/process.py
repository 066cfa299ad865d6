"""The process of a run: kept memory, signals, typed errors, the main guard of a script."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

from skinxai.errors import OutOfMemoryError, TrainingError, WorkerCrashError
from skinxai.memory import give_back, gnu_library, is_out_of_memory

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}


@contextmanager
def kept_memory() -> Iterator[None]:
    """Context in which freed memory stays with the process; it is returned at the end.

    The GNU C library returns large blocks to the kernel as soon as they are freed and fetches them
    again a moment later, page by page. On a CPU a training step frees and fetches all of its
    activations, which costs up to as much time as its arithmetic.

    It changes nothing if the C library is not GNU's.
    """
    if (library := gnu_library()) is None:
        yield
        return
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    library.mallopt(_MMAP_MAX, 0)
    try:
        yield
    finally:
        for name, value in _DEFAULTS.items():
            library.mallopt(name, value)
        give_back()


_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


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
            for number in self._before:
                signal.signal(number, signal.SIG_IGN)
            self._before = {}
        self._restore()
        if number == signal.SIGINT:
            raise KeyboardInterrupt(signal.SIGINT.name)
        raise SystemExit(128 + number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or number
        if not self._launched:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@contextmanager
def typed_errors() -> Iterator[None]:
    """Context that turns torch's plain errors about workers and memory into typed ones.

    torch reports a dead worker from a signal handler, so the error can arise at any line of this
    process; memory may run out in the optimiser or while a checkpoint is put together.

    Raises:
        WorkerCrashError: if a worker died.
        OutOfMemoryError: if memory runs out where no smaller micro-batch would help.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if str(error).startswith("DataLoader worker"):
            raise WorkerCrashError(
                f"a decoding process died: {error}",
                python="resume the run, with workers=0 to find the image",
                command="give the same command with --resume, and --workers 0 to find the image",
            ) from error
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                f"out of memory outside the micro-batch: {error}; resume the run where there is "
                f"more memory, or use a smaller backbone."
            ) from error
        raise


_NAME, _CODE = "skinxai-main-guard", 78


def check_main_guard(workers: int) -> None:
    """Refuse a script without a main guard before anything is written.

    On Windows and macOS, and wherever `multiprocessing` starts by ``spawn`` or ``forkserver``, each
    decoding process imports the script that started it. Without a main guard it would train, too.
    One process is started that imports the script and does nothing else.

    Args:
        workers: number of decoding processes that the run is going to start.

    Raises:
        TrainingError: if the script has no main guard, or this process is one that imports it.
    """
    here = multiprocessing.current_process()
    if getattr(here, "_inheriting", False):  # true as long as the script is being imported
        if here.name == _NAME:
            sys.exit(_CODE)
        raise _without_guard()
    if not workers or here.daemon or multiprocessing.get_start_method() == "fork":
        return
    process = multiprocessing.Process(target=_nothing, name=_NAME)
    process.start()
    process.join()
    if process.exitcode == _CODE:
        raise _without_guard()


def _without_guard() -> TrainingError:
    return TrainingError(
        "a script must not train while decoding processes import it, as they do on Windows, on "
        "macOS and with the start method 'spawn'; this one does",
        python='put the call of fit under `if __name__ == "__main__":`, or pass workers=0',
    )


def _nothing() -> None:
    """Do nothing; the process that runs this only imports the script."""
