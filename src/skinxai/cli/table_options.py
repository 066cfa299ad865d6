"""The options that say how labelled images are read, for every command that reads them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from skinxai.cli.options import Part, separator
from skinxai.cli.saying import note, with_group
from skinxai.disk.regular_files import is_folder
from skinxai.errors import DatasetError, DatasetLabelError, LeakageError, OptionError
from skinxai.plain_text import one_line

if TYPE_CHECKING:
    from skinxai.data import Records, Splits
    from skinxai.labels import LabelSet

_COLUMN = "Column of the table with {}."
_OPTIONS: dict[str, Any] = {
    "images": Annotated[Path | None, typer.Option(help="Folder of the table's images.")],
    "image_column": Annotated[
        str | None, typer.Option(help=_COLUMN.format("the image's file or id [image]"))
    ],
    "label_column": Annotated[str | None, typer.Option(help=_COLUMN.format("its label [label]"))],
    "lesion_column": Annotated[
        str | None, typer.Option(help=_COLUMN.format("the lesion's id [lesion_id]"))
    ],
    "patient_column": Annotated[
        str | None, typer.Option(help=_COLUMN.format("the patient's id [patient_id]"))
    ],
    "column": Annotated[
        list[str] | None,
        typer.Option(help="ROLE=COLUMN, for the roles image, label, lesion_id and patient_id."),
    ],
    "label": Annotated[
        list[str] | None, typer.Option(help="TABLE=CODE: the code that a label of the table means.")
    ],
    "delimiter": Annotated[
        str | None,
        typer.Option(help="Separator of the table's cells [,].", callback=separator),
    ],
}
ROLES = {
    "image_column": "image", "label_column": "label", "lesion_column": "lesion_id",
    "patient_column": "patient_id",
}  # fmt: skip
Labels = Annotated[
    str | None,
    typer.Option(help="Label codes in the order of the logits, e.g. nv,mel,bcc [sorted]."),
]
Malignant = Annotated[
    str | None,
    typer.Option(help="The malignant labels, e.g. mel,bcc; '' for none. [known for HAM10000 "
                 "only]."),
]  # fmt: skip


@dataclass(frozen=True)
class TableOptions:
    """How labelled images are read; ``None`` where an option was not given.

    Args:
        images: folder of a table's images.
        columns: role → column.
        label_map: label of the table → code.
        delimiter: between cells.
    """

    images: Path | None = None
    columns: Mapping[str, str] | None = None
    label_map: Mapping[str, str] | None = None
    delimiter: str | None = None

    @classmethod
    def of(
        cls, images: Path | None = None, column: list[str] | None = None,
        label: list[str] | None = None, delimiter: str | None = None, **single: str | None,
    ) -> Self:  # fmt: skip
        """From the options as typer has them."""
        columns = mapping("--column", column)
        for name, text in single.items():
            if text is not None and columns.setdefault(ROLES[name], text) != text:
                raise typer.BadParameter(
                    f"--column {ROLES[name]}={columns[ROLES[name]]} contradicts "
                    f"--{name.replace('_', '-')} {text}; give one of them."
                )
        return cls(images, columns or None, mapping("--label", label) or None, delimiter)

    def arguments(self) -> list[str]:
        """The options that say this on a command line."""
        names = {role: f"--{name.replace('_', '-')}" for name, role in ROLES.items()}
        found = [] if self.images is None else ["--images", str(self.images)]
        for role, column in (self.columns or {}).items():
            found += [names[role], column]
        for pair in (self.label_map or {}).items():
            found += ["--label", "=".join(pair)]
        return found + ([] if self.delimiter is None else ["--delimiter", self.delimiter])

    def over(self, other: TableOptions) -> TableOptions:
        """These options where they were given, and the other's where they were not."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        chosen = {name: old if new is None else new for name, (new, old) in pairs.items()}
        columns = {**(other.columns or {}), **(self.columns or {})}
        return TableOptions(**chosen | {"columns": columns or None})


with_table = with_group(_OPTIONS, TableOptions.of)


def mapping(option: str, pairs: list[str] | None) -> dict[str, str]:
    """``["a=b", ...]`` as a dict; a name with two values is refused."""
    found: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{option} must look like NAME=VALUE, got {pair!r}.")
        if found.setdefault(name, value) != value:
            raise typer.BadParameter(
                f"{option} must give each name one value, but gives {name!r} both {found[name]!r} "
                f"and {value!r}."
            )
    return found


def open_data(
    data: Path,
    table: TableOptions | None = None,
    *,
    labels: LabelSet | Sequence[str] | None = None,
    malignant: Sequence[str] | None = None,
) -> Records:
    """The labelled images that a command was given; what their reader should know is printed."""
    from skinxai.data.detecting import open_records
    from skinxai.data.prepared import is_prepared
    from skinxai.data.tar_index import is_indexed

    table = table or TableOptions()
    delimiter = {} if table.delimiter is None else {"delimiter": table.delimiter}
    records = open_records(
        data, images=table.images, columns=table.columns, label_map=table.label_map,
        labels=None if is_prepared(data) or is_indexed(data) else labels, **delimiter,
    )  # fmt: skip
    for text in records.notes:
        note(text)
    return _labelled(records, labels, malignant)


