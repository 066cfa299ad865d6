"""``skinxai nearest``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from skinxai.cli.image_arguments import ReadImages, failed_line, failure, listed, named, notes_of
from skinxai.cli.options import IMAGES, BatchSize, Json, MaxPixels, Model
from skinxai.cli.saying import note, tell
from skinxai.cli.table_options import TableOptions, open_data, with_table
from skinxai.errors import OptionError
from skinxai.images.limits import MAX_PIXELS


@with_table
def nearest(
    asked: Annotated[list[str], typer.Argument(help=IMAGES, metavar="IMAGES")],
    table: TableOptions,
    k: Annotated[int, typer.Option("--k", "-k", help="Number of training lesions.")] = 5,
    data: Annotated[
        Path | None,
        typer.Option(help="The training images, to show the files of the lesions."),
    ] = None,
    model: Model = None,
    batch_size: BatchSize = 32,
    as_json: Json = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Print the training lesions that the network finds most similar to each image."""
    from skinxai.classifier import Classifier
    from skinxai.images.sources import describe

    if data is None and table != TableOptions():
        raise OptionError(f"{table.arguments()[0]} goes with --data, which was not given.")
    sources, _ = listed(asked)
    classifier = Classifier.from_pretrained(model)
    labels = classifier.config.labels
    records = None if data is None else open_data(data, table, labels=labels)
    read = ReadImages(sources, max_pixels)
    found = iter(
        classifier.nearest(read, k, records=records, batch_size=batch_size, max_pixels=max_pixels)
    )
    rows: list[dict[str, Any]] = []
    for number, source in enumerate(sources):
        if number in read.errors:
            error = read.errors[number]
            rows.append(failure(error))
            lines = [failed_line(error)]
        else:
            name, notes = describe(named(source)), read.warnings[number]
            lesions = [_plain(each) for each in next(found)]
            rows.append({"source": name, "nearest": lesions, "warnings": list(notes)})
            lines = [name, *map(_line, lesions), *notes_of(notes)]
        for line in [] if as_json else lines:
            tell(line)
    shown = [lesion for row in rows for lesion in row.get("nearest", ())]
    if data is not None and shown and not any(lesion["path"] for lesion in shown):
        note(f"no image of {data} has the pixels of these lesions: their ids are hashes")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    raise typer.Exit(1 if read.errors else 0)


def _line(lesion: dict[str, Any]) -> str:
    path = f"  {lesion['path']}" if lesion["path"] else ""
    return f"  {lesion['id']}  {lesion['label']:<8} {lesion['distance']:.4f}{path}"


def _plain(lesion: Any) -> dict[str, Any]:
    path = None if lesion.path is None else str(lesion.path)
    return {"id": lesion.id, "label": lesion.label, "distance": lesion.distance, "path": path}
