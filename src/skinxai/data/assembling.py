"""From rows of a table to `Records`: every problem is found before any is reported."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from skinxai.data.records import Record, Records
from skinxai.data.tables import ImageFiles
from skinxai.errors import (
    DatasetError,
    DatasetLabelError,
    DatasetPathError,
    DatasetSchemaError,
)
from skinxai.labels import LabelSet

LEAK_COLUMNS = frozenset(
    {
        "benign_malignant", "concomitant_biopsy", "dataset", "diagnosis", "diagnosis_1",
        "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5", "diagnosis_confirm_type",
        "dx_type", "mel_class", "mel_mitotic_index", "mel_thick_mm", "mel_type", "mel_ulcer",
        "melanocytic", "nevus_type",
    }
)  # fmt: skip
"""Columns of HAM10000 and the ISIC archive that hold the label or say how it was found."""
MAX_AGE = 120
SEXES = frozenset({"male", "female"})


@dataclass(frozen=True)
class Listed:
    """What one row of a table says of one image.

    Args:
        line: in the table.
        image: name of the file, or image id.
        label: as it stands in the table.
        lesion_id: empty where it is not known.
        patient_id: empty where it is not known.
        attributes: further columns.
    """

    line: int
    image: str
    label: str
    lesion_id: str = ""
    patient_id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


def without_leaks(rows: Iterable[Listed]) -> Iterator[Listed]:
    """Rows of a table of HAM10000 or the ISIC archive without the columns that leak the label."""
    for row in rows:
        kept = {name: value for name, value in row.attributes.items() if name not in LEAK_COLUMNS}
        yield replace(row, attributes=kept)


def assemble(
    rows: Iterable[Listed],
    files: ImageFiles,
    *,
    table: str,
    labels: LabelSet | None,
    label_map: Mapping[str, str] | None = None,
    dedupe: bool = False,
    name: str = "private data",
    licence: str = "",
    attribution: str = "",
) -> Records:
    """Check all rows, find their files and build `Records`, sorted by image id.

    Args:
        rows: of the table.
        files: where the images are.
        table: the table's name, for messages.
        labels: the label set; ``None`` takes the labels that occur, sorted.
        label_map: from labels as they stand in the table to codes; nothing else is renamed.
        dedupe: keep the first of rows that say the same of one image.
        name: of the data set.
        licence: of the data set.
        attribution: whom to name.

    Raises:
        DatasetError: one of its subclasses, by the first problem; it lists all of them.
    """
    problems: list[tuple[type[DatasetError], str]] = []
    counted = {"without a lesion id, each its own lesion": 0, "with an age outside 0–120": 0,
               "with an unknown sex": 0, "that repeat another": 0}  # fmt: skip
    mapped = label_map or {}
    known = None if labels is None else list(labels)
    seen: dict[str, Listed] = {}
    items: list[Record] = []
    for row in rows:
        if earlier := seen.get(row.image):
            what = f"line {row.line}: image {row.image!r} is in line {earlier.line} already"
            if row.label != earlier.label:
                problems.append((DatasetLabelError, f"{what}, with another label"))
            elif not dedupe:
                problems.append((DatasetSchemaError, f"{what}; dedupe=True keeps the first"))
            counted["that repeat another"] += 1
            continue
        seen[row.image] = row
        code = mapped.get(row.label, row.label)
        if wrong := _wrong_label(row.label, code, known, mapped):
            problems.append((DatasetLabelError, f"line {row.line}: {wrong}"))
        try:
            path = files.find(row.image)
            if path is None:
                problems.append((DatasetPathError, f"line {row.line}: no file {row.image!r}"))
        except DatasetPathError as error:
            problems.append((DatasetPathError, f"line {row.line}: {error}".rstrip(".")))
            path = None
        counted["without a lesion id, each its own lesion"] += not row.lesion_id
        if path is not None:
            attributes = _checked_attributes(row.attributes, counted)
            items.append(
                Record(row.image, path, code, row.lesion_id, row.patient_id or None, attributes)
            )
    if problems:
        raise problems[0][0](
            f"{table} must list each image once, with a known label and a file; it breaks this "
            f"{len(problems)} times:"
            if len(problems) > 1
            else f"{table} must list each image once, with a known label and a file;",
            tuple(text for _, text in problems),
        )
    if not items:
        raise DatasetSchemaError(f"{table} must list at least one image, it lists none.")
    notes = [f"{count} rows {what}" for what, count in counted.items() if count]
    if count := files.unused():
        notes.append(f"{count} files are not listed and were left out")
    if labels is None:
        labels = LabelSet(tuple(sorted({item.label for item in items})))
        notes.append("no label order was declared: labels are sorted")
    items.sort(key=lambda item: item.image_id)
    return Records(tuple(items), labels, name, licence, attribution, tuple(notes))


def _wrong_label(
    raw: str, code: str, known: Sequence[str] | None, mapped: Mapping[str, str]
) -> str | None:
    if not raw.strip() or raw.strip().lower() in ("nan", "none", "null"):
        return "the label is empty"
    if known is None or code in known:
        return None
    allowed = sorted({*known, *mapped})
    if code.strip().lower() in known:
        return (
            f"label {raw!r} must be one of {allowed}; it differs by case or blanks alone, say so "
            f"with label_map={{{raw!r}: {code.strip().lower()!r}}}"
        )
    near = difflib.get_close_matches(code, allowed, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    return f"label {raw!r} must be one of {allowed}{hint}"


def _checked_attributes(values: Mapping[str, str], counted: dict[str, int]) -> dict[str, str]:
    """Attributes without impossible ages and sexes."""
    kept = dict(values)
    for name in ("age", "age_approx"):
        if text := kept.get(name, ""):
            try:
                sound = 0 <= float(text) <= MAX_AGE
            except ValueError:
                sound = False
            if not sound:
                kept[name] = ""
                counted["with an age outside 0–120"] += 1
    if (sex := kept.get("sex", "")) and sex not in SEXES:
        kept["sex"] = ""
        counted["with an unknown sex"] += sex != "unknown"
    return kept
