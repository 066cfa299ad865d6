"""`load_ham10000`: read HAM10000 and exports of the ISIC archive as they are published."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skinxai.data.assembling import Listed, assemble, without_leaks
from skinxai.data.cleaning import clean
from skinxai.data.hints import read_table, table_remedy, tables_in
from skinxai.data.loading import Root, folder_of, listed_rows, one_hot_rows
from skinxai.data.records import Records
from skinxai.data.tables import ImageFiles, Table
from skinxai.disk.regular_files import MAX_TABLE_BYTES, read_file
from skinxai.errors import DatasetLabelError, DatasetSchemaError
from skinxai.images.listing import is_hidden
from skinxai.labels import HAM10000_LABELS
from skinxai.plain_text import agreeing, counted

HAM10000_LICENCE = "CC-BY-NC-4.0"
HAM10000_ATTRIBUTION = (
    "HAM10000 (Tschandl, Rosendahl & Kittler, Sci Data 5:180161, 2018), "
    "ViDIR Group, Department of Dermatology, Medical University of Vienna"
)
HAM10000_IDS = range(24306, 36065)
"""Numbers of the ISIC ids of HAM10000, with the images that the ISIC 2018 challenge held back."""
COLUMNS = {"image": "image_id", "label": "dx", "lesion_id": "lesion_id"}
TRUTH = "ISIC2018_Task3_Training_GroundTruth.csv"
GROUPINGS = "ISIC2018_Task3_Training_LesionGroupings.csv"
DIAGNOSES = tuple(f"diagnosis_{level}" for level in (5, 4, 3, 2, 1))
"""Columns of the ISIC archive, the most specific first."""
ISIC_DIAGNOSES = {
    "actinic keratosis": "akiec",
    "solar or actinic keratosis": "akiec",
    "squamous cell carcinoma in situ": "akiec",
    "squamous cell carcinoma in situ, bowens disease": "akiec",
    "basal cell carcinoma": "bcc",
    "pigmented benign keratosis": "bkl",
    "seborrheic keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichen planus like keratosis": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "melanoma, nos": "mel",
    "melanoma in situ": "mel",
    "melanoma invasive": "mel",
    "nevus": "nv",
    "vascular lesion": "vasc",
    "benign soft tissue proliferations - vascular": "vasc",
}
"""Diagnoses of the ISIC archive, in lower case, to codes."""
HAM10000_DIAGNOSES = ISIC_DIAGNOSES | {"squamous cell carcinoma, nos": "akiec"}
"""The same for HAM10000's own images, where this diagnosis is intraepithelial carcinoma."""


@dataclass(frozen=True)
class Published:
    """A published data set in a folder.

    Args:
        kind: ``"ham10000"``, ``"isic2018"`` or ``"isic"``: which table it is.
        table: the table.
    """

    kind: str
    table: Table


@dataclass(frozen=True)
class _Named:
    """Name, licence and attribution of a data set."""

    name: str = "private data"
    licence: str = ""
    attribution: str = ""


_HAM10000 = _Named("HAM10000", HAM10000_LICENCE, HAM10000_ATTRIBUTION)


def load_ham10000(root: Root) -> Records:
    """Read HAM10000 in any of its published layouts; the records are sorted by image id.

    * Dataverse and Kaggle: ``HAM10000_metadata.csv`` (``.tab`` and without a suffix as well) and
      images below folders whose names start with ``HAM10000_images``.
    * ISIC 2018, task 3: ``ISIC2018_Task3_Training_GroundTruth.csv`` (one column for each class) and
      ``ISIC2018_Task3_Training_LesionGroupings.csv``.
    * The ISIC archive: a ``metadata.csv`` with ``isic_id``, and ``diagnosis`` or ``diagnosis_1``
      to ``diagnosis_5``; the most specific one that belongs to a class of HAM10000 is used.

    Tables may lie in subfolders. Masks are ignored, and so are ``dx_type`` and similar columns,
    which leak the label. The records get the name, licence and attribution of HAM10000 if the ids
    are those of HAM10000, and otherwise what the columns ``copyright_license`` and ``attribution``
    say.

    Raises:
        DatasetError: if there is no table, columns or images are missing, or a label is unknown.
    """
    root = folder_of(root)
    found = find_published(root)
    if found is None:
        tables = tables_in(root)
        raise DatasetSchemaError(
            f"root must hold HAM10000_metadata.csv, {TRUTH} or a metadata.csv of the ISIC archive "
            f"(with isic_id), found none of them in {str(root)!r}" + ("" if tables else "."),
            **(table_remedy(tables[0], root) if tables else {}),
        )
    if found.kind == "isic":
        return _isic(root, found.table)
    if found.kind == "isic2018":
        rows, folders = _isic2018(root, found.table), [root]
    else:
        rows = _ham10000(found.table)
        folders = [path for path in sorted(root.rglob("HAM10000_images*")) if path.is_dir()]
    own = _HAM10000 if _is_ham10000(rows) else _Named()
    return _records(found.table, rows, folders or [root], {}, own)


