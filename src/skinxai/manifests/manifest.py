"""`Manifest`: a table of images of any length, read once from end to end, then chunk by chunk."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shlex
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from skinxai.data.tables import SAVE_ANEW, Table, as_path, check_columns
from skinxai.disk.regular_files import open_file
from skinxai.errors import DatasetSchemaError, OptionError, PartsError, closest
from skinxai.numeric import whole
from skinxai.plain_text import counted
from skinxai.progress import busy

MAX_MANIFEST_BYTES = 2**40
MAX_LINE = 2**20
CHUNK = 1024
"""Rows of a chunk: 32 batches of 32."""
ROLES = ("image", "id")


class ManifestRow(NamedTuple):
    """One image of a manifest.

    Args:
        image: as the manifest has it.
        id: where there is a column for it and the cell is not empty.
    """

    image: str
    id: str | None


class Chunk(NamedTuple):
    """Rows of a manifest that are answered together, and written as one part.

    Args:
        number: from 0.
        start: number of its first row, from 0.
        stop: number behind its last row.
        place: where its first row stands in the file.
        digest: of its rows, 8 bytes.
    """

    number: int
    start: int
    stop: int
    place: int
    digest: bytes

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.stop - self.start


class Rows(Protocol):
    """A table of one format; ``chosen`` is set before it is read: role → column."""

    columns: tuple[str, ...]
    chosen: Mapping[str, str]

    def scan(self) -> Iterator[tuple[int, ManifestRow]]:
        """Each row with its place, in order."""

    def read(self, place: int, count: int) -> list[ManifestRow]:
        """Some rows from a place on."""


@dataclass(frozen=True)
class Manifest:
    """A table of images that was read once; memory holds a few bytes for each chunk, and no row.

    Args:
        path: the file.
        rows: what reads it.
        columns: role → column, for ``image`` and, where there is one, ``id``.
        sha256: of the file.
        count: how many rows it has.
        chunks: of these.
    """

    path: Path
    rows: Rows
    columns: Mapping[str, str]
    sha256: str
    count: int
    chunks: tuple[Chunk, ...]

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], columns: Mapping[str, str] | None = None, *,
        delimiter: str = ",", chunk: int = CHUNK, progress: bool | None = None,
    ) -> Manifest:  # fmt: skip
        """Read a manifest from end to end; arguments and errors are those of `predict_manifest`."""
        chunk = whole("chunk", chunk)
        path = as_path(path, "manifest")
        try:
            with open_file(path, MAX_MANIFEST_BYTES) as file:
                is_parquet = file.read(4) == b"PAR1"
        except IsADirectoryError as error:
            raise DatasetSchemaError(
                f"manifest must be a table of images, but {str(path)!r} is a folder",
                python=f"pass the folder to predict(), as in predict({str(path)!r})",
                command=f"give it in the place of --manifest: skinxai predict "
                f"{shlex.quote(str(path))}",
            ) from error
        except OSError as error:
            raise DatasetSchemaError(
                f"manifest {str(path)!r} cannot be read: {error.strerror}."
            ) from error
        rows: Rows
        if is_parquet:
            from skinxai.manifests.arrow import ParquetRows

            rows = ParquetRows(path)
        else:
            rows = CsvRows(path, delimiter)
        chosen = _columns(path, rows.columns, columns or {})
        rows.chosen = chosen
        with busy(f"reading {path.name}", progress):
            found, count = _chunks(path, rows, chunk)
            if not count:
                raise DatasetSchemaError(f"{path.name} must list at least one image, got none.")
            return cls(path, rows, chosen, _sha256(path), count, found)

    def read(self, chunk: Chunk) -> list[ManifestRow]:
        """The rows of a chunk; a `PartsError` where the file was changed since it was opened."""
        try:
            found = self.rows.read(chunk.place, chunk.rows)
            same = _digest(found) == chunk.digest
        except (DatasetSchemaError, OSError):
            same = False
        if not same:
            raise PartsError(
                f"{str(self.path)!r} must stay as it is while its images are answered, but its "
                f"rows {chunk.start} to {chunk.stop - 1} were changed; begin again in a new folder."
            )
        return found


class CsvRows:
    """A table in CSV; a row's place is its first byte. Errors are those of `Table`."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self._table = Table(path, delimiter, most=MAX_MANIFEST_BYTES)
        self.columns = self._table.columns
        self.chosen: Mapping[str, str] = {}

    def scan(self) -> Iterator[tuple[int, ManifestRow]]:
        """Each row with its place, in order; blank lines are skipped."""
        records = self._records(0)
        next(records)
        yield from records

    def read(self, place: int, count: int) -> list[ManifestRow]:
        """Some rows from a place on."""
        return [row for _, (_, row) in zip(range(count), self._records(place), strict=False)]

    def _records(self, place: int) -> Iterator[tuple[int, ManifestRow]]:
        name, width = self._table.path.name, len(self.columns)
        image = self.columns.index(self.chosen["image"])
        own = self.columns.index(self.chosen["id"]) if "id" in self.chosen else None
        with open_file(self._table.path, MAX_MANIFEST_BYTES) as file:
            file.seek(place)
            lines = _Lines(file, place)
            reader = csv.reader(lines, delimiter=self._table.delimiter, strict=True)
            try:
                for cells in reader:
                    if not cells:
                        place = lines.place
                        continue
                    if len(cells) != width:
                        raise DatasetSchemaError(
                            f"{name} must have {counted(width, 'cell')} in each row, but line "
                            f"{reader.line_num} has {len(cells)}."
                        )
                    yield place, ManifestRow(cells[image], None if own is None else cells[own])
                    place = lines.place
            except (UnicodeDecodeError, csv.Error) as error:
                raise DatasetSchemaError(
                    f"{name} must be CSV in UTF-8, near line {reader.line_num}: {error}; "
                    f"{SAVE_ANEW}."
                ) from error


