"""Which files of a folder are images, and a count of those that are not read."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from skinxai.disk.regular_files import open_file
from skinxai.disk.tar_members import SUFFIX as TAR
from skinxai.disk.tar_members import members
from skinxai.errors import InputPathError
from skinxai.images.limits import MAX_BYTES
from skinxai.plain_text import agreeing, counted, quoted
from skinxai.results.drawing import MARK_WITHIN, is_own_picture

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
)
"""Of the files that are taken for images wherever names are listed; a file's content decides how
it is read."""
TEXTS = frozenset({".csv", ".tsv", ".tab", ".txt", ".md", ".json", ".html", ".xlsx", ".sha256"})
"""Tables and texts that are expected beside images."""
SYSTEM = frozenset({"thumbs.db", "desktop.ini", "readme", "license", "licence"})
"""Names, in lower case, that are expected beside images."""
SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information"}
)
"""Names, in lower case, of folders in which systems keep previews and what was deleted."""
OWN, IN_OUT, NO_SUFFIX = "written by skinxai", "in the output folder", "without a suffix"
MOST_KINDS = 6


@dataclass
class LeftOut:
    """The files of one folder or pattern that are not read, counted by kind.

    Hidden files, `TEXTS` and `SYSTEM` are expected beside images and are not in ``kinds``.

    Args:
        place: the folder, with a slash at its end, or the pattern.
        kinds: suffix, or what else a file is, → how many files.
        expected: suffix → how many files that are expected beside images.
        links: linked folders, which are not followed.
        closed: folders that cannot be opened.
    """

    place: str
    kinds: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    links: int = 0
    closed: int = 0
    _stems: dict[str, str] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.kinds or self.links or self.closed)

    @property
    def note(self) -> str:
        """For people: ``3 files of lesions/ are not read: 2 .heic, 1 without a suffix``."""
        found = []
        if count := sum(self.kinds.values()):
            found.append(f"{self._several(count, 'file')} not read: {by_kind(self.kinds)}")
        if self.links:
            found.append(f"{self._several(self.links, 'linked folder')} not followed")
        if self.closed:
            found.append(f"{self._several(self.closed, 'folder')} closed to this user")
        return "; ".join(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        folders = {"linked folder": self.links, "closed folder": self.closed}
        kinds = {name: count for name, count in (*self.kinds.items(), *folders.items()) if count}
        return {"source": self.place, "left_out": kinds}

    def add(self, other: "LeftOut") -> None:
        """Count what another folder leaves out as well."""
        self.kinds += other.kinds
        self.expected += other.expected
        self.links, self.closed = self.links + other.links, self.closed + other.closed
        self._stems |= other._stems

    def kind_of(self, name: str) -> str:
        """The kind of a file that is not read, by its name or stem; empty if there is none."""
        return self._stems.get(name, "")

    def all_kinds(self) -> str:
        """All that was found, what is expected beside images included; empty if nothing was."""
        return by_kind(self.kinds + self.expected)

    def is_read(self, path: str, *, in_out: bool = False) -> bool:
        """Whether a file is an image that is read; if it is not, it is counted.

        Args:
            path: the file.
            in_out: whether it lies in the folder that results go to.
        """
        name = os.path.basename(path)  # noqa: PTH119  (half the time of a Path)
        if name.startswith("."):
            return False
        suffix = _suffix(name)
        if suffix not in SUFFIXES:
            known = suffix in TEXTS or name.lower() in SYSTEM
            if not in_out:
                (self.expected if known else self.kinds)[suffix or NO_SUFFIX] += 1
            if suffix and not known:
                self._stems |= {name: suffix, name[: -len(suffix)]: suffix}
            return False
        if in_out or (suffix == ".png" and _is_own(path)):
            self.kinds[IN_OUT if in_out else OWN] += 1
            return False
        return True

    def _several(self, count: int, what: str) -> str:
        return f"{counted(count, what)} of {self.place} {agreeing(count, 'is', 'are')}"


def image_files(folder: str, left: LeftOut, out: str | None = None) -> Iterator[str]:
    """The images below a folder, subfolders included, each folder's files sorted.

    Hidden files, hidden folders and `SYSTEM_FOLDERS` are skipped, linked folders not followed.

    Args:
        folder: where to look.
        left: counts what is left out.
        out: real path of the folder that results go to, whose files are not read; one that is
            ``folder`` itself, or is not below it, changes nothing.
    """
    if out is not None and not is_below(out, os.path.realpath(folder)):
        out = None

    def closed(_: OSError) -> None:
        left.closed += 1

    for place, folders, files in os.walk(folder, onerror=closed):
        here = [name for name in sorted(folders) if not is_hidden(name)]
        linked = {name for name in here if os.path.islink(os.path.join(place, name))}  # noqa: PTH114, PTH118
        left.links += len(linked)
        folders[:] = [name for name in here if name not in linked]
        real = None if out is None else os.path.realpath(place)
        in_out = real is not None and (real == out or is_below(real, out))
        for name in sorted(files):
            path = os.path.join(place, name)  # noqa: PTH118
            if left.is_read(path, in_out=in_out):
                yield path


def is_hidden(folder: str) -> bool:
    """Whether a folder, by its name, is hidden or one of `SYSTEM_FOLDERS`."""
    return folder.startswith(".") or folder.lower() in SYSTEM_FOLDERS


def shards_of(folder: str | os.PathLike[str]) -> list[str]:
    """The tars of a folder that holds tars and neither pictures nor folders, sorted."""
    tars = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            if entry.is_dir() or _suffix(entry.name) in SUFFIXES:
                return []
            if _suffix(entry.name) == TAR:
                tars.append(entry.path)
    return sorted(tars)


def shard_images(tars: Iterable[str]) -> Iterator[str]:
    """Paths of the images in some tars, in order.

    Raises:
        InputPathError: a tar that is torn, or that cannot be read for another reason.
    """
    for tar in tars:
        try:
            names = members(tar)
        except OSError as error:
            raise InputPathError(
                f"shard {quoted(tar)} must be a whole tar of images: {error.strerror}."
            ) from error
        for name in names:
            if _suffix(name) in SUFFIXES:
                yield os.path.join(tar, *name.split("/"))  # noqa: PTH118


def is_below(path: str, folder: str | None) -> bool:
    """Whether a real path lies below another one, and is not that one itself."""
    return folder is not None and path != folder and path.startswith(folder.rstrip(os.sep) + os.sep)


def by_kind(kinds: Mapping[str, int]) -> str:
    """Counts of kinds, the most frequent first: ``2 .heic, 1 without a suffix``."""
    ranked = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} {kind}" for kind, count in ranked[:MOST_KINDS]]
    if rest := sum(count for _, count in ranked[MOST_KINDS:]):
        shown.append(f"{rest} of {counted(len(ranked) - MOST_KINDS, 'other kind')}")
    return ", ".join(shown)


def _suffix(name: str) -> str:
    """Suffix in lower case; empty where what follows the last dot is no suffix.

    DICOM files are often named by their id, which ends in a dot and a number.
    """
    stem, dot, last = name.rpartition(".")
    sound = stem and re.fullmatch(r"(?!\d+$)[^\W_][\w~+-]{0,11}", last)
    return f"{dot}{last.lower()}" if sound else ""


def _is_own(path: str) -> bool:
    try:
        with open_file(path, MAX_BYTES) as file:
            return is_own_picture(file.read(MARK_WITHIN))
    except OSError:
        return False  # reading it says what is wrong
