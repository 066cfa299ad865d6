"""`load_csv`: read your own table and the folder of its images."""

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from skinxai.data.assembling import Listed, assemble
from skinxai.data.cleaning import clean
from skinxai.data.hints import USUAL, require_named
from skinxai.data.records import Records
from skinxai.data.tables import ImageFiles, Table, as_path
from skinxai.disk.regular_files import is_folder
from skinxai.errors import DatasetError, DatasetLabelError, DatasetSchemaError, OptionError
from skinxai.flags import check_flags
from skinxai.labels import LabelSet

ROLES = ("image", "label", "lesion_id", "patient_id")
Root = str | os.PathLike[str]


def load_csv(
    csv: Root,
    images: Root,
    *,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    labels: LabelSet | Sequence[str] | None = None,
    label_map: Mapping[str, str] | None = None,
    delimiter: str = ",",
    dedupe: bool = False,
    name: str = "private data",
    licence: str = "",
    attribution: str = "",
) -> Records:
    """Read a table and the folder of its images; the records are sorted by image id.

    Args:
        csv: the table: UTF-8 with a header.
        images: folder of the images, subfolders included.
        columns: names of the columns ``"image"`` (a path below ``images``, a file name or an
            id), ``"label"`` (one column, or a list of columns with 0 and 1), ``"lesion_id"`` and
            ``"patient_id"``; by default the columns have these names. The last two may be absent,
            and their names may be written in any case.
            All other columns become attributes; `audit` says which of them give the label away. In
            ``age``, ``age_approx`` and ``sex`` impossible values are left out and counted, and
            ``45,5`` is 45.5 and ``Male`` is ``male``.
        labels: label codes in logit order; ``None`` sorts those that occur.
        label_map: codes of labels in the table, to rename or merge classes.
        delimiter: character between cells.
        dedupe: keep the first of several rows that agree on one image.
        name: name of the data set.
        licence: licence of the data set, as an SPDX expression if there is one.
        attribution: who must be named.

    Raises:
        DatasetError: one of its subclasses; the message lists all bad rows.
        OptionError: columns or a label map that are no mapping of text, a label with two codes, or
            labels without an order.
    """
    check_flags(dedupe=dedupe)
    _check_names(columns, label_map)
    _check_codes(label_map or {})
    table = Table(csv, delimiter)
    chosen: dict[str, str | Sequence[str]] = {role: role for role in ROLES} | dict(columns or {})
    if unknown := sorted(set(chosen) - set(ROLES)):
        raise DatasetSchemaError(f"columns must have keys of {list(ROLES)}, got {unknown[0]!r}.")
    notes = []
    for role in ("lesion_id", "patient_id"):
        if role in (columns or {}):
            continue
        del chosen[role]
        if same := [name for name in table.columns if name.lower() == role]:
            chosen[role] = same[0]
        elif named := next((name for name in table.columns if _means(name, role)), None):
            notes.append(
                f"the column {named!r} is not read as {role}; if it holds such ids, name it, or "
                f"images with the same id may come into several parts"
            )
    require_named(table, chosen)
    if isinstance(chosen["label"], str):
        rows = listed_rows(table, {role: str(column) for role, column in chosen.items()})
    else:
        others = {role: str(column) for role, column in chosen.items() if role != "label"}
        rows = one_hot_rows(table, others.pop("image"), list(chosen["label"]), None, others)
    records = assemble(
        rows,
        ImageFiles([folder_of(images, "images")]),
        table=table.path.name,
        labels=None if labels is None else LabelSet.of(labels),
        label_map=label_map,
        dedupe=dedupe,
        name=name,
        licence=licence,
        attribution=attribution,
    )
    return replace(records, notes=(*records.notes, *notes))


def _check_names(columns: object, label_map: object) -> None:
    """Refuse what is no mapping of text: the cells of a table are text, numbers as well."""
    examples = {"columns": {"label": "diagnosis"}, "label_map": {"0": "nv", "1": "mel"}}
    given = {"columns": columns or {}, "label_map": label_map or {}}
    for argument, names in given.items():
        if not isinstance(names, Mapping):
            raise OptionError(
                f"{argument} must be a mapping, such as {examples[argument]}, got {names!r:.80}."
            )
        for key, value in names.items():
            several = argument == "columns" and isinstance(value, Collection)
            texts = value if several and not isinstance(value, str) else (value,)
            if wrong := [each for each in (key, *texts) if not isinstance(each, str)]:
                raise OptionError(
                    f"{argument} must map text to text, such as {examples[argument]}, got "
                    f"{wrong[0]!r:.80} for {key!r:.80}; give it as text."
                )


def _check_codes(label_map: Mapping[str, str]) -> None:
    """Refuse two codes of one label, whose cells are read without blanks around them."""
    codes: dict[str, tuple[str, str]] = {}
    for raw, code in label_map.items():
        first, other = codes.setdefault(clean(raw), (raw, code))
        if other != code:
            raise OptionError(
                f"label_map must give each label one code, but gives {other!r:.80} for "
                f"{first!r:.80} and {code!r:.80} for {raw!r:.80}, and blanks around a label are "
                f"not read; leave one of them out."
            )


def _means(column: str, role: str) -> bool:
    """Whether a column's name, but for case and marks, is usual for a role."""
    plain = re.sub(r"[^a-z]", "", column.lower())
    return any(plain == usual.replace("_", "") for usual in USUAL[role])


def folder_of(root: Root, argument: str = "root") -> Path:
    """The path of a folder that must exist; the error names the argument."""
    path = as_path(root, argument)
    if not is_folder(path):
        archive = ", unpack it first" if path.suffix.lower() in (".zip", ".tar", ".gz") else ""
        raise DatasetError(f"{argument} must be a folder, got {str(root)!r}{archive}.")
    return path


def listed_rows(table: Table, columns: Mapping[str, str]) -> Iterator[Listed]:
    """The rows of a table with one column for each role; all others become attributes."""
    table.require(columns.values())
    used = set(columns.values())
    for row in table.rows():
        attributes = {name: value for name, value in row.cells.items() if name not in used}
        named = {role: row[column] for role, column in columns.items()}
        yield Listed(row.line, attributes=attributes, **named)


def one_hot_rows(
    table: Table,
    image: str,
    classes: Sequence[str],
    lesion_of: Mapping[str, str] | None,
    others: Mapping[str, str] | None = None,
) -> Iterator[Listed]:
    """Rows whose label is the one column of ``classes`` that holds 1."""
    columns = dict(others or {})
    table.require([image, *classes, *columns.values()])
    used = {image, *classes, *columns.values()}
    wrong: list[str] = []
    found: list[Listed] = []
    for row in table.rows():
        cells = {name: row[name].strip() for name in classes}
        ones = [name for name, cell in cells.items() if cell in ("1", "1.0")]
        if len(ones) != 1 or any(cell not in ("0", "0.0", "1", "1.0") for cell in cells.values()):
            wrong.append(f"line {row.line} has {len(ones)}")
            continue
        named = {role: row[column] for role, column in columns.items()}
        if lesion_of is not None:
            named["lesion_id"] = lesion_of.get(clean(row[image]), "")
        attributes = {name: value for name, value in row.cells.items() if name not in used}
        found.append(Listed(row.line, row[image], ones[0], attributes=attributes, **named))
    if wrong:
        raise DatasetLabelError(
            f"{table.path.name} must have exactly one 1 and otherwise 0 in the columns "
            f"{list(classes)};",
            tuple(wrong),
        )
    return iter(found)
