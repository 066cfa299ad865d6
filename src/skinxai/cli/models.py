"""``skinxai train`` and ``skinxai evaluate``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from skinxai.cli.options import (
    Backend,
    Columns,
    Data,
    Delimiter,
    ImageFolder,
    LabelMap,
    Model,
    Part,
    open_data,
    say_notes,
)
from skinxai.training.settings import TrainConfig


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of `TrainConfig`, under the same name."""
    hints = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters.values()
    own = [p.replace(annotation=hints[p.name]) for p in parameters if p.kind is not p.VAR_KEYWORD]
    more = []
    for field in fields(TrainConfig):
        default = "none" if field.default is MISSING else field.default
        shown = "x".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
        option = typer.Option(help=f"{field.metadata['help']} [{shown}]", show_default=False)
        kind = Annotated[str | None, option]
        more.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                                      annotation=kind))  # fmt: skip
    command.__dict__["__signature__"] = inspect.Signature([*own, *more])
    command.__annotations__ = {p.name: p.annotation for p in (*own, *more)}
    return command


@_with_settings
def train(
    data: Annotated[
        Path, typer.Option(help="Folder of HAM10000, of classes, a prepared one, or a CSV table.")
    ],
    out: Annotated[Path, typer.Option(help="The run folder: new, or with --resume a begun one.")],
    images: ImageFolder = None,
    column: Columns = None,
    label: LabelMap = None,
    delimiter: Delimiter = ",",
    splits: Annotated[
        Path | None, typer.Option(help="splits.csv; without it 70/15/15, from --seed.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")
    ] = False,
    **settings: str | None,
) -> None:
    """Fine-tune a network on labelled images; the test part is split off and not looked at."""
    from skinxai.data import Splits, split
    from skinxai.training.callbacks import TensorBoard
    from skinxai.training.trainer import Trainer

    chosen = TrainConfig.parse({n: text for n, text in settings.items() if text is not None})
    callbacks = [TensorBoard()] if tensorboard else []
    if resume:  # settings first: a wrong one costs no reading
        trainer = Trainer.resume(out, callbacks=callbacks, **chosen)
        splits = splits or out / "splits.csv"
    else:
        trainer = Trainer(output_dir=out, callbacks=callbacks, **chosen)
    records = open_data(data, images, column, label, delimiter)
    parts = Splits.from_csv(splits, records) if splits else split(records, seed=trainer.config.seed)
    say_notes(parts.notes)
    typer.echo(repr(parts), err=True)
    try:
        classifier = trainer.fit(parts)
    except KeyboardInterrupt:
        typer.echo(f"stopped; go on with the same command and --resume, or look at {out}", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{classifier.model}: {out}; validation: {out / 'evaluation.html'}")


def evaluate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for evaluation.html and evaluation.json.")],
    model: Model = None,
    backend: Backend = "torch",
    images: ImageFolder = None,
    column: Columns = None,
    label: LabelMap = None,
    delimiter: Delimiter = ",",
    splits: Annotated[
        Path | None, typer.Option(help="splits.csv; without it all images are judged.")
    ] = None,
    part: Annotated[Part | None, typer.Option(help="Which part of --splits is judged.")] = None,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Judge leaked splits, and mark every figure.")
    ] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over four flips.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images in one forward pass.")] = 32,
) -> None:
    """Judge a model on labelled images: a page with intervals and curves, and JSON."""
    from skinxai.classifier import Classifier
    from skinxai.data import Splits
    from skinxai.data.prepared import is_prepared
    from skinxai.reporting import read_log, write_evaluation

    if (splits is None) != (part is None):
        raise typer.BadParameter("--splits and --part go together: a file, and val or test.")
    classifier = Classifier.from_pretrained(model, backend=backend)
    labels = None if is_prepared(data) else classifier.config.labels
    records = open_data(data, images, column, label, delimiter, labels)
    if splits is not None and part is not None:
        parts = Splits.from_csv(splits, records, allow_leakage=allow_leakage)
        say_notes(parts.notes)
        records = parts.val if part is Part.val else parts.test
    found = classifier.evaluate(records, tta=tta, batch_size=batch_size)
    page, _ = write_evaluation(found, out, log=read_log(model) if model is not None else ())
    typer.echo(f"{found!r}\n\n{found.to_markdown()}")
    typer.echo(f"page: {page}", err=True)
