"""Reading files that came from elsewhere: regular ones alone, of bounded size, without waiting.

Every file that a user or a model's author names is opened here. Opening a pipe waits until somebody
writes into it, a device may never end, and a file of a few bytes on the disk may say that it has
terabytes: each is an `OSError` whose ``strerror`` is a sentence for people, which callers turn into
their own typed error.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

MAX_TEXT_BYTES = 64 * 2**20
"""Of settings, logs and evaluations."""
MAX_TABLE_BYTES = 2**30
"""Of tables of images and splits."""
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # a pipe put there meanwhile does not wait
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def open_file(path: str | bytes | os.PathLike[str], most: int) -> Iterator[BufferedReader]:
    """Context with a regular file of at most so many bytes, open for reading; links are followed.

    Raises:
        OSError: no such file, no regular file, a larger one, or a name that no file can have.
    """
    handle = _open(path, most)
    with os.fdopen(handle, "rb") as file:
        yield file


def read_file(path: str | bytes | os.PathLike[str], most: int) -> bytes:
    """All bytes of a regular file; limit and errors are those of `open_file`.

    A file that grows while it is read is an `OSError` as well.
    """
    with open_file(path, most) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1)
    if len(data) > size:
        raise OSError(errno.EIO, "it grew while it was read")
    return data


def check_file(path: str | bytes | os.PathLike[str], most: int | None = None) -> int:
    """Size in bytes of a regular file, which is not opened; errors are those of `open_file`."""
    check_path(path)
    status = os.stat(path)  # noqa: PTH116  (path may be bytes)
    _check(status, most)
    return status.st_size


def check_path(path: str | bytes | os.PathLike[str]) -> None:
    """Refuse, by an `OSError`, a name that no file can have, of which most calls raise otherwise.

    It has the character NUL, or one that this system's encoding of names cannot hold.
    """
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise OSError(errno.EINVAL, "no file can have this name")


def resolved(path: str | os.PathLike[str]) -> Path:
    """Where a path leads; of one that leads nowhere, as of a link to itself, the path itself."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError):
        return Path(path).absolute()


def _open(path: str | bytes | os.PathLike[str], most: int) -> int:
    check_file(path, most)  # before it is opened: that alone sets some devices going
    handle = os.open(path, _FLAGS)
    try:
        _check(os.fstat(handle), most)
    except OSError:
        os.close(handle)
        raise
    return handle


def _check(status: os.stat_result, most: int | None) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(number, f"it is {_KINDS.get(kind, 'something else')}, not a regular file")
    if most is not None and status.st_size > most:
        raise OSError(errno.EFBIG, f"it has {status.st_size} bytes and may have at most {most}")


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is there; not where no file can have this name, of which a `Path` raises."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there, as in `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112
