"""Files inside plain tars, by paths such as ``shards/lesions-000000.tar/000000012.jpg``.

A tar without compression holds its files as they are, so that one of them is read with one seek.
Where each lies is found once for each tar and process, from the headers.
"""

import errno
import os
import tarfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from io import BufferedReader
from typing import NamedTuple

from skinxai.disk.regular_files import check_file, open_file, read_file
from skinxai.plain_text import printable

SUFFIX = ".tar"
MAX_TAR_BYTES = 2**40
BLOCK = 512
MAX_OPEN = 32
"""Tars that a process keeps open, those that were read last."""
_PREAD = hasattr(os, "pread")  # Windows has none, and deletes no open file
_KINDS = {
    tarfile.SYMTYPE: "a link", tarfile.LNKTYPE: "a link", tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}  # fmt: skip


class _Tar(NamedTuple):
    """What a tar held when its headers were read."""

    stamp: tuple[int, int]
    places: dict[str, tuple[int, int]]


_KNOWN: dict[str, _Tar] = {}
"""Tars whose headers this process has read, by path. A forked process inherits them."""


def members(tar: str | os.PathLike[str]) -> Mapping[str, tuple[int, int]]:
    """Offset and size of each file in a plain tar, in order; the headers are read anew.

    Raises:
        OSError: a tar that cannot be read, that is torn, or that holds a name twice, a path that
            leads out of it, a link or a device; ``strerror`` is a sentence for people.
    """
    with open_file(tar, MAX_TAR_BYTES) as file:
        status = os.fstat(file.fileno())
        found = _places(file, status.st_size)
    _opened.cache_clear()  # the tar may be another file than the one that was opened
    _KNOWN[os.fspath(tar)] = _Tar((status.st_size, status.st_mtime_ns), found)
    return found


def read_stored(path: str | bytes | os.PathLike[str], most: int) -> bytes:
    """All bytes of a regular file, or of a file in a tar, at most so many; links are followed.

    Raises:
        OSError: as in `skinxai.disk.regular_files.open_file` and `members`; also a tar that has
            changed since this process read its headers, because another image may lie there now.
    """
    inside = _inside(path)
    if inside is None:
        return read_file(path, most)
    tar, name = inside
    handle = _open(tar)
    offset, size = _place(tar, name, handle.stamp())
    if size > most:
        raise OSError(errno.EFBIG, f"it has {size} bytes and may have at most {most}")
    data = handle.read(offset, size)
    if len(data) < size:
        raise OSError(errno.EIO, f"{os.path.basename(tar)!r} is torn")  # noqa: PTH119
    return data


def stored_size(path: str | bytes | os.PathLike[str]) -> int:
    """Size in bytes of a regular file, or of a file in a tar; errors as in `read_stored`."""
    inside = _inside(path)
    if inside is None:
        return check_file(path)
    return _place(*inside, _open(inside[0]).stamp())[1]


class _Handle:
    """An open tar. It is closed when the last thread that reads from it lets it go."""

    number = -1

    def __init__(self, tar: str) -> None:
        with open_file(tar, MAX_TAR_BYTES) as file:
            self.number = os.dup(file.fileno())

    def stamp(self) -> tuple[int, int]:
        """Size and time of the last change, now."""
        status = os.fstat(self.number)
        return status.st_size, status.st_mtime_ns

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from a place on; other threads and forked processes may read at the same time."""
        if _PREAD:
            return os.pread(self.number, size, offset)
        os.lseek(self.number, offset, os.SEEK_SET)  # nobody else has this handle
        return os.read(self.number, size)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if self.number >= 0:
            close(self.number)


_opened = lru_cache(MAX_OPEN)(_Handle)


def _open(tar: str) -> _Handle:
    return _opened(tar) if _PREAD else _Handle(tar)


def _inside(path: str | bytes | os.PathLike[str]) -> tuple[str, str] | None:
    """The tar and the name in it; ``None`` of any other path, also below a folder ``x.tar``."""
    text = os.fspath(path)
    if isinstance(text, bytes) or (end := text.rfind(SUFFIX + os.sep)) < 0:
        return None
    tar = text[: end + len(SUFFIX)]
    known = tar in _KNOWN or os.path.isfile(tar)  # noqa: PTH113
    return (tar, text[len(tar) + 1 :].replace(os.sep, "/")) if known else None


def _place(tar: str, name: str, stamp: tuple[int, int]) -> tuple[int, int]:
    known = _KNOWN.get(tar)
    if known is None:
        members(tar)
        known = _KNOWN[tar]
    if known.stamp != stamp:
        raise OSError(
            errno.ESTALE,
            f"{os.path.basename(tar)!r} has changed since it was opened; open the data again",  # noqa: PTH119
        )
    if name not in known.places:
        raise FileNotFoundError(errno.ENOENT, "the tar holds no such file", f"{tar}/{name}")
    return known.places[name]


def _places(file: BufferedReader, size: int) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    try:
        tar = tarfile.TarFile(fileobj=file)
        end = 0
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # or it keeps all headers
            end = member.offset_data + -(-member.size // BLOCK) * BLOCK
            if member.isdir():
                end = member.offset_data
                continue
            name = _checked(member)
            if name in found:
                raise OSError(errno.EINVAL, f"it holds {name!r} twice")
            if member.offset_data + member.size > size:
                raise OSError(errno.EIO, f"it is torn: {name!r} ends behind its end")
            found[name] = (member.offset_data, member.size)
        file.seek(end)
        rest = file.read(2 * BLOCK)
        more = any(chunk.strip(b"\0") for chunk in iter(lambda: file.read(2**20), b""))
    except tarfile.TarError as error:
        raise OSError(errno.EINVAL, f"it is no plain tar: {error}") from error
    except (ValueError, OverflowError) as error:
        raise OSError(errno.EINVAL, f"its headers are damaged: {error}") from error
    if rest != bytes(2 * BLOCK):  # a torn tar, or one whose next header is damaged, ends early
        raise OSError(errno.EIO, "it is torn: it has no end")
    if more:  # a tar behind the tar, whose files would be missed
        raise OSError(errno.EINVAL, "it holds something behind its end")
    return found


def _checked(member: tarfile.TarInfo) -> str:
    """The name of a regular file below the tar's root."""
    name = member.name.removeprefix("./")
    shown = printable(member.name, 80)
    if member.issparse() or not member.isreg():
        kind = _KINDS.get(member.type, "something else")
        raise OSError(errno.EINVAL, f"it holds {shown!r}, which is {kind}, not a file")
    parts = name.replace("\\", "/").split("/")
    if not name or name.startswith("/") or ".." in parts or name[1:2] == ":" or "\0" in name:
        raise OSError(errno.EINVAL, f"it holds {shown!r}, a path that leads out of it")
    return name
