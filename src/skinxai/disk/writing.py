"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from skinxai.disk.staging import UMASK, finish_above, sync_folder
from skinxai.errors import OutputError


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all: a crash leaves what was there before.

    Raises:
        OutputError: the path is a folder, cannot be written, or the disk is full.
    """
    target = Path(path)
    temporary = None
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        finish_above(target.parent)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(0o666 & ~UMASK)
        Path(temporary).replace(target)
        temporary = None
        sync_folder(target.parent)
    except OSError as error:
        raise OutputError(
            f"output {str(target)!r} must be a file that can be written: {error.strerror}."
        ) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Add a line of UTF-8 to a file, which is made where there is none.

    Raises:
        OutputError: no regular file, or one that cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, flags, 0o666), "ab") as out:
            if not stat.S_ISREG(os.fstat(out.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            out.write(f"{line}\n".encode("utf-8", "backslashreplace"))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise OutputError(
            f"output {os.fspath(path)!r} must be a file that can be written: {error.strerror}."
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and its parents where they do not exist.

    Raises:
        OutputError: a file is in the way, or it may not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"folder {str(path)!r} must be a folder that can be written: {error.strerror}."
        ) from error


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that cannot be written, before there is anything to write; make nothing.

    Raises:
        OutputError: a file, or a folder, there or to be made, that cannot be written.
    """
    path = Path(folder)
    try:
        nearest = next(each for each in (path, *path.absolute().parents) if os.path.lexists(each))
        reason = "" if nearest.is_dir() else f"{str(nearest)!r} is not a folder"
        if not reason and not os.access(nearest, os.W_OK | os.X_OK):
            reason = f"{str(nearest)!r} cannot be written"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise OutputError(f"out must be a folder that can be written, got {str(path)!r}: {reason}.")


@contextmanager
def made_folder(path: Path) -> Iterator[None]:
    """Context in which a folder exists; what was made for it goes where an error leaves it empty.

    Raises:
        OutputError: the folder cannot be made.
    """
    made = [each for each in (path, *path.absolute().parents) if not os.path.lexists(each)]
    make_folder(path)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # the first that holds something ends it
            for each in made:
                each.rmdir()
        raise


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escape_cell(text: str) -> str:
    """A table's cell that no spreadsheet takes for a formula: such text gets a ``'`` in front."""
    return "'" + text if text.startswith((*_FORMULA, "'")) else text


def unescape_cell(text: str) -> str:
    """Inverse of `escape_cell`."""
    return text[1:] if text.startswith("'") else text
