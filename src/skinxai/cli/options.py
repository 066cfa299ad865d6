"""What several commands take: types of options, and texts made into values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from skinxai.data import Records
    from skinxai.labels import LabelSet


class Part(StrEnum):
    """A part that models are judged on."""

    val = "val"
    test = "test"


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"


Images = Annotated[list[str], typer.Argument(help="Files, folders, globs, or '-' for stdin.")]
Data = Annotated[
    Path, typer.Argument(help="Folder of HAM10000, of classes, a prepared one, or a CSV table.")
]
ImageFolder = Annotated[Path | None, typer.Option(help="Folder of the table's images.")]
Delimiter = Annotated[str, typer.Option(help="Between the table's cells.")]
Columns = Annotated[
    list[str] | None, typer.Option(help="ROLE=COLUMN: image, label, lesion_id or patient_id.")
]
LabelMap = Annotated[
    list[str] | None, typer.Option(help="TABLE=CODE: what a label of the table means.")
]
Backend = Annotated[
    str, typer.Option(help="torch, onnx, openvino, or auto; all but torch need a model's graph.")
]
Model = Annotated[str | None, typer.Option(help="Model folder; the bundled model by default.")]


def mapping(option: str, pairs: list[str] | None) -> dict[str, str]:
    """``["a=b", ...]`` as a dict."""
    if wrong := [pair for pair in pairs or () if "=" not in pair]:
        raise typer.BadParameter(f"{option} must look like NAME=VALUE, got {wrong[0]!r}.")
    return dict(pair.split("=", 1) for pair in pairs or ())


def say_notes(notes: Iterable[str]) -> None:
    """Each note as a line on standard error."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def open_data(
    data: Path,
    images: Path | None,
    column: list[str] | None,
    label: list[str] | None,
    delimiter: str,
    labels: LabelSet | Sequence[str] | None = None,
) -> Records:
    """The labelled images that a command was given; what their reader should know is printed."""
    from skinxai.data.opening import open_records

    records = open_records(
        data, images=images, columns=mapping("--column", column),
        label_map=mapping("--label", label), delimiter=delimiter, labels=labels,
    )  # fmt: skip
    say_notes(records.notes)
    return records
