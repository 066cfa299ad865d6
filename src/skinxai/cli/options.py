"""What several commands take: types of options."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Part(StrEnum):
    """A part that models are judged on."""

    val = "val"
    test = "test"


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"


class Score(StrEnum):
    """Which score of a class is explained."""

    logit = "logit"
    probability = "probability"


IMAGES = "Files, folders, globs, or '-' for stdin."
SplitsFile = Annotated[
    Path | None,
    typer.Option(help="splits.csv [the data's own split, or else all images]."),
]
NewSplits = Annotated[
    Path | None,
    typer.Option(help="splits.csv [the data's own split, or else 70/15/15 by --seed]."),
]
_PART = "Part of --splits, or of the data's own split, to {}."
JudgedPart = Annotated[Part | None, typer.Option(help=_PART.format("evaluate [test]"))]
CalibrationPart = Annotated[Part | None, typer.Option(help=_PART.format("calibrate on [val]"))]
StressedPart = Annotated[Part | None, typer.Option(help=_PART.format("test on [val]"))]
Images = Annotated[list[str], typer.Argument(help=IMAGES)]
DATA = "Folder of HAM10000, of class folders or of shards, prepared folder, or CSV table."
Data = Annotated[Path, typer.Argument(help=DATA)]
OperatingPoint = Annotated[
    str | None,
    typer.Option(help="That decides, of a calibrated model [the model's default one]."),
]
Backend = Annotated[
    str | None,
    typer.Option(
        help="torch, onnx, openvino, or auto; all but torch need a model's graph. Torch by "
        "default, or what the suffix of an exported file names."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(help="Model folder, exported file, or org/name on the Hub [bundled]."),
]
Tta = Annotated[
    bool, typer.Option("--tta", help="Average the answers for the four flips of each image.")
]
BatchSize = Annotated[int, typer.Option(help="Images in one forward pass.")]
MaxPixels = Annotated[int, typer.Option(help="Refuse images of more pixels, width times height.")]
Uniform = Annotated[
    bool, typer.Option("--uniform", help="Give overlays one opacity [it follows the map].")
]
NotCopies = Annotated[
    str | None,
    typer.Option(help="IDS, separated by commas, of images that are wrongly taken for copies."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def separator(value: str | None) -> str | None:
    r"""A separator of cells, ``\t`` for a tab, which few shells let people type."""
    return "\t" if value == r"\t" else value


def words(text: str | None) -> list[str] | None:
    """``"nv,mel"`` as a list, without blanks; text of commas alone is refused."""
    if text is None:
        return None
    found = [word.strip() for word in text.split(",") if word.strip()]
    if text and not found:
        raise typer.BadParameter(f"names must be separated by commas, got {text!r} without one.")
    return found
