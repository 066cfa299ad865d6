"""Files that visitors send, alone or in a zip: in memory alone, within limits."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from zipfile import ZIP_BZIP2, ZipInfo

from skinxai.demo.archives import Refusal, content, directory, is_zip
from skinxai.plain_text import printable

MIB = 1024**2
MAX_FILE = 25 * MIB
"""Bytes of an image."""
MAX_ZIP = 200 * MIB
"""Bytes of a zip, packed."""
MAX_UNPACKED = 500 * MIB
"""Bytes of all images of a batch, unpacked."""
MAX_FILES = 1000
"""Images of one batch."""
MAX_NAME = 200
"""Characters of a file's name, in a zip together with the zip's."""
EMPTY = "The file is empty, or was dropped to make room for other files: send it again."
_BLOCK = MIB
"""Bytes that bzip2 unpacks at least, however few are wanted."""


@dataclass(frozen=True)
class Upload:
    r"""A file.

    Args:
        name: that its visitor gave it; in its place a printable one of bounded length is kept, with
            an escape such as ``\x1b`` for each hidden character.
        data: its content.
    """

    name: str
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name, MAX_NAME))

    @cached_property
    def key(self) -> tuple[str, str]:
        """Name and SHA-256: what an answer belongs to, so that no visitor sees another's name."""
        return self.name, hashlib.sha256(self.data).hexdigest()

    def open(self) -> io.BytesIO:
        """The content as a file of that name."""
        return _Named(self.data, self.name)


class _Named(io.BytesIO):
    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


@dataclass(frozen=True)
class Refused:
    """In the place of a file that gets no answer."""

    name: str
    reason: str


class Images:
    """Images of files and of the zips among them, in order; what is against a limit is refused.

    One after the other: what the images of zips take of the memory is for the caller to keep.

    Args:
        files: of a batch. The directory of each zip is read once, here.

    Attributes:
        count: how many there are.
    """

    def __init__(self, files: Iterable[Upload]) -> None:
        self._files = [(file, _parts(file)) for file in files]
        self.count = min(sum(len(parts) for _, parts in self._files), MAX_FILES)

    def __iter__(self) -> Iterator[Upload | Refused]:
        left, count = MAX_UNPACKED, 0
        for file, parts in self._files:
            for part in parts:
                if count == MAX_FILES:
                    yield Refused(file.name, f"A batch must have at most {MAX_FILES} images.")
                    return
                count += 1
                found = _read(file, part, left) if isinstance(part, ZipInfo) else part
                left -= _cost(part)
                yield found


def _parts(file: Upload) -> list[Upload | Refused | ZipInfo]:
    """The file itself, or the entries of a zip; those that file managers add are passed over."""
    if not is_zip(file.data):
        return [_limited(file)]
    if len(file.data) > MAX_ZIP:
        return [Refused(file.name, f"A zip must have at most {MAX_ZIP // MIB} MiB.")]
    try:
        entries = directory(file.data)
    except Refusal as error:
        return [Refused(file.name, str(error))]
    return [
        entry
        for entry in entries
        if not (entry.filename.endswith("/") or _path(entry).name.startswith("."))
        and _path(entry).parts[:1] != ("__MACOSX",)
    ]


def _path(entry: ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _limited(file: Upload) -> Upload | Refused:
    if len(file.data) > MAX_FILE:
        return Refused(file.name, f"An image must have at most {MAX_FILE // MIB} MiB.")
    return file if file.data else Refused(file.name, EMPTY)


def _cost(part: Upload | Refused | ZipInfo) -> int:
    """Bytes of the batch's limit that a file takes; damaged entries were unpacked as well."""
    if isinstance(part, ZipInfo):
        least = _BLOCK if part.compress_type == ZIP_BZIP2 else part.compress_size
        return min(MAX_FILE, max(part.file_size, least))
    return len(part.data) if isinstance(part, Upload) else 0


def _read(file: Upload, entry: ZipInfo, left: int) -> Upload | Refused:
    """An image of a zip; nothing is written, so that no name can lead out of a folder."""
    path = _path(entry)
    name = printable(f"{file.name}/{path}", MAX_NAME)
    if reason := _against(entry, path, left):
        return Refused(name, reason)
    try:
        return Upload(name, content(file.data, entry))
    except Refusal as error:
        return Refused(name, str(error))


def _against(entry: ZipInfo, path: PurePosixPath, left: int) -> str:
    """Why an entry is refused; empty where it is not."""
    if not path.name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "A name in a zip must lie inside it, but this one leads outside."
    if entry.file_size > MAX_FILE:
        return f"An image must have at most {MAX_FILE // MIB} MiB."
    if _cost(entry) > left:
        return f"The images of a batch must have at most {MAX_UNPACKED // MIB} MiB together."
    return ""
