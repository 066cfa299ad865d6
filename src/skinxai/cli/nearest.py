"""``skinxai nearest``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from skinxai.cli.inputs import listed, named, opened
from skinxai.cli.options import IMAGES, BatchSize, Json, MaxPixels, Model
from skinxai.cli.saying import tell
from skinxai.cli.tables import TableOptions, open_data, with_table
from skinxai.errors import OptionError
from skinxai.limits import MAX_PIXELS


@with_table
def nearest(
    asked: Annotated[list[str], typer.Argument(help=IMAGES, metavar="IMAGES")],
    table: TableOptions,
    k: Annotated[int, typer.Option("--k", "-k", help="How many training lesions.")] = 5,
    data: Annotated[
        Path | None,
        typer.Option(help="The training images, to name the lesions' files: as in audit."),
    ] = None,
    model: Model = None,
    batch_size: BatchSize = 32,
    as_json: Json = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Print the training lesions that the network finds most similar to each image."""
    from skinxai.classifier import Classifier
    from skinxai.sources import describe

    if data is None and table != TableOptions():
        raise OptionError(f"{table.arguments()[0]} goes with --data, which was not given.")
    sources, _ = listed(asked)
    classifier = Classifier.from_pretrained(model)
    labels = classifier.config.labels
    records = None if data is None else open_data(data, table, labels=labels)
    found = classifier.nearest(
        [opened(source) for source in sources], k, records=records, batch_size=batch_size,
        max_pixels=max_pixels,
    )  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"source": describe(named(source)), "nearest": [_plain(each) for each in lesions]}
        for source, lesions in zip(sources, found, strict=True)
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        tell(row["source"])
        for each in row["nearest"]:
            path = f"  {each['path']}" if each["path"] else ""
            tell(f"  {each['id']}  {each['label']:<8} {each['distance']:.4f}{path}")


def _plain(lesion: Any) -> dict[str, Any]:
    path = None if lesion.path is None else str(lesion.path)
    return {"id": lesion.id, "label": lesion.label, "distance": lesion.distance, "path": path}
