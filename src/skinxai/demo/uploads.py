"""Files that visitors send, alone or in a zip: in memory alone, within limits."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from skinxai.sources import describe

MIB = 1024**2
MAX_FILE = 25 * MIB
"""Bytes of an image."""
MAX_ZIP = 200 * MIB
"""Bytes of a zip, packed."""
MAX_UNPACKED = 500 * MIB
"""Bytes of all images of a batch, unpacked."""
MAX_FILES = 1000
"""Images of one batch."""
MAX_NAME = 300
"""Characters of an image's name in a zip."""
DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, NotImplementedError,
    RuntimeError, ValueError, IndexError,
)  # fmt: skip
"""What zipfile raises of damaged files."""


@dataclass(frozen=True)
class Upload:
    """A file.

    Args:
        name: that its visitor gave it.
        data: its content.
    """

    name: str
    data: bytes = field(repr=False)

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
    """In the place of a file that gets no answer.

    Args:
        name: of the file.
        reason: a sentence.
    """

    name: str
    reason: str


def images_of(files: Iterable[Upload]) -> Iterator[Upload | Refused]:
    """Images of files and of the zips among them, in order; what is against a limit is refused.

    One after the other: what the images of zips take of the memory is for the caller to keep.
    """
    count, left = 0, MAX_UNPACKED
    for file in files:
        for found in _unzipped(file, left) if _is_zip(file) else [_limited(file)]:
            count += 1
            if count > MAX_FILES:
                yield Refused(file.name, f"A batch must have at most {MAX_FILES} images.")
                return
            left -= len(found.data) if isinstance(found, Upload) else 0
            yield found


def count_of(files: Iterable[Upload]) -> int:
    """How many `images_of` has, about: entries that are no images count as well."""
    total = 0
    for file in files:
        entries = 1
        if _is_zip(file):
            with suppress(*DAMAGED), zipfile.ZipFile(io.BytesIO(file.data)) as archive:
                entries = len(archive.infolist())
        total += entries
    return min(total, MAX_FILES)


def _is_zip(file: Upload) -> bool:
    return file.data[:4] == b"PK\x03\x04"


def _limited(file: Upload) -> Upload | Refused:
    if len(file.data) > MAX_FILE:
        return Refused(file.name, f"An image must have at most {MAX_FILE // MIB} MiB.")
    return file


def _unzipped(file: Upload, left: int) -> Iterator[Upload | Refused]:
    """The images of a zip; nothing is written, so that no name can lead out of a folder."""
    if len(file.data) > MAX_ZIP:
        yield Refused(file.name, f"A zip must have at most {MAX_ZIP // MIB} MiB.")
        return
    try:
        with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
            for entry in archive.infolist():
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                if entry.is_dir() or path.name.startswith(".") or path.parts[:1] == ("__MACOSX",):
                    continue
                name = f"{file.name}/{path}"[:MAX_NAME]
                if reason := _against(entry, path, left):
                    yield Refused(name, reason)
                    continue
                with archive.open(entry) as content:
                    data = content.read(MAX_FILE + 1)
                left -= len(data)
                yield _limited(Upload(name, data))
    except DAMAGED as error:
        yield Refused(file.name, f"A zip must be whole, this one is not: {describe(str(error))}.")


def _against(entry: zipfile.ZipInfo, path: PurePosixPath, left: int) -> str:
    """Why an entry is refused; empty where it is not."""
    if not path.name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        return "A name in a zip must lie in it, this one leads out of it."
    if entry.flag_bits & 1:
        return "A zip must have no password."
    if entry.file_size > MAX_FILE:
        return f"An image must have at most {MAX_FILE // MIB} MiB."
    if entry.file_size > left:
        return f"The images of a batch must have at most {MAX_UNPACKED // MIB} MiB together."
    return ""
