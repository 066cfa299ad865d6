"""``skinxai calibrate``."""

from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.options import (
    BatchSize,
    CalibrationPart,
    Data,
    MaxPixels,
    Model,
    NotCopies,
    Part,
    SplitsFile,
    words,
)
from skinxai.cli.saying import note
from skinxai.cli.table_options import (
    TableOptions,
    check_apart,
    judged,
    open_data,
    own_splits_named,
    with_table,
)
from skinxai.images.limits import MAX_PIXELS


@with_table
def calibrate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the calibrated model.")],
    table: TableOptions,
    model: Model = None,
    splits: SplitsFile = None,
    part: CalibrationPart = None,
    method: Annotated[
        str, typer.Option(help="temperature, or vector, which needs more images.")
    ] = "temperature",
    sensitivity: Annotated[
        float | None, typer.Option(help="Also make an operating point of this sensitivity.")
    ] = None,
    specificity: Annotated[
        float | None, typer.Option(help="Also make an operating point of this specificity.")
    ] = None,
    operating_point: Annotated[
        str | None, typer.Option(help="The one that decides by default [screening].")
    ] = None,
    not_copies: NotCopies = None,
    batch_size: BatchSize = 32,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Calibrate a model's probabilities on images that it did not learn from."""
    from skinxai.classifier import Classifier
    from skinxai.disk.writing import check_folder

    check_apart("--out", out, "DATA", data)
    check_folder(out)
    classifier = Classifier.from_pretrained(model)
    records = open_data(data, table, labels=classifier.config.labels)
    records = judged(records, splits, part, default=Part.val, done="used to calibrate")
    with own_splits_named(model):
        made = classifier.calibrate(
            records, method=method, sensitivity=sensitivity, specificity=specificity,
            operating_point=operating_point, not_copies=words(not_copies) or (),
            batch_size=batch_size, max_pixels=max_pixels,
        )  # fmt: skip
    made.save_pretrained(out)
    typer.echo(made.calibration)
    if made.calibration is not None and made.calibration.default is not None:
        note("some pictures that show no lesion pass the limits and get a decision: keep these out")
    note(f"the calibrated model is in {out}; skinxai predict IMAGE --model {out}")