def find_published(root: Path) -> Published | None:
    """The published table that a folder or one of its subfolders holds; ``None`` if there is none.

    Two different tables of one kind are a `DatasetSchemaError`.
    """
    found: dict[str, list[Table]] = {"ham10000": [], "isic2018": [], "isic": []}
    for path in sorted(root.rglob("*")):
        name, below = path.name.lower(), path.relative_to(root).parts
        if any(map(is_hidden, below)):
            continue
        if not ("metadata" in name or path.name == TRUTH) or not path.is_file():
            continue
        if path.name == TRUTH:
            found["isic2018"].append(Table(path))
        elif re.fullmatch(r"ham10000_metadata[^.]*(\.(csv|tab|tsv|txt))?", name):
            found["ham10000"].append(read_table(path))
        elif re.fullmatch(r".*metadata.*\.(csv|tab|tsv)", name):
            try:
                table = read_table(path, DIAGNOSES)
            except DatasetSchemaError:  # of something else: only a name that holds "metadata"
                continue
            if "isic_id" in table.columns:
                found["isic"].append(table)
            elif set(COLUMNS.values()) <= set(table.columns) and _is_ham10000(
                list(listed_rows(table, COLUMNS))
            ):
                found["ham10000"].append(table)
    for kind, tables in found.items():
        if len({read_file(table.path, MAX_TABLE_BYTES) for table in tables}) > 1:
            names = [str(table.path.relative_to(root)) for table in tables]
            raise DatasetSchemaError(
                f"{str(root)!r} must hold one table of images, but it holds {names}, which differ",
                **table_remedy(tables[0].path, tables[0].path.parent),
            )
        if tables:
            return Published(kind, tables[0])
    return None


def _ham10000(table: Table) -> list[Listed]:
    try:
        return list(listed_rows(table, COLUMNS))
    except DatasetSchemaError as error:
        remedy = table_remedy(table.path, table.path.parent)
        raise DatasetSchemaError(
            f"{error} Rename the column",
            python=f"or {remedy['python']}",
            command=f"or {remedy['command']}",
        ) from error


def _isic2018(root: Path, table: Table) -> list[Listed]:
    groups = next(iter(sorted(root.rglob(GROUPINGS))), None)
    if groups is None:
        raise DatasetSchemaError(
            f"{str(root)!r} must hold {GROUPINGS} beside the ground truth: without it images of "
            f"one lesion cannot be kept together."
        )
    lesions = Table(groups)
    lesions.require(("image", "lesion_id"))
    lesion_of = {clean(row["image"]): row["lesion_id"] for row in lesions.rows()}
    codes = [code.upper() for code in HAM10000_LABELS]
    rows = one_hot_rows(table, "image", codes, lesion_of)
    return [replace(row, label=row.label.lower()) for row in rows]


def _isic(root: Path, table: Table) -> Records:
    """Read an export of the ISIC archive, in its present or its former layout."""
    levels = [name for name in (*DIAGNOSES, "diagnosis") if name in table.columns]
    if not levels:
        raise DatasetSchemaError(
            f"{table.path.name} must have the column 'diagnosis', or 'diagnosis_1' to "
            f"'diagnosis_5', but it has {list(table.columns)}",
            **table_remedy(table.path, root),
        )
    columns = {"image": "isic_id", "label": levels[0]}
    columns |= {role: role for role in ("lesion_id", "patient_id") if role in table.columns}
    listed = list(listed_rows(table, columns))
    ham10000 = all(_number(row.image) in HAM10000_IDS for row in listed)
    diagnoses = HAM10000_DIAGNOSES if ham10000 else ISIC_DIAGNOSES
    rows = []
    for row in listed:
        cells = [row.label, *(row.attributes[name] for name in levels[1:])]
        named = [text for cell in cells if (text := clean(cell))]
        known = (text for text in named if text.lower() in diagnoses)
        label = next(known, named[0] if named else "")
        rows.append(replace(row, label=label))
    own = _Named(
        "HAM10000" if ham10000 else "ISIC archive",
        " AND ".join(_values(listed, "copyright_license")),
        "; ".join(_values(listed, "attribution")),
    )
    if ham10000 and not own.licence:
        own = _HAM10000
    labels = {row.label for row in rows}
    codes = {name: diagnoses[name.lower()] for name in labels if name.lower() in diagnoses}
    try:
        return _records(table, rows, [root], codes, own)
    except DatasetLabelError as error:
        found = DatasetLabelError(str(error).rstrip("."), **table_remedy(table.path, root))
        found.problems = error.problems
        raise found from error


def _records(
    table: Table,
    rows: Sequence[Listed],
    folders: Sequence[Path],
    codes: dict[str, str],
    own: _Named,
) -> Records:
    records = assemble(
        without_leaks(rows),
        ImageFiles(folders),
        table=table.path.name,
        labels=HAM10000_LABELS,
        label_map=codes,
        name=own.name,
        licence=own.licence,
        attribution=own.attribution,
    )
    notes = list(records.notes)
    if not own.licence:
        notes.append(
            f"the records get neither the name nor the licence of a published data set: the ids in "
            f"{table.path.name} are not those of HAM10000, and no column names a licence"
        )
    if table.joined:
        have = agreeing(table.joined, "has", "have")
        these = f"{counted(table.joined, 'row')} of {table.path.name}"
        notes.append(f"{these} {have} a comma that is not quoted")
    return replace(records, notes=tuple(notes))


def _is_ham10000(rows: Iterable[Listed]) -> bool:
    """Whether all ids are ISIC images and HAM lesions of HAM10000."""
    return all(
        _number(row.image) is not None and re.fullmatch(r"HAM_\d+", clean(row.lesion_id))
        for row in rows
    )


def _number(image: str) -> int | None:
    found = re.fullmatch(r"ISIC_(\d+)(\.\w+)?", clean(image))
    return int(found[1]) if found else None


def _values(rows: Iterable[Listed], column: str) -> list[str]:
    return sorted({text for row in rows if (text := clean(row.attributes.get(column, "")))})
