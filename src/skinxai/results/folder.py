"""A folder of results: a table, and pictures under safe names that never collide."""

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from skinxai.disk.regular_files import (
    resolved,
)
from skinxai.disk.staging import Staged, write_together
from skinxai.disk.writing import check_folder, escape_cell, make_folder, write_atomic
from skinxai.plain_text import printable

RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
MAX_STEM = 80


class ResultFolder:
    """Writes the pictures and tables of one run; also after an interruption, what is done.

    In a folder that holds something, the new files replace the old ones together, when the run
    ends: a process that is killed leaves the old ones. In a new folder each picture appears as
    soon as it is made.

    Args:
        folder: made when there is something to write; what it holds stays until it is replaced.
        inputs: files that are being read; those in the folder are never replaced.

    Raises:
        OutputError: a file, or a folder that cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], inputs: Iterable[str] = ()) -> None:
        self.folder = Path(folder)
        home = resolved(self.folder)
        read = (Path(os.path.realpath(path)) for path in inputs)
        self._taken = {path.name.lower() for path in read if path.parent == home}
        check_folder(self.folder)
        self._files = Staged(self.folder)
        self._is_new = _is_new(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.write()

    def put(self, name: str, files: bytes | Mapping[str, bytes]) -> Path:
        """Write a file, or a folder with files, and return where it is when the run ends.

        Args:
            name: of `name_for`.
            files: the file's content, or name → content.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.folder / name
        if not self._is_new:
            whole = {"": files} if isinstance(files, bytes) else files
            for each, data in whole.items():
                self._files.add(f"{name}/{each}".rstrip("/"), data)
        elif isinstance(files, bytes):
            make_folder(self.folder)
            write_atomic(path, files)
        else:
            write_together(path, files)
        return path

    def name_for(self, source: str, suffix: str) -> str:
        """A file name below the folder for what came from ``source``, new in this run.

        Folders, hidden characters and names that Windows reserves do not survive.
        """
        stem = re.sub(r"[^\w.-]+", "_", Path(source.replace("\\", "/")).stem)
        stem = printable(stem).replace("\\", "_").strip("._")  # some letters are not seen
        stem = stem[:MAX_STEM] or "image"
        if RESERVED.fullmatch(stem):
            stem = f"_{stem}"
        name, count = stem + suffix, 1
        while name.lower() in self._taken:  # lower: some file systems see no case
            count += 1
            name = f"{stem}-{count}{suffix}"
        self._taken.add(name.lower())
        return name

    def write(
        self, rows: Sequence[dict[str, Any]] = (), left_out: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Write ``results.csv`` and ``results.json`` where there are rows, and end the run.

        Args:
            rows: plain values of each result.
            left_out: plain values that ``results.json`` ends with.
        """
        if rows:
            self._files.add("results.csv", table(rows).encode())
            text = json.dumps([*rows, *left_out], indent=2)
            self._files.add("results.json", text.encode() + b"\n")
        self._files.commit()


def _is_new(folder: Path) -> bool:
    try:
        return not folder.is_dir() or next(folder.iterdir(), None) is None
    except OSError:  # it may be written but not listed
        return False


def table(rows: Iterable[dict[str, Any]]) -> str:
    """CSV text of results; lists are joined by semicolons.

    Each class's probability, and each number of novelty and uncertainty, has a column of its own.
    """
    cells = [flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in cells for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(cells)
    return text.getvalue()


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """The cells of one result's row of CSV."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if name == "probabilities":
            cells |= {f"p_{code}": number for code, number in value.items()}
        elif name in ("novelty", "uncertainty") and value:
            cells |= {f"{name}_{key}": number for key, number in value.items()}
        elif isinstance(value, dict):
            cells[name] = "; ".join(f"{key} {number:.4g}" for key, number in value.items())
        elif isinstance(value, list):
            cells[name] = escape_cell("; ".join(value))
        else:
            cells[name] = escape_cell(value) if isinstance(value, str) else value
    return cells
