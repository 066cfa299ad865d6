"""Writing files whole or not at all."""

import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from skinxai.disk.regular_files import check_path
from skinxai.disk.staging import (
    UMASK,
    finish_above,
    lock_file,
    remove_empty,
    sync_folder,
    to_be_made,
)
from skinxai.errors import OutputError

_TEMPORARY = re.compile(r"\.[a-z0-9_]{8}\.part")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` as by `atomic_file`: a crash leaves what was there before."""
    with atomic_file(path) as out:
        out.write(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as JSON for people to read, as by `atomic_file`."""
    write_atomic(path, json.dumps(value, indent=2).encode() + b"\n")


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Context with a file to write, which takes the place of ``path`` where no error ends it.

    Raises:
        OutputError: the path is a folder, cannot be written, or the disk is full.
    """
    target = Path(path)
    temporary, lock = None, -1
    try:
        check_path(target)
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        finish_above(target.parent)
        handle, temporary, lock = _temporary_in(target.parent)
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(0o666 & ~UMASK)
        Path(temporary).replace(target)
        temporary = None
        sync_folder(target.parent)
    except OSError as error:
        raise OutputError(f"writing {str(target)!r} failed: {_reason(target, error)}.") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if lock >= 0:
            os.close(lock)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left of files of `atomic_file`.

    Files that another process is writing stay: it holds their locks.

    Raises:
        OutputError: the folder cannot be read.
    """
    try:
        for path in folder.glob(".*.part"):
            if not _TEMPORARY.fullmatch(path.name):
                continue
            with suppress(OSError):  # gone meanwhile, or somebody else's
                handle = os.open(path, os.O_RDWR | _NO_LINK)
                try:
                    if lock_file(handle, wait=False):
                        path.unlink()
                finally:
                    os.close(handle)
    except OSError as error:
        raise OutputError(
            f"reading the folder {str(folder)!r} failed: {error.strerror}."
        ) from error


def _temporary_in(folder: Path) -> tuple[int, str, int]:
    """A new file that `remove_leftovers` of no other process takes for a leftover.

    It is its handle, its path, and a second handle that holds its lock, or -1.
    """
    while True:
        handle, path = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
        if not lock_file(handle, wait=True):
            return handle, path, -1
        if os.fstat(handle).st_nlink:  # else it was removed before it was locked
            return handle, path, os.dup(handle)
        os.close(handle)


def append_line(path: str | os.PathLike[str], line: str) -> None:
    """Add a line of UTF-8 to a file, which is made where there is none.

    Raises:
        OutputError: no regular file, or one that cannot be written.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
    try:
        check_path(path)
        with os.fdopen(os.open(path, flags, 0o666), "ab") as out:
            if not stat.S_ISREG(os.fstat(out.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            out.write(f"{line}\n".encode("utf-8", "backslashreplace"))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        reason = _reason(Path(path), error)
        raise OutputError(f"writing {os.fspath(path)!r} failed: {reason}.") from error


def _reason(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}; make it first"
    return error.strerror or str(error)


def make_folder(path: Path) -> None:
    """Make a folder and its parents where they do not exist.

    Raises:
        OutputError: a file is in the way, or it may not be written.
    """
    try:
        check_path(path)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"making the folder {str(path)!r} failed: {error.strerror}.") from error


def check_folder(folder: str | os.PathLike[str]) -> None:
    """Refuse a folder that cannot be written, before there is anything to write; make nothing.

    Raises:
        OutputError: a file, or a folder, there or to be made, that cannot be written.
    """
    path = Path(folder)
    try:
        check_path(path)
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
    """Context in which a folder exists; what was made for it goes if an error leaves it empty."""
    made = to_be_made(path)
    make_folder(path)
    try:
        yield
    except BaseException:
        remove_empty(made)
        raise


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escape_cell(text: str) -> str:
    """A table's cell that no spreadsheet takes for a formula: such text gets a ``'`` in front."""
    return "'" + text if text.startswith((*_FORMULA, "'")) else text


def unescape_cell(text: str) -> str:
    """Inverse of `escape_cell`."""
    return text[1:] if text.startswith("'") else text
