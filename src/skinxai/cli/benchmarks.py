"""``skinxai benchmark explainers`` and ``prediction``."""

from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.commands import Command
from skinxai.cli.options import (
    Data,
    Images,
    JudgedPart,
    MaxPixels,
    Model,
    NotCopies,
    SplitsFile,
    words,
)
from skinxai.cli.saying import with_quiet
from skinxai.cli.table_options import judged, open_data, own_splits_named
from skinxai.images.limits import MAX_PIXELS

benchmark = typer.Typer(
    help="Measure explanation methods, or the speed of this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@benchmark.callback()
def _group() -> None:
    """Measure explanation methods, or the speed of this machine."""


@benchmark.command(cls=Command)
@with_quiet
def explainers(
    data: Data,
    masks: Annotated[
        Path, typer.Option(help="Folder with a mask IMAGE_segmentation.png of each image.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the results; a stopped run continues in it.")
    ],
    splits: SplitsFile = None,
    part: JudgedPart = None,
    methods: Annotated[
        str, typer.Option(help="Methods, separated by commas [all built-in ones].")
    ] = "",
    model: Model = None,
    budget: Annotated[
        int, typer.Option(help="Most network passes of a method for one image.")
    ] = 200,
    lesions: Annotated[
        int, typer.Option(help="Lesions for methods of fewer than 50 passes.")
    ] = 500,
    stratified: Annotated[
        int, typer.Option(help="Lesions for all methods; classes take turns.")
    ] = 70,
    checked: Annotated[int, typer.Option(help="Lesions for random weights, noise and seeds.")] = 14,
    steps: Annotated[int, typer.Option(help="Steps of the deletion and insertion curves.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed for the choice of images and the noise.")] = 0,
    not_copies: NotCopies = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Measure faithfulness, localisation, sanity and time of explanation methods."""
    from skinxai.benchmarking import benchmark_explainers
    from skinxai.classifier import Classifier

    classifier = Classifier.from_pretrained(model)
    records = open_data(data, labels=classifier.config.labels)
    records = judged(records, splits, part)
    with own_splits_named(model):
        table = benchmark_explainers(
            classifier, records, masks, out,
            methods=words(methods) or None,
            budget=budget, lesions=lesions, stratified=stratified, checked=checked, steps=steps,
            seed=seed, not_copies=words(not_copies) or (), max_pixels=max_pixels,
        )  # fmt: skip
    typer.echo(table.read_text(encoding="utf-8"))


@benchmark.command(cls=Command)
@with_quiet
def prediction(
    images: Images,
    model: Model = None,
    rounds: Annotated[int, typer.Option(help="How often all images are timed.", min=1)] = 3,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Measure the images a second of each backend, and how their answers differ."""
    from skinxai.benchmarking.backends import prediction_speed, to_lines
    from skinxai.images.sources import iter_sources

    files = [str(path) for each in images for path in iter_sources(each)[1]]
    found = prediction_speed(files, model, rounds=rounds, max_pixels=max_pixels)
    for line in to_lines(*found, len(files)):
        typer.echo(line)
