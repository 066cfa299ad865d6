"""``skinxai stress``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.options import (
    Backend,
    BatchSize,
    Data,
    MaxPixels,
    Model,
    NotCopies,
    Part,
    SplitsFile,
    StressedPart,
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
def stress(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for stress.json, stress.md and stress.png.")],
    table: TableOptions,
    model: Model = None,
    backend: Backend = None,
    masks: Annotated[
        Path | None,
        typer.Option(help="Folder with a mask IMAGE_segmentation.png of each image."),
    ] = None,
    splits: SplitsFile = None,
    part: StressedPart = None,
    artefacts: Annotated[
        str | None, typer.Option(help="Artefacts, separated by commas, e.g. ink,ruler [all].")
    ] = None,
    method: Annotated[str, typer.Option(help="Explanation method of the maps.")] = "gradcam",
    lesions: Annotated[int, typer.Option(help="Most lesions; classes take turns.")] = 300,
    maps: Annotated[int, typer.Option(help="Images whose maps are made.")] = 60,
    seed: Annotated[int, typer.Option(help="Seed for the choice of lesions and drawings.")] = 0,
    not_copies: NotCopies = None,
    batch_size: BatchSize = 32,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Measure how answers change with ink, rulers, hair, light and the like."""
    from skinxai.benchmarking import stress_sheet, stress_test
    from skinxai.classifier import Classifier
    from skinxai.disk.staging import write_together
    from skinxai.disk.writing import check_folder
    from skinxai.results.drawing import encode_png

    check_apart("--out", out, "DATA", data)
    check_folder(out)
    classifier = Classifier.from_pretrained(model, backend=backend)
    records = open_data(data, table, labels=classifier.config.labels)
    records = judged(records, splits, part, default=Part.val, done="tested")
    names = words(artefacts)
    with own_splits_named(model):
        found = stress_test(
            classifier, records, masks, artefacts=names, method=method, lesions=lesions, maps=maps,
            seed=seed, not_copies=words(not_copies) or (), batch_size=batch_size,
            max_pixels=max_pixels,
        )  # fmt: skip
    picture = stress_sheet(
        classifier, records, masks, artefacts=names, method=method, seed=seed,
        max_pixels=max_pixels,
    )  # fmt: skip
    text = found.to_markdown()
    write_together(
        out,
        {
            "stress.json": json.dumps(found.to_dict(), indent=2).encode() + b"\n",
            "stress.md": text.encode(),
            "stress.png": encode_png(picture),
        },
    )
    typer.echo(text)
    note(f"the picture is {out / 'stress.png'}")
