"""Reading labelled images: HAM10000, folders of one's own, and CSV tables of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from skinxai.data.assembling import Listed, assemble, without_leaks
from skinxai.data.records import Record, Records
from skinxai.data.tables import ImageFiles, Table
from skinxai.errors import DatasetError, DatasetLabelError, DatasetSchemaError
from skinxai.image_files import SUFFIXES
from skinxai.labels import HAM10000_LABELS, LabelSet

HAM10000_LICENCE = "CC-BY-NC-4.0"
HAM10000_ATTRIBUTION = (
    "HAM10000 (Tschandl, Rosendahl & Kittler, Sci Data 5:180161, 2018), "
    "ViDIR Group, Department of Dermatology, Medical University of Vienna"
)
ROLES = ("image", "label", "lesion_id", "patient_id")
ISIC_DIAGNOSES = {
    "actinic keratosis": "akiec",
    "basal cell carcinoma": "bcc",
    "pigmented benign keratosis": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "nevus": "nv",
    "vascular lesion": "vasc",
}
"""Column ``diagnosis`` of the ISIC archive's own table of HAM10000, to codes."""

Root = str | os.PathLike[str]


def load_ham10000(root: Root) -> Records:
    """HAM10000 in any layout that it is published in, sorted by image id.

    * Dataverse and Kaggle: ``HAM10000_metadata.csv`` (or ``HAM10000_metadata``) and images below
      folders whose names start with ``HAM10000_images``.
    * ISIC 2018, task 3: ``ISIC2018_Task3_Training_GroundTruth.csv`` (one column a class) and
      ``ISIC2018_Task3_Training_LesionGroupings.csv``.
    * The ISIC archive: ``metadata.csv`` with ``isic_id``, ``diagnosis`` and ``lesion_id``.

    Tables may lie in subfolders. Masks are ignored, and so are ``dx_type`` and its kin, which
    leak the label.

    Raises:
        DatasetError: no table, missing columns or images, unknown labels.
    """
    root = _folder(root)
    tables = {path.name: path for path in sorted(root.rglob("*")) if "etadata" in path.name
              or path.name.startswith("ISIC2018_Task3_Training_")}  # fmt: skip
    metadata = tables.get("HAM10000_metadata.csv") or tables.get("HAM10000_metadata")
    truth = tables.get("ISIC2018_Task3_Training_GroundTruth.csv")
    label_map: Mapping[str, str] = {}
    if metadata is not None:
        folders = [path for path in sorted(root.rglob("HAM10000_images*")) if path.is_dir()]
        table = Table(metadata)
        rows = _listed(table, {"image": "image_id", "label": "dx", "lesion_id": "lesion_id"})
    elif truth is not None:
        folders, table = [root], Table(truth)
        groups = tables.get("ISIC2018_Task3_Training_LesionGroupings.csv")
        if groups is None:
            raise DatasetSchemaError(
                f"{str(root)!r} must hold ISIC2018_Task3_Training_LesionGroupings.csv beside the "
                f"ground truth: without it images of one lesion cannot be kept together."
            )
        lesions = Table(groups)
        lesions.require(("image", "lesion_id"))
        lesion_of = {row["image"]: row["lesion_id"] for row in lesions.rows()}
        rows = _one_hot(table, "image", [code.upper() for code in HAM10000_LABELS], lesion_of)
        label_map = {code.upper(): code for code in HAM10000_LABELS}
    elif "metadata.csv" in tables:
        folders, table, label_map = [root], Table(tables["metadata.csv"]), ISIC_DIAGNOSES
        rows = _listed(table, {"image": "isic_id", "label": "diagnosis", "lesion_id": "lesion_id"})
    else:
        raise DatasetSchemaError(
            f"root must hold HAM10000_metadata.csv, ISIC2018_Task3_Training_GroundTruth.csv or the "
            f"ISIC archive's metadata.csv, found none of them in {str(root)!r}."
        )
    return assemble(
        without_leaks(rows),
        ImageFiles(folders or [root]),
        table=table.path.name,
        labels=HAM10000_LABELS,
        label_map=label_map,
        name="HAM10000",
        licence=HAM10000_LICENCE,
        attribution=HAM10000_ATTRIBUTION,
    )


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
    """A table of one's own and the folder of its images, sorted by image id.

    Args:
        csv: the table: UTF-8 with a header.
        images: folder of the images, subfolders included.
        columns: names of the columns ``"image"`` (a path below ``images``, a file name or an
            id), ``"label"`` (one column, or a list of columns with 0 and 1), ``"lesion_id"`` and
            ``"patient_id"``; by default they are called just so. The last two may be absent.
            All other columns become attributes; `audit` says which of them give the label away.
        labels: label codes in logit order; ``None`` sorts those that occur.
        label_map: from labels in the table to codes, to rename or merge classes.
        delimiter: between cells.
        dedupe: keep the first of several rows that say the same of one image.
        name: of the data set.
        licence: of the data set, as an SPDX expression where there is one.
        attribution: whom to name.

    Raises:
        DatasetError: one of its subclasses; all bad rows are listed at once.
    """
    table = Table(csv, delimiter)
    chosen: dict[str, str | Sequence[str]] = {role: role for role in ROLES} | dict(columns or {})
    if unknown := sorted(set(chosen) - set(ROLES)):
        raise DatasetSchemaError(f"columns must have keys of {list(ROLES)}, got {unknown[0]!r}.")
    for role in ("lesion_id", "patient_id"):
        if role not in (columns or {}) and role not in table.columns:
            del chosen[role]
    if isinstance(chosen["label"], str):
        rows = _listed(table, {role: str(column) for role, column in chosen.items()})
    else:
        others = {role: str(column) for role, column in chosen.items() if role != "label"}
        rows = _one_hot(table, others.pop("image"), list(chosen["label"]), None, others)
    return assemble(
        rows,
        ImageFiles([_folder(images)]),
        table=table.path.name,
        labels=labels
        if labels is None or isinstance(labels, LabelSet)
        else LabelSet(tuple(labels)),
        label_map=label_map,
        dedupe=dedupe,
        name=name,
        licence=licence,
        attribution=attribution,
    )


