"""Several files of one folder that replace the old ones at one moment, or not at all.

They are first written into a hidden folder beside the old ones. One rename turns that folder into
`UNFINISHED`: at this moment the new files replace the old ones for everything that reads through
`present`. Then they are moved to their places. A process that is killed before the rename leaves
the old files untouched. After one that is killed later the next write moves the rest; until then
the folder's name tells people that the files beside it are not all of one run.
"""

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from skinxai.disk.regular_files import check_path
from skinxai.errors import OutputError

if sys.platform != "win32":
    import fcntl

UNFINISHED = "skinxai-unfinished"
"""Folder of files that belong one level higher, and replace what lies there under their names."""
Content = TypeVar("Content")
_NAME = re.compile(r"\.skinxai-[a-z0-9_]{8}")
_LEVELS = 3  # of folders that one write fills: an ensemble's has members/NAME/FILE


def write_together(folder: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Write several files of a folder, all or none of them: name → bytes, see `Staged`."""
    with Staged(folder) as staged:
        for name, data in files.items():
            staged.add(name, data)


class Staged:
    """Files of one folder that replace the old ones at one moment, or not at all.

    As a context it commits, or discards after an error. The new files need room on the disk beside
    the old ones, in a folder that is made where there is none; its other files stay. What an
    earlier process left when it was killed is removed.

    Raises:
        OutputError: from all methods: files that cannot be written or moved, or a full disk.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        if not os.fspath(folder):  # of an unset variable, say; Path() would make it "."
            raise OutputError(
                "a folder to write must have a name, got an empty text; '.' is the present one."
            )
        self.folder = Path(folder)
        self._names: list[str] = []
        self._made: list[Path] = []
        self._stage: Path | None = None
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.discard()

    def add(self, name: str, data: bytes) -> None:
        """Write one file beside the old ones; slashes in its name lead to folders below."""
        try:
            check_path(self.folder / name)
            self._check_free(name)
            self._stage = self._stage or self._begin()
            path = self._stage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise self._refusal(error) from error
        self._names.append(name)

    def commit(self) -> None:
        """Let the files that were added replace the old ones; without any, do nothing."""
        if self._stage is None:
            return
        try:
            for place, _, _ in os.walk(self._stage):
                sync_folder(Path(place))
            finish_above(self.folder)
            while not self._replace():
                _finish(self.folder)  # what another process committed meanwhile
            sync_folder(self.folder)
            self._end()
            _finish(self.folder)
        except OSError as error:
            raise self._refusal(error) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget the files that were added since the last commit."""
        stage = self._stage
        self._end()
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
            remove_empty(self._made)

    def _check_free(self, name: str) -> None:
        """Refuse what could not be moved to its place once the new files count."""
        if (self.folder / name).is_dir():
            raise IsADirectoryError(21, f"{name!r} is a folder")
        for above in Path(name).parents:
            if os.path.lexists(self.folder / above) and not (self.folder / above).is_dir():
                raise NotADirectoryError(20, f"{str(above)!r} is not a folder")

    def _begin(self) -> Path:
        """A new hidden folder that no other process takes for one that a killed one left."""
        self._made = to_be_made(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(self.folder)
        while True:
            stage = Path(tempfile.mkdtemp(prefix=".skinxai-", dir=self.folder))
            self._lock = _locked(stage, wait=True)
            if stage.exists():  # else it was removed before it was locked
                stage.chmod(0o777 & ~UMASK)
                return stage
            self._end()

    def _replace(self) -> bool:
        """The moment at which the new files count."""
        assert self._stage is not None
        try:
            self._stage.rename(self.folder / UNFINISHED)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                return False
            raise
        return True

    def _end(self) -> None:
        self._stage, self._names = None, []
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _refusal(self, error: OSError) -> OutputError:
        return OutputError(f"writing to the folder {str(self.folder)!r} failed: {error.strerror}.")


def present(path: Path) -> Path:
    """Where the content of a file lies now: its own place, or in an `UNFINISHED` folder above."""
    whole = path.absolute()
    for folder in list(whole.parents)[:_LEVELS]:
        waiting = folder / UNFINISHED / whole.relative_to(folder)
        if os.path.lexists(waiting):
            return waiting
    return path


def at_present(path: Path, read: Callable[[Path], Content]) -> Content:
    """What a function reads from a file, also while another process replaces it: see `present`."""
    while True:
        place = present(path)
        try:
            return read(place)
        except FileNotFoundError:
            if place == path:
                raise  # else it was moved to its place meanwhile


def finish_writing(folder: str | os.PathLike[str]) -> None:
    """Move to their places what a killed process left in `UNFINISHED`, and remove what it began.

    Raises:
        OutputError: they cannot be moved.
    """
    try:
        _finish(Path(folder))
        _remove_leftovers(Path(folder))
    except OSError as error:
        raise OutputError(
            f"moving the files of {str(Path(folder) / UNFINISHED)!r} to {str(folder)!r} failed: "
            f"{error.strerror}."
        ) from error


def finish_above(folder: Path) -> None:
    """Move what a killed process left in `UNFINISHED`, of a folder and of those above it."""
    whole = folder.absolute()
    for each in [whole, *whole.parents][:_LEVELS]:
        _finish(each)


def _finish(folder: Path) -> None:
    """Move all files of `UNFINISHED`; several processes may do so at once."""
    waiting = folder / UNFINISHED
    try:
        mode = waiting.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError(20, f"{str(waiting)!r} is in the way: it is not a folder")
    places = [(Path(place), names) for place, _, names in os.walk(waiting)]
    for place, names in places:
        target = folder / place.relative_to(waiting)
        target.mkdir(exist_ok=True)
        for name in names:
            with suppress(FileNotFoundError):  # another process was faster
                (place / name).replace(target / name)
        sync_folder(target)
    for place, _ in reversed(places):
        with suppress(OSError):  # gone, or filled anew by the next commit
            place.rmdir()


def _remove_leftovers(folder: Path) -> None:
    """Remove the hidden folders of processes that were killed: nobody holds their locks."""
    for path in folder.glob(".skinxai-*"):
        if _NAME.fullmatch(path.name) and not path.is_symlink():
            lock = _locked(path, wait=False)
            if lock >= 0:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path, *, wait: bool) -> int:
    """A handle that holds the lock of a folder; -1 where there is none to be had."""
    if sys.platform == "win32":  # folders cannot be opened there
        return -1
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return -1
    if lock_file(handle, wait=wait):
        return handle
    os.close(handle)
    return -1


def lock_file(handle: int, *, wait: bool) -> bool:
    """Whether an open file could be locked; never on Windows, where leftovers stay."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held, or a file system without locks
        return False
    return True


def to_be_made(folder: Path) -> list[Path]:
    """A folder and those above it that do not exist, the lowest first."""
    return [each for each in (folder, *folder.absolute().parents) if not os.path.lexists(each)]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders in order; the first that holds something ends it."""
    with suppress(OSError):
        for each in folders:
            each.rmdir()


def sync_folder(folder: Path) -> None:
    """Let what was renamed in a folder outlast a power cut."""
    if os.name == "posix":  # Windows cannot open folders, and renames are durable there
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


UMASK = _umask()
"""Read once: reading it means setting it for a moment, for all threads."""
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would write \r\n for \n
