"""Read CSV files with line numbers, and find the files that they list."""

import csv
import io
import os
import posixpath
import shlex
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from skinxai.data.cleaning import clean, path_id
from skinxai.data.masks import is_mask_folder
from skinxai.disk.regular_files import MAX_TABLE_BYTES, open_file
from skinxai.errors import DatasetPathError, DatasetSchemaError, OptionError, did_you_mean
from skinxai.images.formats import is_image
from skinxai.images.listing import SUFFIXES, LeftOut, image_files
from skinxai.plain_text import agreeing, counted, printable, quoted

SAVE_ANEW = "save it anew as 'CSV UTF-8'"
csv.field_size_limit(1 << 20)
_OTHER_FORMATS = {
    b"PK\x03\x04": ("an Excel workbook or another ZIP file", SAVE_ANEW),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", SAVE_ANEW),
    b"PAR1": ("a Parquet file", SAVE_ANEW),
    b"\x1f\x8b": ("compressed by gzip", "unpack it first"),
}
"""First bytes of files that are given for a table: what they are, and what to do."""


@dataclass(frozen=True)
class Row:
    """One row of a table: its line in the file, the header being line 1, and its cells."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]


class Table:
    """A CSV file: the header is checked at once, rows are read one by one.

    The file is UTF-8, with or without a byte order mark, with any line ends, quoted as by Excel.

    Args:
        path: the file.
        delimiter: character between cells.
        loose: columns whose text may hold a comma and a blank without being quoted, as in
            ``Melanoma, NOS``: if a row has too many cells, those are joined again.
        most: bytes that the file may have.

    Raises:
        DatasetSchemaError: if there is no such file, it has another encoding or delimiter, its
            header is empty or has a column twice, in any case, or a row has another number of
            cells.
    """

    def __init__(
        self, path: str | os.PathLike[str], delimiter: str = ",", loose: Container[str] = (),
        *, most: int = MAX_TABLE_BYTES,
    ) -> None:  # fmt: skip
        single = isinstance(delimiter, str) and len(delimiter) == 1
        if not single or delimiter in '"\r\n\0':
            raise DatasetSchemaError(
                f"delimiter must be one character, such as ',' or ';', got {delimiter!r:.40}."
            )
        self.path = as_path(path, "table")
        self.joined = 0
        self._most = most
        self._loose = loose
        self.delimiter = delimiter
        try:
            with open_file(self.path, self._most) as file:
                start = file.read(1024)
        except OSError as error:
            raise DatasetSchemaError(
                f"table {str(self.path)!r} cannot be read: {error.strerror}."
            ) from error
        check_encoding(
            start, self.path.name, what="a table or a folder",
            remedy="give a table that names it, or the folder that it lies in",
        )  # fmt: skip
        try:
            with self._open() as lines:
                header = next(csv.reader(lines, delimiter=delimiter, strict=True), ())
                self.columns = tuple(map(clean, header))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DatasetSchemaError(
                f"{self.path.name} must be CSV in UTF-8: {error}; {SAVE_ANEW}."
            ) from error
        if not any(self.columns):
            raise DatasetSchemaError(
                f"{self.path.name} must have a header, but its first line is empty."
            )
        check_columns(self.columns, self.path.name)
        for other in ";\t,|":
            if len(self.columns) == 1 and other in self.columns[0]:
                raise DatasetSchemaError(
                    f"{self.path.name} must have {delimiter!r} between its cells, but it seems to "
                    f"have {other!r}",
                    python=f"pass delimiter={other!r}",
                    command=f"give --delimiter {shlex.quote(other)}",
                )

    def require(self, columns: Iterable[str]) -> None:
        """Refuse a table that lacks one of ``columns``; the error suggests the nearest name."""
        for column in columns:
            if column not in self.columns:
                hint = did_you_mean(column, self.columns, cutoff=0.5)
                raise DatasetSchemaError(
                    f"{self.path.name} must have the column {column!r}, but it has "
                    f"{list(self.columns)}.{hint}"
                )

    def rows(self) -> Iterator[Row]:
        """The rows, in order; blank lines are skipped. Errors are those of the table."""
        with self._open() as lines:
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            next(reader)
            try:
                for cells in reader:
                    if not cells:
                        continue
                    if len(cells) > len(self.columns):
                        cells = self._join(cells)
                    if len(cells) != len(self.columns):
                        raise DatasetSchemaError(
                            f"{self.path.name} must have {counted(len(self.columns), 'cell')} in "
                            f"each row, but line {reader.line_num} has {len(cells)}."
                        )
                    named = dict(zip(self.columns, cells, strict=True))
                    yield Row(reader.line_num, named)
            except (UnicodeDecodeError, csv.Error) as error:
                raise DatasetSchemaError(
                    f"{self.path.name} must be CSV in UTF-8, near line {reader.line_num}: {error}; "
                    f"{SAVE_ANEW}."
                ) from error

    def _join(self, cells: list[str]) -> list[str]:
        made: list[str] = []
        for cell in cells:
            own = self.columns[len(made) - 1] if 0 < len(made) <= len(self.columns) else None
            if own in self._loose and cell.startswith(" "):
                made[-1] += f",{cell}"
            else:
                made.append(cell)
        self.joined += len(made) == len(self.columns)
        return made if len(made) == len(self.columns) else cells

    @contextmanager
    def _open(self) -> Iterator[io.TextIOWrapper]:
        with (
            open_file(self.path, self._most) as file,
            io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines,
        ):
            yield lines


def as_path(given: object, what: str) -> Path:
    """A path; what is none, such as a table that pandas has read, is an `OptionError`."""
    if not isinstance(given, str | os.PathLike):
        raise OptionError(
            f"{what} must be a path, got {type(given).__name__}; write what is in memory to a file "
            f"and pass its path."
        )
    return Path(given)


def check_columns(columns: Iterable[str], name: str, what: str = "column") -> None:
    """Refuse two columns, or names of a sample, that differ in nothing, or in case and blanks."""
    seen: dict[str, str] = {}
    for column in columns:
        if (own := clean(column).casefold()) in seen:
            other = f", once as {seen[own]!r:.80}" if seen[own] != column else ""
            raise DatasetSchemaError(
                f"{name} must have each {what} once, but {column!r:.80} is there twice{other}; "
                f"rename one or remove it."
            )
        seen[own] = column


def check_encoding(
    start: bytes, name: str, *, what: str = "a table", remedy: str = "give another file"
) -> None:
    """Refuse a picture, a workbook or archive, and a table in UTF-16 or UTF-32.

    It looks at the file's first bytes; ``what`` says what the file must be, and ``remedy`` is for a
    picture.
    """
    if is_image(start):
        raise DatasetSchemaError(f"{name} must be {what}, but it is a picture; {remedy}.")
    for mark, (form, other) in _OTHER_FORMATS.items():
        if start.startswith(mark):
            raise DatasetSchemaError(f"{name} must be CSV in UTF-8, but it is {form}; {other}.")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DatasetSchemaError(f"{name} must be UTF-8, but it is UTF-16; {SAVE_ANEW}.")
    if b"\0" in start:
        raise DatasetSchemaError(
            f"{name} must be UTF-8, but it is UTF-16 or holds the character NUL; {SAVE_ANEW}."
        )


class ImageFiles:
    """Finds image files below some folders by their name in a table."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._root, self._folders = folders[0], folders
        self._named: dict[str, set[Path]] = {}  # by path below the folder, by name, and by stem
        self._masks: dict[str, Path] = {}
        self._left = [LeftOut(os.path.join(str(folder), "")) for folder in folders]  # noqa: PTH118
        for folder, left in zip(folders, self._left, strict=True):
            for found in image_files(str(folder), left):
                path = Path(found)
                below = path.relative_to(folder)
                short = {path.name, path.stem}
                if any(is_mask_folder(name) for name in below.parts[:-1]):
                    self._masks |= dict.fromkeys(map(path_id, short), path)
                    short = set()
                for name in {below.as_posix(), below.with_suffix("").as_posix(), *short}:
                    self._named.setdefault(path_id(name), set()).add(path)
        self._used: set[Path] = set()

    def find(self, name: str) -> Path | None:
        """Find the file ``name``: a path below the folder, with or without its suffix, or an id.

        Names are compared in Unicode's composed form. Absolute paths are accepted if they lead into
        the folder. A file in a folder of masks is only found by its path.

        Raises:
            DatasetPathError: if a path leads out of the folder, or several files have the name.
        """
        text = self._below(name)
        found = self._named.get(text, set())
        if not found and text.startswith(f"{self._root.name}/"):  # from the folder above
            found = self._named.get(text[len(self._root.name) + 1 :], set())
        if exact := found & {self._root / text}:
            found = exact
        if len(found) > 1:
            raise DatasetPathError(
                f"{name!r} must be the name of one file, but it could be any of "
                f"{sorted(str(path) for path in found)}; give the path below the folder."
            )
        self._used |= found
        return next(iter(found), None)

    def why_not(self, name: str) -> str:
        """What exists instead of a file that `find` does not find, for a message."""
        text = self._below(name)
        if mask := self._masks.get(text):
            return f", only {self.short_name(mask)} in a folder of masks"
        for left in self._left:
            if kind := left.kind_of(text):
                return f", only a {kind} file, which is not read"
        stem, suffix = posixpath.splitext(text.casefold())
        if near := self._by_folded_stem.get(stem if suffix in SUFFIXES else stem + suffix):
            return f", only {quoted(near)}"
        return ""

    @cached_property
    def _by_folded_stem(self) -> dict[str, str]:
        """A file of each name without its suffix, whatever the case of its letters."""
        paths = sorted(set().union(*self._named.values()))
        names = [self.short_name(path) for path in paths]
        return {
            posixpath.splitext(text.casefold())[0]: name
            for name in names
            for text in (posixpath.basename(name), name)
        }

    def short_name(self, path: Path) -> str:
        """The path below the folder, as an image id."""
        own = next((each for each in self._folders if each in path.parents), path.anchor)
        return path_id(path.relative_to(own).as_posix())

    def notes(self) -> list[str]:
        """Remarks on the folders for the reader of the records."""
        unused = len(set().union(*self._named.values()) - self._used)
        are, were = agreeing(unused, "is", "are"), agreeing(unused, "was", "were")
        text = f"{counted(unused, 'file')} {are} not listed and {were} left out"
        listed = [text] if unused else []
        return listed + [left.note for left in self._left if left]

    def _below(self, name: str) -> str:
        """Normalise a name: relative to the folder, with slashes, in composed form."""
        text = unicodedata.normalize("NFC", name.replace("\\", "/"))
        outside = DatasetPathError(f"{name!r} must be a path below {str(self._root)!r}.")
        if text.startswith("/") or text[1:2] == ":":
            text = posixpath.normpath(text)
            for root in {os.path.abspath(self._root), os.path.realpath(self._root)}:  # noqa: PTH100
                start = path_id(root.replace("\\", "/")).rstrip("/") + "/"
                if text.startswith(start):
                    return text[len(start) :]
            raise outside
        parts = [part for part in text.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise outside
        return printable("/".join(parts))
