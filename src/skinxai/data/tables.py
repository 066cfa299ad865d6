"""Reading CSV files with row numbers, and finding the files that they list."""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skinxai.errors import DatasetPathError, DatasetSchemaError
from skinxai.image_files import SUFFIXES

csv.field_size_limit(1 << 20)


@dataclass(frozen=True)
class Row:
    """One row of a table: its line in the file, the header being line 1, and its cells."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]


class Table:
    """A CSV file: the header is checked at once, rows are read one by one.

    UTF-8, with or without a byte order mark; any line ends; quoted as Excel does.

    Args:
        path: the file.
        delimiter: between cells.

    Raises:
        DatasetSchemaError: no file, another encoding or delimiter, an empty or doubled header.
    """

    def __init__(self, path: str | os.PathLike[str], delimiter: str = ",") -> None:
        self.path = Path(path)
        self._delimiter = delimiter
        try:
            with self.path.open("rb") as file:
                start = file.read(4)
        except OSError as error:
            raise DatasetSchemaError(
                f"table {str(self.path)!r} must be a file that can be read: {error.strerror}."
            ) from error
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DatasetSchemaError(f"{self.path.name} must be UTF-8, it is UTF-16; save it anew.")
        try:
            with self._open() as lines:
                self.columns = tuple(next(csv.reader(lines, delimiter=delimiter), ()))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetSchemaError(f"{self.path.name} must be CSV in UTF-8: {error}.") from error
        if not any(self.columns):
            raise DatasetSchemaError(
                f"{self.path.name} must have a header, its first line is empty."
            )
        if doubled := sorted({c for c in self.columns if self.columns.count(c) > 1}):
            raise DatasetSchemaError(
                f"{self.path.name} must have each column once, {doubled[0]!r} is there twice."
            )
        for other in ";\t,|":
            if len(self.columns) == 1 and other in self.columns[0]:
                raise DatasetSchemaError(
                    f"{self.path.name} must have {delimiter!r} between its cells, it seems to have "
                    f"{other!r}; pass delimiter={other!r}."
                )

    def require(self, columns: Iterable[str]) -> None:
        """Refuse a table that lacks one of ``columns``, with the nearest name there is."""
        for column in columns:
            if column not in self.columns:
                near = difflib.get_close_matches(column, self.columns, n=1, cutoff=0.5)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise DatasetSchemaError(
                    f"{self.path.name} must have the column {column!r}, it has "
                    f"{list(self.columns)}.{hint}"
                )

    def rows(self) -> Iterator[Row]:
        """The rows, in order; blank lines are skipped.

        Raises:
            DatasetSchemaError: a row with another number of cells, or text that is not UTF-8.
        """
        with self._open() as lines:
            reader = csv.reader(lines, delimiter=self._delimiter)
            next(reader)
            try:
                for cells in reader:
                    if not cells:
                        continue
                    if len(cells) != len(self.columns):
                        raise DatasetSchemaError(
                            f"{self.path.name} must have {len(self.columns)} cells in each row, "
                            f"line {reader.line_num} has {len(cells)}."
                        )
                    named = dict(zip(self.columns, cells, strict=True))
                    yield Row(reader.line_num, named)
            except (UnicodeDecodeError, csv.Error) as error:
                raise DatasetSchemaError(
                    f"{self.path.name} must be CSV in UTF-8, near line {reader.line_num}: {error}."
                ) from error

    def _open(self) -> io.TextIOWrapper:
        return self.path.open(encoding="utf-8-sig", newline="")


class ImageFiles:
    """The image files below some folders, found by the name that a table gives them.

    Args:
        folders: where to look, subfolders included.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._root = folders[0]
        self._named: dict[str, set[Path]] = {}  # by path below the folder, by name, and by stem
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                    for name in {path.relative_to(folder).as_posix(), path.name, path.stem}:
                        self._named.setdefault(name, set()).add(path)
        self._used: set[Path] = set()

    def find(self, name: str) -> Path | None:
        """The file ``name``: a path below the folder, with or without its suffix, or an id.

        Raises:
            DatasetPathError: a path that leads out of the folder, or a name of several files.
        """
        text = name.replace("\\", "/")
        if text.startswith("/") or ".." in text.split("/") or text[1:2] == ":":
            raise DatasetPathError(f"{name!r} must be a path below {str(self._root)!r}.")
        found = self._named.get(text, set())
        if exact := found & {self._root / text}:
            found = exact
        if len(found) > 1:
            raise DatasetPathError(
                f"{name!r} must be the name of one file, it could be any of "
                f"{sorted(str(path) for path in found)}; give the path below the folder."
            )
        self._used |= found
        return next(iter(found), None)

    def unused(self) -> int:
        """How many files no call of `find` has returned."""
        return len(set().union(*self._named.values()) - self._used)
