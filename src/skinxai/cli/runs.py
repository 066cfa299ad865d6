"""``skinxai train``."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skinxai.cli.evaluations import in_words
from skinxai.cli.fold_runs import folded, report
from skinxai.cli.options import DATA, NewSplits, words
from skinxai.cli.run_files import Images, NoteImages, images_of, path_of, read_run_file, settings_of
from skinxai.cli.saying import first_rank_alone, note, tell, with_parameters
from skinxai.cli.table_options import (
    Labels,
    Malignant,
    TableOptions,
    check_apart,
    open_data,
    parts_of,
    with_table,
)
from skinxai.disk.regular_files import (
    resolved,
)
from skinxai.errors import OptionError
from skinxai.plain_text import counted
from skinxai.progress import say
from skinxai.training.callbacks import Callback
from skinxai.training.settings import TrainConfig

if TYPE_CHECKING:
    from skinxai.classifier import Classifier
    from skinxai.data import Records, Splits


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each field of `TrainConfig`, under the same name."""
    more = []
    for field in fields(TrainConfig):
        default = "none" if field.default is MISSING else field.default
        shown = "x".join(map(str, default)) if isinstance(default, tuple) else str(default).lower()
        option = typer.Option(help=f"{field.metadata['help']} [{shown}]", show_default=False)
        kind = Annotated[str | None, option]
        more.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None,
                                      annotation=kind))  # fmt: skip
    return with_parameters(command, *more)


@with_table
@with_settings
@first_rank_alone()
def train(
    table: TableOptions,
    data: Annotated[Path | None, typer.Option(help=DATA)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder: a new one, or with --resume one to continue.")
    ] = None,
    labels: Labels = None,
    malignant: Malignant = None,
    splits: NewSplits = None,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON or TOML file with these options; those given here take precedence. "
                     "A run's own train.json repeats the run, on the same split."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate: a model for each of so many folds, out-of-"
                                 "fold answers to all images, and an ensemble."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    track: Annotated[
        list[str] | None, typer.Option(help="Also log to tensorboard, mlflow or wandb.")
    ] = None,
    **settings: str | None,
) -> None:  # fmt: skip
    """Fine-tune a network on labelled images; the test part is split off and not looked at."""
    from skinxai.disk.writing import check_folder
    from skinxai.experiments.cross_validating import cross_validate, number_of_folds
    from skinxai.experiments.trackers import trackers_named
    from skinxai.training.initial_weights import fetch_initial_weights
    from skinxai.training.trainer import Trainer

    file = read_run_file(config, split=data is None) if config is not None else {}
    out = out or path_of(file, "out")
    if out is None:
        raise OptionError("--out must be given: the folder that the run is written to.")
    folds = file.get("folds") if folds is None else folds
    begun_folds = number_of_folds(out) if resume and not (out / "train.json").exists() else None
    if resume and folds is not None and begun_folds is None:
        raise OptionError(
            f"--resume with --folds found no cross-validation in {str(out)!r}; leave one of them "
            f"out."
        )
    noted = out / "train.json" if begun_folds is None else out / "fold-1" / "train.json"
    if resume and noted.exists():  # where the images are, unless given anew
        begun = read_run_file(noted, split=begun_folds is None)
        file = {n: v for n, v in begun.items() if n not in TrainConfig.names()} | file
    asked = images_of(file, data, table, words(labels), words(malignant))
    if resolved(out) == resolved(asked.data):
        raise OptionError(f"--out must be another folder than --data, got {str(out)!r} for both.")
    check_apart("--out", out, "--data", asked.data)
    splits = splits or path_of(file, "splits")
    own = TrainConfig.parse({n: text for n, text in settings.items() if text is not None})
    chosen = settings_of(file) | own
    callbacks: list[Callback] = [NoteImages(asked)]
    callbacks += trackers_named(track or file.get("track", ()))
    if folds is not None or begun_folds is not None:
        check_folder(out)
        if not resume:
            TrainConfig.of(chosen)  # a wrong setting costs no reading
        records = opened(asked)
        own_seed = chosen.get("seed", 0)
        images = folded(records, splits, own_seed)
        with told_how_to_go_on(out):
            validated = cross_validate(
                images, folds, output_dir=out, resume=resume, callbacks=callbacks, **chosen
            )
        report(validated)
        return
    if resume:  # settings first: a wrong one costs no reading
        trainer = Trainer.resume(out, callbacks=callbacks, **chosen)
    else:
        trainer = Trainer(output_dir=out, callbacks=callbacks, **chosen)
        check_folder(out)
    records = opened(asked)
    if not resume:  # a download comes after what costs less
        fetch_initial_weights(trainer.config.backbone, trainer.config.init_weights)
    parts = parts_of(records, splits, trainer.config.seed)
    for line in _parts(parts):
        say(line, error=True)
    with told_how_to_go_on(out):
        classifier = trainer.fit(parts)
    again = [str(asked.data), *asked.table.arguments()]
    _report(classifier, out, again, judge=len(parts.test) > 0)


@contextmanager
def told_how_to_go_on(out: Path, how: str = "repeat the command with --resume") -> Iterator[None]:
    """Context in which Ctrl-C ends the command, and a second one says how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not interrupt.args:  # a second one: training has not said how to go on
            tell(f"stopped at once; {how} to continue from the last "
                 f"checkpoint in {out}, if there is one", error=True)  # fmt: skip
        raise typer.Exit(130) from None


def opened(asked: Images) -> Records:
    """The labelled images, with a note where no label is malignant."""
    records = open_data(asked.data, asked.table, labels=asked.labels, malignant=asked.malignant)
    if records.labels.malignant is None:
        note("no label is declared malignant, so the model gives no malignant probability; "
             "declare them with --malignant")  # fmt: skip
    return records


def _parts(parts: Splits) -> list[str]:
    """One line for each part: images, lesions, and images of each class."""
    found = []
    for name in ("train", "val", "test"):
        part = getattr(parts, name)
        counts = zip(part.labels, part.class_counts(), strict=True)
        lesions = len({item.lesion_id for item in part})
        shown = ", ".join(f"{code} {count}" for code, count in counts)
        images, own = counted(len(part), "image"), counted(lesions, "lesion")
        found.append(f"{name:<5} {images:>13} of {own:>14}: {shown}")
    return found


def _report(classifier: Classifier, out: Path, data: list[str], *, judge: bool) -> None:
    """Where the model is, how it does on the validation part, and what to do next."""
    from skinxai.reporting import read_evaluation

    judged, _ = read_evaluation(out / "evaluation.json")
    folder = shlex.quote(str(out))
    tell(f"model       {classifier.model} in {out}")
    tell(f"validation  {in_words(judged)}")
    tell(f"page        {out / 'evaluation.html'}")
    tell(f"next        skinxai predict IMAGE --model {folder}")
    if judge:
        tell(
            f"            skinxai evaluate {shlex.join(data)} --model {folder} "
            f"--splits {folder}/splits.csv --part test --out {folder}/test"
        )
