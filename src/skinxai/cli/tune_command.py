"""``skinxai tune``."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from skinxai.cli.options import NewSplits, words
from skinxai.cli.run_files import Images, NoteImages, images_of
from skinxai.cli.runs import opened, told_how_to_go_on, with_settings
from skinxai.cli.saying import tell
from skinxai.cli.table_options import (
    Labels,
    Malignant,
    TableOptions,
    check_apart,
    parts_of,
    with_table,
)
from skinxai.training.settings import TrainConfig


@with_table
@with_settings
def tune(
    table: TableOptions,
    data: Annotated[
        Path,
        typer.Option(help="Folder of HAM10000 or of class folders, prepared folder, or CSV table."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the search: a new one, or one to go on.")],
    trials: Annotated[int, typer.Option(help="Trials of the whole search.")] = 20,
    search: Annotated[
        list[str] | None,
        typer.Option(help="NAME=LOW..HIGH or NAME=VALUE,VALUE: a setting and its values [the usual "
                     "settings]."),
    ] = None,
    no_prune: Annotated[
        bool, typer.Option("--no-prune", help="Train each trial to its end.")
    ] = False,
    labels: Labels = None,
    malignant: Malignant = None,
    splits: NewSplits = None,
    **settings: str | None,
) -> None:  # fmt: skip
    """Search settings with the best validation macro-F1; the test part is not looked at."""
    from skinxai.disk.writing import check_folder
    from skinxai.experiments.search_space import parse_search, space_of
    from skinxai.experiments.tuning import tune as run_search

    asked = images_of({}, data, table, words(labels), words(malignant))
    check_apart("--out", out, "--data", asked.data)
    chosen = TrainConfig.parse({n: text for n, text in settings.items() if text is not None})
    space = parse_search(search) if search else None
    space_of(space, chosen)  # a wrong one costs no reading
    check_folder(out)
    records = opened(asked)
    parts = parts_of(records, splits, chosen.get("seed", 0))
    with told_how_to_go_on(out, "repeat the command"):
        found = run_search(
            parts, trials, search=space, output_dir=out, prune=not no_prune,
            callbacks=[NoteImages(asked)], **chosen,
        )  # fmt: skip
    tell(f"best        trial {found.best.number}, validation macro-F1 "
         f"{found.best.macro_f1:.3f}; its model is in {found.run_folder}")  # fmt: skip
    tell(f"note        {found.caution}")
    tell(f"table       {out / 'trials.csv'}")
    tell(f"picture     {out / 'trials.png'}")
    tell(f"next        {_command(asked, out, found.settings)}")


def _command(asked: Images, out: Path, settings: Mapping[str, Any]) -> str:
    """The command that trains a model with these settings on the same split."""
    parts = ["skinxai", "train", "--data", str(asked.data), *asked.table.arguments()]
    for name, labels in (("--labels", asked.labels), ("--malignant", asked.malignant)):
        parts += [] if labels is None else [name, ",".join(labels)]
    parts += ["--splits", str(out / "splits.csv")]
    for name, value in settings.items():
        parts += [f"--{name.replace('_', '-')}", _typed(value)]
    return shlex.join([*parts, "--out", str(out / "best")])


def _typed(value: Any) -> str:
    """A setting as its option takes it."""
    if isinstance(value, dict):
        return ",".join(f"{name}={each}" for name, each in value.items())
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