def check_apart(option: str, out: Path, source: str, data: Path) -> None:
    """Refuse a folder for results that would be taken for a class when the data is read again.

    Args:
        option: that names ``out``.
        out: what is written.
        source: the option that names ``data``.
        data: what is read. Below a folder with one subfolder for each class nothing is written.
    """
    from skinxai.data.prepared import is_prepared
    from skinxai.data.published import find_published
    from skinxai.data.tar_shards import is_shards
    from skinxai.images.listing import is_below

    if (
        is_below(os.path.realpath(out), os.path.realpath(data))
        and is_folder(data) and not is_prepared(data) and not is_shards(data)
        and find_published(data) is None
    ):  # fmt: skip
        raise OptionError(
            f"{option} must lie outside {source}, because {str(out)!r} would be taken for a class "
            f"when {str(data)!r} is read again; give another folder."
        )


def own_split(records: Records, seed: int, *, allow_leakage: bool = False) -> Splits:
    """The split that the data comes with, or else a new one."""
    from skinxai.data import given_split, split
    from skinxai.data.given import names_parts

    if not names_parts(records):
        return split(records, seed=seed)
    note("the data's own split is used; choose another with --splits")
    return given_split(records, seed, allow_leakage=allow_leakage)


def parts_of(
    records: Records, splits: Path | None, seed: int, *, allow_leakage: bool = False
) -> Splits:
    """The parts that a file names, or else `own_split`; what their reader should know is printed.

    Raises:
        LeakageError: a lesion, patient or image in two parts.
    """
    from skinxai.data import Splits

    if splits is None:
        parts = own_split(records, seed, allow_leakage=allow_leakage)
    else:
        parts = Splits.from_csv(splits, records, allow_leakage=allow_leakage)
    for text in parts.notes:
        note(text)
    return parts


def judged(
    records: Records, splits: Path | None, part: Part | None, *, allow_leakage: bool = False,
    default: Part | None = None, done: str = "evaluated",
) -> Records:  # fmt: skip
    """The images that a model is judged on; where these are a part, a note says which.

    Args:
        records: the labelled images.
        splits: a file of parts; else the data's own are taken, and all images where it has none.
        part: of these.
        allow_leakage: of the split.
        default: part where none is named; ``None``: the test part of the data's own split, and
            a file of parts needs one named.
        done: what is done with the images, for the note.

    Raises:
        DatasetError: no image in the part.
        LeakageError: a lesion, patient or image in two parts.
    """
    from skinxai.data.given import given_part, has_part_names

    if splits is not None:
        if (part := part or default) is None:
            raise typer.BadParameter("--splits needs --part val or --part test.")
        parts = parts_of(records, splits, 0, allow_leakage=allow_leakage)
        found: Records = getattr(parts, part.value)
        if not len(found):
            raise DatasetError(f"the {part} part of {str(splits)!r} must hold images, got none.")
        return found
    if has_part_names(records) and (part is not None or not records.part):
        chosen = (part or default or Part.test).value
        found = given_part(records, chosen, allow_leakage=allow_leakage)
        note(
            f"only the {chosen} part of the data's own split is {done}, {len(found)} of "
            f"{len(records)} images; choose a part with --part, or another split with --splits"
        )
        return found
    if part is not None:
        raise typer.BadParameter(
            "--part goes with --splits, or with data that comes in parts: folders train, val and "
            "test, or a column part or split."
        )
    return records


@contextmanager
def own_splits_named(model: str | None) -> Iterator[None]:
    """Context in which a refusal that says ``--splits splits.csv`` names the file of a run."""
    try:
        yield
    except LeakageError as error:
        text = error.on_command_line.replace("--splits splits.csv", f"--splits {splits_of(model)}")
        error.on_command_line = one_line(text)
        raise


def splits_of(model: str | None) -> str:
    """The file of the split that a model was trained with, for a shell: that of its run folder."""
    path = Path(model or "") / "splits.csv"
    return shlex.quote(str(path)) if model and path.is_file() else path.name


def _labelled(
    records: Records, labels: LabelSet | Sequence[str] | None, malignant: Sequence[str] | None
) -> Records:
    """The records with their labels in an order, and those that are malignant declared."""
    from skinxai.labels import LabelSet

    own, whole = records.labels, isinstance(labels, LabelSet)  # a model's: with its names
    codes = own.codes if labels is None else tuple(labels)
    if codes == own.codes and malignant is None and not whole:
        return records
    if lacking := sorted({item.label for item in records} - set(codes)):
        raise DatasetLabelError(
            f"labels must name every label of the data, {list(own)}, but they do not name "
            f"{lacking}."
        )
    if isinstance(labels, LabelSet):
        return replace(records, labels=labels)
    names = {code: name for code, name in own.names.items() if code in codes}
    known = None if own.malignant is None else own.malignant & set(codes)
    made = LabelSet(codes, names, known)
    if malignant is not None:
        made = replace(made, malignant=frozenset(made.code_of(label) for label in malignant))
    return replace(records, labels=made)
