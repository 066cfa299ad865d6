"""What may fail at any line of a run, as errors of skinxai."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skinxai.errors import OutOfMemoryError, WorkerCrashError
from skinxai.memory import is_out_of_memory


@contextmanager
def typed_errors() -> Iterator[None]:
    """Context in which torch's plain errors about workers and memory get their types.

    torch tells of a dead worker by a signal handler, so that the error comes up wherever this
    process is; memory may run out in the optimiser or while a checkpoint is put together.

    Raises:
        WorkerCrashError: a worker died.
        OutOfMemoryError: no memory where no smaller micro-batch would help.
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
                f"memory must hold the run beside its micro-batches, it does not: {error}; resume "
                f"the run where there is more, or take a smaller backbone."
            ) from error
        raise
