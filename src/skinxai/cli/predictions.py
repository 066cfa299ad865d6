"""``skinxai predict``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from skinxai.cli.image_arguments import (
    bar,
    failed_line,
    failure,
    listed,
    named,
    not_done,
    note_end,
    notes_of,
    opened,
)
from skinxai.cli.manifest_options import NO_MANIFEST, ManifestOptions, with_manifest
from skinxai.cli.options import (
    IMAGES,
    Backend,
    BatchSize,
    Format,
    MaxPixels,
    Model,
    OperatingPoint,
    Tta,
    Uniform,
)
from skinxai.cli.saying import note, tell_above
from skinxai.images.limits import MAX_PIXELS
from skinxai.plain_text import counted


@with_manifest
def predict(
    images: Annotated[list[str] | None, typer.Argument(help=IMAGES)] = None,
    explain: Annotated[
        str | None, typer.Option(help="Also explain, with a method such as gradcam.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for results.csv, results.json and overlays, or for parts."),
    ] = None,
    model: Model = None,
    backend: Backend = None,
    format: Annotated[Format, typer.Option(help="Format of the output.")] = Format.table,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    operating_point: OperatingPoint = None,
    dropout_passes: Annotated[
        int,
        typer.Option(help="Uncertainty by so many passes with dropout, in CSV and JSON.", min=0),
    ] = 0,
    tta: Tta = False,
    batch_size: BatchSize = 32,
    max_pixels: MaxPixels = MAX_PIXELS,
    uniform: Uniform = False,
    table: ManifestOptions = NO_MANIFEST,
) -> None:
    """Print each image's class probabilities; with --explain, write overlays to --out.

    With --manifest, answer the images of a table, and write a part of answers for each chunk.
    """
    from skinxai.classifier import Classifier
    from skinxai.results import ItemError
    from skinxai.results.folder import ResultFolder
    from skinxai.results.folder import table as csv_table

    images = images or []
    others = {
        "--explain": explain is not None, "--uniform": uniform, "--json": as_json,
        "--format": format is not Format.table, "--dropout-passes": bool(dropout_passes),
    }  # fmt: skip
    table.check(images, out, others)
    if table.manifest is not None and out is not None:
        given = {"tta": tta, "operating_point": operating_point, "batch_size": batch_size,
                 "max_pixels": max_pixels}  # fmt: skip
        raise typer.Exit(1 if table.run(model, backend, out, given).failed else 0)
    if explain is not None and out is None:
        raise typer.BadParameter("--explain needs --out FOLDER for the overlays.")
    if uniform and explain is None:
        raise typer.BadParameter("--uniform goes with --explain, which draws the overlays.")
    if dropout_passes and out is None and not as_json and format is Format.table:
        raise typer.BadParameter(
            "--dropout-passes is seen in CSV and JSON alone; give --format csv, --json or --out."
        )
    if as_json and format is Format.csv:
        raise typer.BadParameter("--json and --format csv exclude each other; give one of them.")
    format = Format.json if as_json else format
    sources, left_out = listed(images, out)
    folder = ResultFolder(out, sources) if out is not None else None
    classifier = Classifier.from_pretrained(model, backend=backend)
    stream = classifier.stream(
        [opened(source) for source in sources], explain=explain, tta=tta, batch_size=batch_size,
        operating_point=operating_point, dropout_passes=dropout_passes, max_pixels=max_pixels,
        on_error="return", progress=False if explain is None else None,
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    failed = 0
    try:
        watched = bar(sources) if explain is None else sources  # else the stream has bars
        for source, item in zip(watched, stream, strict=True):
            result, explanation = item if isinstance(item, tuple) else (item, None)
            more = failure(result) if isinstance(result, ItemError) else {}
            if explanation is not None and folder is not None:
                more["overlay"] = folder.name_for(named(source), f".{explain}.png")
                folder.put(more["overlay"], explanation.png(uniform=uniform))
            failed += isinstance(result, ItemError)
            rows.append(result.to_dict() | more)
            if format is Format.table:
                tell_above(_lines(result))
    finally:  # also after an interruption: what is done is kept, and what is not is named
        done = len(rows)
        if done:
            rows += map(not_done, sources[done:])
        rest = [left.to_dict() for left in left_out]
        note_end(done, len(sources), out)
        if folder is not None:
            folder.write(rows, rest)
        if rows and format is not Format.table:
            shown = json.dumps(rows + rest, indent=2) + "\n"
            typer.echo(csv_table(rows) if format is Format.csv else shown, nl=False)
    if folder is not None:
        note(f"{len(sources) - failed} of {counted(len(sources), 'image')}, results in {out}")
    raise typer.Exit(1 if failed else 0)


def _lines(result: Any) -> list[str]:
    """The three most probable classes of an image, and below them notes from reading it."""
    from skinxai.results import Prediction

    if not isinstance(result, Prediction):
        return [failed_line(result)]
    shown = "  ".join(
        f"{code} {value:.3f}" for code, value in result.top(min(3, len(result.labels)))
    )
    line = "  ".join([result.source, shown, *result.said()])
    return [line, *notes_of((*result.doubts, *result.warnings))]
