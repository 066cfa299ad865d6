"""Labelled images as `Records`: HAM10000, and folders of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from skinxai.errors import DatasetError
from skinxai.labels import HAM10000_LABELS, LabelSet

HAM10000_LICENCE = "CC-BY-NC-4.0"
HAM10000_ATTRIBUTION = (
    "HAM10000 (Tschandl, Rosendahl & Kittler, Sci Data 5:180161, 2018), "
    "ViDIR Group, Department of Dermatology, Medical University of Vienna"
)
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})


@dataclass(frozen=True)
class Record:
    """One labelled image.

    Args:
        image_id: unique within its `Records`.
        path: the image file.
        label: a code of the label set.
        lesion_id: images of one lesion share it; defaults to ``image_id``.
        patient_id: images of one patient share it, where known.
        attributes: further columns for subgroup tables; never an input to a network.
    """

    image_id: str
    path: Path
    label: str
    lesion_id: str = ""
    patient_id: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lesion_id", self.lesion_id or self.image_id)
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))


@dataclass(frozen=True)
class Records(Sequence[Record]):
    """Labelled images in a fixed order.

    Args:
        items: the records; image ids must be unique and labels known.
        labels: the label set.
        name: of the data set.
        licence: of the data set, as an SPDX expression where there is one.
        attribution: whom to name.
    """

    items: tuple[Record, ...]
    labels: LabelSet
    name: str = "private data"
    licence: str = ""
    attribution: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", tuple(self.items))
        seen: set[str] = set()
        for item in self.items:
            if item.image_id in seen:
                raise DatasetError(f"image_id must be unique, {item.image_id!r} came twice.")
            if item.label not in self.labels.codes:
                raise DatasetError(
                    f"label of {item.image_id!r} must be one of {list(self.labels)}, "
                    f"got {item.label!r}."
                )
            seen.add(item.image_id)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        return self.items[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.items)

    def subset(self, image_ids: Sequence[str]) -> Records:
        """The records with these ids, in this order; an unknown id is a `DatasetError`."""
        by_id = {item.image_id: item for item in self.items}
        if missing := [i for i in image_ids if i not in by_id]:
            raise DatasetError(
                f"{self.name} must hold every image asked for; {len(missing)} are missing, "
                f"the first is {missing[0]!r}."
            )
        chosen = tuple(by_id[i] for i in image_ids)
        return Records(chosen, self.labels, self.name, self.licence, self.attribution)

    def targets(self) -> list[int]:
        """Class position of each record."""
        return [self.labels.position(item.label) for item in self.items]

    def class_counts(self) -> list[int]:
        """Images of each class, in label order."""
        targets = self.targets()
        return [targets.count(k) for k in range(len(self.labels))]


def load_ham10000(root: str | Path) -> Records:
    """HAM10000 as it comes from Kaggle or Dataverse, sorted by image id.

    Args:
        root: folder with ``HAM10000_metadata.csv`` and the images below it, in any subfolder
            whose name starts with ``HAM10000_images``.

    Raises:
        DatasetError: no metadata, missing columns, or images that the metadata names are absent.
    """
    import pandas as pd

    root = Path(root)
    table_path = root / "HAM10000_metadata.csv"
    if not table_path.is_file():
        raise DatasetError(f"root must hold HAM10000_metadata.csv, found none in {str(root)!r}.")
    table = pd.read_csv(table_path, dtype=str, keep_default_na=False)
    needed = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    if missing := [column for column in needed if column not in table.columns]:
        raise DatasetError(f"{table_path.name} must have the columns {needed}, {missing} missing.")
    files = {path.stem: path for path in sorted(root.glob("HAM10000_images*/*.jpg"))}
    if absent := sorted(set(table["image_id"]) - set(files)):
        raise DatasetError(
            f"every image of {table_path.name} must be in {str(root)!r}; {len(absent)} are "
            f"missing, the first is {absent[0]!r}."
        )
    items = tuple(
        Record(
            row["image_id"],
            files[row["image_id"]],
            row["dx"],
            row["lesion_id"],
            attributes={name: row[name] for name in ("age", "sex", "localization")},
        )
        for row in table.sort_values("image_id").to_dict("records")
    )
    return Records(items, HAM10000_LABELS, "HAM10000", HAM10000_LICENCE, HAM10000_ATTRIBUTION)


def load_folder(root: str | Path) -> Records:
    """One subfolder for each class, named by its label code; each image is its own lesion.

    Raises:
        DatasetError: no folder, or fewer than two subfolders with images.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"root must be a folder, got {str(root)!r}.")
    items = [
        Record(str(path.relative_to(root)), path, folder.name)
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    ]
    codes = tuple(dict.fromkeys(item.label for item in items))
    if len(codes) < 2:
        raise DatasetError(
            f"{str(root)!r} must hold one subfolder of images for each of at least two classes, "
            f"found {list(codes)}."
        )
    return Records(tuple(items), LabelSet(codes))
