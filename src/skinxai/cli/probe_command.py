"""``skinxai probe``."""

from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.options import BatchSize, Data, MaxPixels, NewSplits, NotCopies, words
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
from skinxai.images.limits import MAX_PIXELS
from skinxai.plain_text import counted


@with_table
def probe(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the model, its figures and the features.")],
    table: TableOptions,
    backbone: Annotated[
        str | None, typer.Option(help="Network [that of --init-weights, or efficientnet_b0].")
    ] = None,
    init_weights: Annotated[
        str, typer.Option(help="imagenet, bundled, a .safetensors file, a model, or none.")
    ] = "imagenet",
    image_size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH [that of --init-weights, or 192x256].")
    ] = None,
    flips: Annotated[
        bool, typer.Option("--flips", help="Fit on the four flips of each image.")
    ] = False,
    class_weights: Annotated[
        str | None, typer.Option(help="balanced: each class has the same weight [none].")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Choose C and k by so many folds of the training part, not on the "
                     "validation part."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of features, for several probes [OUT/features].")
    ] = None,
    labels: Labels = None,
    malignant: Malignant = None,
    splits: NewSplits = None,
    seed: Annotated[int, typer.Option(help="Of the split, the folds and the intervals.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    not_copies: NotCopies = None,
    batch_size: BatchSize = 32,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:  # fmt: skip
    """Fit a linear head, and compare neighbours, on features of a network that is not trained."""
    from skinxai.probing import probe as fit
    from skinxai.training.settings import TrainConfig

    given = {"init_weights": init_weights} | ({"image_size": image_size} if image_size else {})
    parsed = TrainConfig.parse(given)
    check_apart("--out", out, "DATA", data)
    records = open_data(data, table, labels=words(labels), malignant=words(malignant))
    parts = parts_of(records, splits, seed)
    found = fit(
        parts, backbone=backbone, init_weights=parsed["init_weights"],
        image_size=parsed.get("image_size"), flips=flips, class_weights=class_weights, folds=folds,
        output_dir=out, cache=cache, seed=seed, device=device, not_copies=words(not_copies) or (),
        batch_size=batch_size, max_pixels=max_pixels,
    )  # fmt: skip
    typer.echo(found.to_markdown())
    note(found.note)
    note(
        f"features of {counted(found.computed, 'image')} were computed, those of {found.cached} "
        f"were there"
    )
    tell(f"the linear probe is the model {out}; skinxai predict IMAGE --model {out}")
