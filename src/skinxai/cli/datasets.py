"""``skinxai audit`` and ``skinxai prepare``."""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.options import (
    Columns,
    Data,
    Delimiter,
    ImageFolder,
    LabelMap,
    open_data,
    say_notes,
)
from skinxai.configs import parse_size


def audit(
    data: Data,
    images: ImageFolder = None,
    column: Columns = None,
    label: LabelMap = None,
    delimiter: Delimiter = ",",
    splits: Annotated[
        Path | None, typer.Option(help="splits.csv; without it a new split is audited.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the new split.")] = 0,
    init_weights: Annotated[
        str | None,
        typer.Option(help="What training will start from: bundled, imagenet or a model folder."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.html and audit.json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for leaks, duplicates and damaged files before training; exit 1 if there are errors."""
    from skinxai.data import Splits, split
    from skinxai.data.auditing import audit as run_audit
    from skinxai.reporting import write_audit

    records = open_data(data, images, column, label, delimiter)
    parts = split(records, seed=seed) if splits is None else Splits.from_csv(
        splits, records, allow_leakage=True
    )  # fmt: skip
    say_notes(parts.notes)
    report = run_audit(parts, trained_on=_trained_on(init_weights))
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.to_text())
    if out is not None:
        page, _ = write_audit(report, parts, out)
        typer.echo(f"page: {page}", err=True)
    raise typer.Exit(0 if report.ok else 1)


def prepare(
    data: Data,
    out: Annotated[Path, typer.Argument(help="Folder to write: new, or prepared from the same.")],
    images: ImageFolder = None,
    column: Columns = None,
    label: LabelMap = None,
    delimiter: Delimiter = ",",
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH that images are resized to, e.g. 240x320.")
    ] = None,
) -> None:
    """Decode and verify every image once, and keep the pixels for training and evaluation."""
    from skinxai.data import prepare as run_prepare

    records = open_data(data, images, column, label, delimiter)
    prepared = run_prepare(records, out, image_size=parse_size(size) if size else None)
    count = prepared.pixels.nbytes if prepared.pixels else 0
    typer.echo(f"{prepared!r}: {count} bytes of pixels in {out}")


def _trained_on(init_weights: str | None) -> Container[str]:
    """Pixel hashes of the images that weights were trained on, with notes on what is known."""
    if init_weights in (None, "imagenet", "none"):  # trained on no image of skin
        return ()
    from skinxai.ensembles import training_pixels
    from skinxai.hub import open_model

    found = training_pixels(open_model(None if init_weights == "bundled" else init_weights))
    for model in found.models:
        typer.echo(f"note: {model} says which images it was trained on", err=True)
    for model in found.silent:
        typer.echo(
            f"note: {model} does not say which images it was trained on: it has no "
            f"training_pixels.safetensors, and no image can be found to be one of them",
            err=True,
        )
    if found.models:
        typer.echo(f"note: looked for {len(found.known)} images of their training", err=True)
    return found.known