class _Lines:
    """Lines of a file as text, and where the next one begins."""

    def __init__(self, file: io.BufferedReader, place: int) -> None:
        self._file, self.place = file, place

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(MAX_LINE):
            if len(line) == MAX_LINE:
                raise csv.Error(f"a line has more than {MAX_LINE} bytes")
            text = line.decode("utf-8-sig" if not self.place else "utf-8")
            self.place += len(line)
            yield text


def _columns(path: Path, there: tuple[str, ...], asked: Mapping[str, str]) -> dict[str, str]:
    if unknown := sorted(set(asked) - set(ROLES)):
        raise OptionError(f"columns must name the roles {list(ROLES)}, got {unknown[0]!r}.")
    chosen = {"image": asked.get("image", "image")}
    if "id" in asked or "id" in there:
        chosen["id"] = asked.get("id", "id")
    for role, column in chosen.items():
        if column not in there:
            name = closest(column, there, cutoff=0.5) or "NAME"
            raise DatasetSchemaError(
                f"{path.name} must have the column {column!r}, but it has {list(there)}",
                python=f"name another with columns={{{role!r}: {name!r}}}",
                command=f"name another with --{role}-column {shlex.quote(name)}",
            )
    check_columns((name for name in there if name in chosen.values()), path.name)
    return chosen


def _chunks(path: Path, rows: Rows, size: int) -> tuple[tuple[Chunk, ...], int]:
    """Chunks of all rows, how many rows there are, and a refusal of ids that are there twice."""
    found: list[Chunk] = []
    hashes, count, start = array("q"), 0, 0
    digest = hashlib.blake2b(digest_size=8)
    for place, row in rows.scan():
        if count % size == 0:
            if count:
                found.append(Chunk(len(found), count - size, count, start, digest.digest()))
                digest = hashlib.blake2b(digest_size=8)
            start = place
        digest.update(_bytes(row))
        if row.id:
            hashes.append(hash(row.id))
        count += 1
    if count:
        first = len(found) * size
        found.append(Chunk(len(found), first, count, start, digest.digest()))
    _refuse_twice(path, rows, hashes)
    return tuple(found), count


def _refuse_twice(path: Path, rows: Rows, hashes: array[int]) -> None:
    """Two equal ids have equal hashes: the texts themselves are compared for these alone."""
    ordered = np.frombuffer(hashes, np.int64)
    ordered.sort()
    equal = set(ordered[1:][ordered[1:] == ordered[:-1]][:1000].tolist())
    seen: dict[str, int] = {}
    for number, (_, row) in enumerate(rows.scan() if equal else ()):
        if row.id and hash(row.id) in equal and seen.setdefault(row.id, number) != number:
            raise DatasetSchemaError(
                f"{path.name} must have each id once, but {row.id!r} stands in the rows "
                f"{seen[row.id]} and {number}, counted from 0",
                python="name a column of ids that differ with columns={'id': NAME}",
                command="name a column of ids that differ with --id-column",
            )


def _digest(rows: list[ManifestRow]) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    for row in rows:
        digest.update(_bytes(row))
    return digest.digest()


def _bytes(row: ManifestRow) -> bytes:
    return repr(tuple(row)).encode("utf-8", "surrogatepass")


def _sha256(path: Path) -> str:
    with open_file(path, MAX_MANIFEST_BYTES) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
