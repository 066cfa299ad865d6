"""``skinxai evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skinxai.cli.options import (
    Backend,
    BatchSize,
    Data,
    JudgedPart,
    MaxPixels,
    Model,
    NotCopies,
    SplitsFile,
    Tta,
    words,
)
from skinxai.cli.saying import note
from skinxai.cli.table_options import TableOptions, check_apart, judged, open_data, with_table
from skinxai.images.limits import MAX_PIXELS

if TYPE_CHECKING:
    from skinxai.results import Evaluation


@with_table
def evaluate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for evaluation.html and evaluation.json.")],
    table: TableOptions,
    model: Model = None,
    backend: Backend = None,
    splits: SplitsFile = None,
    part: JudgedPart = None,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Evaluate leaked splits, and mark every figure.")
    ] = False,
    not_copies: NotCopies = None,
    tta: Tta = False,
    batch_size: BatchSize = 32,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Evaluate a model on labelled images: a page with intervals and curves, and JSON."""
    from skinxai.classifier import Classifier
    from skinxai.disk.writing import check_folder
    from skinxai.reporting import read_log, write_evaluation

    check_apart("--out", out, "DATA", data)
    check_folder(out)
    classifier = Classifier.from_pretrained(model, backend=backend)
    records = open_data(data, table, labels=classifier.config.labels)
    records = judged(records, splits, part, allow_leakage=allow_leakage)
    others = words(not_copies) or []
    found = classifier.evaluate(
        records, tta=tta, not_copies=others, batch_size=batch_size, max_pixels=max_pixels
    )
    page, _ = write_evaluation(found, out, log=read_log(model) if model is not None else ())
    typer.echo(f"{in_words(found)}\n\n{found.to_markdown()}")
    if found.seen.copies:
        ids = ",".join([*others, *found.seen.copies])
        note(f"look at these images; where they show other skin, give --not-copies {ids}")
    note(f"the page is {page}")


def in_words(found: Evaluation) -> str:
    """The main figures, in one sentence."""
    return (
        f"{f'{found.leak} ' if found.leaked else ''}{found.data}: balanced accuracy "
        f"{found.balanced_accuracy}, macro-F1 {found.macro_f1}, accuracy {found.accuracy}; "
        f"{found.images} images of {found.lesions} lesions"
    )
