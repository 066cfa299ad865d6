"""Suggest the call of `load_csv`, with its columns, for a data set of unknown layout."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from skinxai.data.tables import Table
from skinxai.disk.regular_files import MAX_TABLE_BYTES, open_file
from skinxai.errors import DatasetError, DatasetSchemaError, closest

TABLES = frozenset({".csv", ".tsv", ".tab"})
USUAL = {
    "image": ("image", "image_id", "isic_id", "image_name", "img_id", "file_name", "filename",
              "file", "image_path", "path", "img"),
    "label": ("label", "diagnosis", "dx", "diagnosis_3", "diagnostic", "target", "class",
              "benign_malignant", "diagnosis_2", "diagnosis_1"),
    "lesion_id": ("lesion_id", "lesion", "lesion_nr", "lesion_no", "lesion_number"),
    "patient_id": ("patient_id", "patient", "patient_nr", "patient_no", "patient_number"),
}  # fmt: skip
"""Usual names of columns, the likeliest first."""
OPTIONS = {
    "image": "--image-column", "label": "--label-column", "lesion_id": "--lesion-column",
    "patient_id": "--patient-column",
}  # fmt: skip


class Remedy(TypedDict, total=False):
    """The remedy in an error, in Python and on the command line."""

    python: str
    command: str


def read_table(path: Path, loose: Iterable[str] = ()) -> Table:
    """Open a table whose delimiter is the most frequent of , ; and tab in its header."""
    try:
        with open_file(path, MAX_TABLE_BYTES) as file:
            first = file.readline(1 << 16)
    except OSError:
        first = b""  # Table says what is wrong
    delimiter = max(",;\t", key=lambda mark: first.count(mark.encode()))
    return Table(path, delimiter, frozenset(loose))


def table_remedy(path: Path, images: Path) -> Remedy:
    """Say how to read a table with its own columns, in Python and on the command line."""
    try:
        table = read_table(path)
    except DatasetError:
        return {}
    columns = _named(table, {})
    tab = table.delimiter
    more = "" if tab == "," else f", delimiter={tab!r}"
    python = f"load_csv({str(path)!r}, {str(images)!r}, columns={columns}{more})"
    options = [f"--images {shlex.quote(str(images))}", *_options(columns)]
    options += [] if tab == "," else [f"--delimiter {shlex.quote(tab)}"]
    if columns["label"] == "…":
        python += f", or folders of classes with load_folder({str(images)!r})"
    return {
        "python": f"read the table with {python}",
        "command": f"give the table itself: {shlex.quote(str(path))} {' '.join(options)}",
    }


def require_named(table: Table, asked: Mapping[str, str | Sequence[str]]) -> None:
    """Refuse a table that lacks a column of a role; the error says how to name those it has."""
    for column in asked.values():
        if isinstance(column, str) and column not in table.columns:
            columns = _named(table, asked)
            raise DatasetSchemaError(
                f"{table.path.name} must have the column {column!r}, but it has "
                f"{list(table.columns)}",
                python=f"name its own with columns={columns}",
                command=f"name its own with {' '.join(_options(columns))}",
            )


def _named(
    table: Table, asked: Mapping[str, str | Sequence[str]]
) -> dict[str, str | Sequence[str]]:
    """Role → column: as asked for where it is there, else of a usual name or one like it."""
    named = {name.lower(): name for name in table.columns}
    columns: dict[str, str | Sequence[str]] = {}
    for role, usual in USUAL.items():
        own = asked.get(role)
        found = next((named[name] for name in usual if name in named), None)
        if own is not None and (not isinstance(own, str) or own in table.columns):
            columns[role] = own
        elif own is not None or found is not None or role in ("image", "label"):
            columns[role] = found or closest(own or role, table.columns, cutoff=0.5) or "…"
    return columns


def _options(columns: Mapping[str, str | Sequence[str]]) -> list[str]:
    pairs = columns.items()
    return [f"{OPTIONS[role]} {shlex.quote(own)}" for role, own in pairs if isinstance(own, str)]


def tables_in(root: Path) -> list[Path]:
    """The tables in a folder, without those in its subfolders."""
    return sorted(p for p in root.iterdir() if p.suffix.lower() in TABLES and p.is_file())