def load_folder(root: Root, *, labels: LabelSet | Sequence[str] | None = None) -> Records:
    """One subfolder for each class, named by its label code; each image is its own lesion.

    Args:
        root: the folder.
        labels: label codes in logit order; ``None`` sorts the subfolders' names. For the
            validation images of another folder pass the training images' ``labels``.

    Raises:
        DatasetError: no folder, fewer than two classes, or a subfolder that is no label.
    """
    root = _folder(root)
    items = [
        Record(str(path.relative_to(root)), path, folder.name)
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    found = sorted({item.label for item in items})
    if not items:
        raise DatasetError(
            f"{str(root)!r} must hold one subfolder of images for each class, it has no image in "
            f"any subfolder."
        )
    notes = ["images carry no lesion ids: each is its own lesion"]
    if labels is None:
        if len(found) < 2:
            raise DatasetError(
                f"{str(root)!r} must hold one subfolder of images for each of at least two "
                f"classes, found {found}."
            )
        labels = LabelSet(tuple(found))
        notes.append("no label order was declared: labels are sorted")
    elif not isinstance(labels, LabelSet):
        labels = LabelSet(tuple(labels))
    if unknown := sorted(set(found) - set(labels)):
        raise DatasetLabelError(
            f"subfolders of {str(root)!r} must be named by labels {list(labels)}, got {unknown}."
        )
    return Records(tuple(items), labels, notes=tuple(notes))


def _folder(root: Root) -> Path:
    path = Path(root)
    if not path.is_dir():
        archive = ", unpack it first" if path.suffix.lower() in (".zip", ".tar", ".gz") else ""
        raise DatasetError(f"root must be a folder, got {str(root)!r}{archive}.")
    return path


def _listed(table: Table, columns: Mapping[str, str]) -> Iterator[Listed]:
    table.require(columns.values())
    used = set(columns.values())
    for row in table.rows():
        attributes = {name: value for name, value in row.cells.items() if name not in used}
        named = {role: row[column] for role, column in columns.items()}
        yield Listed(row.line, attributes=attributes, **named)


def _one_hot(
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
            named["lesion_id"] = lesion_of.get(row[image], "")
        attributes = {name: value for name, value in row.cells.items() if name not in used}
        found.append(Listed(row.line, row[image], ones[0], attributes=attributes, **named))
    if wrong:
        raise DatasetLabelError(
            f"{table.path.name} must have one 1 and otherwise 0 in the columns {list(classes)};",
            tuple(wrong),
        )
    return iter(found)
