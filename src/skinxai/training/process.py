"""The process of a run: kept memory, typed errors, the main guard of a script."""

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

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


@contextmanager
def made_on_the_cpu() -> Iterator[None]:
    """Context in which torch makes tensors on the CPU where no device is named.

    A program may have set another default (`torch.set_default_device`), which torch's own loader of
    batches cannot use.
    """
    if torch.get_default_device().type == "cpu":
        yield
        return
    with torch.device("cpu"):
        yield


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
    One process is started that imports the script and does nothing else; it is a `TrainingError`
    if the script has no main guard, or this process is one that imports it.
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
