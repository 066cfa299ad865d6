"""``skinxai audit`` and ``skinxai prepare``."""

import json
import shlex
from collections.abc import Container
from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.options import Data, Json, MaxPixels, NotCopies, words
from skinxai.cli.saying import note, tell
from skinxai.cli.table_options import (
    Labels,
    Malignant,
    TableOptions,
    check_apart,
    open_data,
    parts_of,
    with_table,
)
from skinxai.configs import parse_size
from skinxai.images.limits import MAX_PIXELS
from skinxai.plain_text import counted


@with_table
def audit(
    data: Data,
    table: TableOptions,
    splits: Annotated[
        Path | None, typer.Option(help="splits.csv [the data's own split, or else a new one].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the new split.")] = 0,
    init_weights: Annotated[
        str | None,
        typer.Option(help="What training will start from: bundled, imagenet or a model folder."),
    ] = None,
    not_copies: NotCopies = None,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.html and audit.json.")] = None,
    as_json: Json = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Look for leaks, duplicates and damaged files before training; exit 1 if there are errors."""
    from skinxai.data import Splits
    from skinxai.data.auditing import audit as run_audit
    from skinxai.disk.writing import check_folder
    from skinxai.reporting import write_audit

    if out is not None:
        check_apart("--out", out, "DATA", data)
        check_folder(out)
    records = open_data(data, table)
    if splits is None and records.part == "test":  # it is one part, and stays one
        ids = {"test": [item.image_id for item in records]}
        parts = Splits.of(records, ids, allow_leakage=True)
        for text in parts.notes:
            note(text)
    else:
        parts = parts_of(records, splits, seed, allow_leakage=True)
    report = run_audit(
        parts, trained_on=_trained_on(init_weights), not_copies=words(not_copies) or [],
        max_pixels=max_pixels,
    )  # fmt: skip
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.to_text())
    if out is not None:
        page, _ = write_audit(report, parts, out, max_pixels=max_pixels)
        note(f"the page is {page}")
    raise typer.Exit(0 if report.ok else 1)


@with_table
def prepare(
    data: Data,
    out: Annotated[
        Path, typer.Argument(help="Folder to write, which may hold the same data, prepared.")
    ],
    table: TableOptions,
    labels: Labels = None,
    malignant: Malignant = None,
    size: Annotated[
        str | None, typer.Option(help="Resize to HEIGHTxWIDTH, e.g. 240x320 [no resizing].")
    ] = None,
    shards: Annotated[
        bool, typer.Option("--shards", help="Write WebDataset tars instead of flat pixels.")
    ] = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Decode and verify every image once, and keep the pixels for training and evaluation."""
    from skinxai.data import prepare as run_prepare
    from skinxai.data import write_shards

    image_size = parse_size(size) if size else None
    check_apart("OUT", out, "DATA", data)
    records = open_data(data, table, labels=words(labels), malignant=words(malignant))
    write = write_shards if shards else run_prepare
    prepared = write(records, out, image_size=image_size, max_pixels=max_pixels)
    lesions = len({item.lesion_id for item in prepared})
    shown = "their own size" if image_size is None else "{}×{} pixels".format(*image_size)
    tell(
        f"{prepared.name}: {counted(len(prepared), 'image')} of {counted(lesions, 'lesion')} at "
        f"{shown}"
    )
    names = [prepared.labels.long_name(code) for code in prepared.labels]
    for name, images in zip(names, prepared.class_counts(), strict=True):
        tell(f"  {name:<{max(map(len, names))}}  {images:>6}")
    tars = sorted(out.glob("*.tar")) if shards else []
    count = prepared.pixels.nbytes if prepared.pixels else 0
    megabytes = sum(path.stat().st_size for path in tars) if shards else count
    kept = f"in {counted(len(tars), 'shard')}" if shards else "of pixels"
    tell(f"{megabytes / 1e6:.2f} MB {kept} in {out}")
    tell(f"next: skinxai train --data {shlex.quote(str(out))} --out RUN")


def _trained_on(init_weights: str | None) -> Container[str]:
    """Pixel hashes of the images that weights were trained on, with notes on what is known."""
    if init_weights in (None, "imagenet", "none"):  # trained on no image of skin
        return ()
    from skinxai.model_folders.ensembles import training_pixels
    from skinxai.model_folders.opening import open_model

    found = training_pixels(open_model(init_weights))
    for model in found.models:
        note(f"{model} says which images it was trained on")
    for model in found.silent:
        note(
            f"{model} does not say which images it was trained on: it has no "
            f"training_pixels.safetensors, and no image can be found to be one of them"
        )
    if found.models:
        note(f"looked for {counted(len(found.known), 'image')} of their training")
    return found.known
