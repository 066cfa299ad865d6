"""``skinxai feedback``: cases that were kept, their labels, and what becomes of them."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skinxai.cli.commands import Command
from skinxai.cli.options import Json, MaxPixels, Model, NotCopies, SplitsFile, words
from skinxai.cli.saying import note, tell, with_quiet
from skinxai.cli.table_options import TableOptions, open_data, own_split, with_table
from skinxai.errors import OptionError
from skinxai.images.limits import MAX_PIXELS
from skinxai.plain_text import agreeing, counted

if TYPE_CHECKING:
    from skinxai.review import ReviewStore

feedback = typer.Typer(
    help="Review predictions that were kept, and export their labels.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Url = Annotated[
    str,
    typer.Option(
        "--review", envvar="SKINXAI_REVIEW",
        help="The store: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE.",
    ),
]  # fmt: skip
Images = Annotated[
    Path | None,
    typer.Option("--keep-images", help="Folder that keeps the store's images."),
]
Reviewer = Annotated[str | None, typer.Option(help="Leave out what this reviewer has labelled.")]


@feedback.callback()
def _group() -> None:
    """Review predictions that were kept, and export their labels."""


def _open(url: str, images: Path | None = None) -> ReviewStore:
    from skinxai.review import ReviewStore

    return ReviewStore.open(url, images, create=False)


@feedback.command("list", cls=Command)
@with_quiet
def list_cases(
    review: Url,
    limit: Annotated[int, typer.Option(help="Most cases.")] = 20,
    reviewer: Reviewer = None,
    opinions: Annotated[int, typer.Option(help="Reviewers that each case needs.")] = 1,
    as_json: Json = False,
) -> None:
    """Print the cases that wait for a reviewer, the most uncertain first."""
    with _open(review) as store:
        found = store.queue(limit, reviewer=reviewer, opinions=opinions)
        total = store.waiting(reviewer=reviewer, opinions=opinions)
    rows = [
        {
            "case": each.case.id, "at": each.case.at.isoformat(timespec="seconds"),
            "decision": each.case.decision, "uncertainty": each.case.uncertainty,
            "label": each.case.prediction["label"],
            "probability": each.case.prediction["probability"],
            "labels": {name: given.label for name, given in each.current.items()},
            "model": each.case.model,
        }
        for each in found
    ]  # fmt: skip
    if as_json:
        tell(json.dumps({"cases": rows, "waiting": total}))
        return
    for row in rows:
        given = ", ".join(f"{name}: {label}" for name, label in row["labels"].items())
        tell(
            f"{row['case']:<24} {row['decision']:<8} {row['uncertainty']:.3f} nats  "
            f"{row['label']} {row['probability']:.2f}{f'  ({given})' if given else ''}"
        )
    tell(f"{len(rows)} of {counted(total, 'case')} that {agreeing(total, 'waits', 'wait')}")


@feedback.command("label", cls=Command)
@with_quiet
def label_case(
    case: Annotated[str, typer.Argument(help="Id of the case.")],
    label: Annotated[str, typer.Argument(help="A label of the model, or unsure.")],
    review: Url,
    reviewer: Annotated[str, typer.Option(help="Who says it.")],
    comment: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Keep what a reviewer says of a case; earlier labels stay in its history."""
    with _open(review) as store:
        store.label(case, label, reviewer, comment)
        found = store.case(case)
    given = ", ".join(f"{name}: {each.label}" for name, each in found.current.items())
    tell(f"{case}  {given}{'  disputed' if found.disputed else ''}")


@feedback.command(cls=Command)
@with_quiet
def agreement(review: Url, as_json: Json = False) -> None:
    """Print how far reviewers agree with each other and with the model."""
    from skinxai.results.json_values import to_plain

    with _open(review) as store:
        found = store.agreement()
    if as_json:
        tell(json.dumps(to_plain(found)))
        return
    tell(
        f"{counted(found.labelled, 'case')} labelled, {found.disputed} disputed; "
        f"{found.unsure} unsure"
    )
    for pair in found.pairs:
        _tell_row(f"{pair.first} and {pair.second}", pair.agreed, pair.cases, pair.kappa)
    for each in found.models:
        _tell_row(f"{each.reviewer} and {each.model}", each.agreed, each.cases, each.kappa)


def _tell_row(who: str, agreed: int, cases: int, kappa: float) -> None:
    shown = "undefined" if math.isnan(kappa) else f"{kappa:.3f}"
    tell(f"{who:<48} {agreed} of {cases} agree, Cohen's kappa {shown}")


@feedback.command(cls=Command)
@with_quiet
@with_table
def export(
    out: Annotated[Path, typer.Argument(help="New folder for the data set.")],
    review: Url,
    table: TableOptions,
    keep_images: Images = None,
    model: Model = None,
    reviewers: Annotated[int, typer.Option(help="Reviewers that must have given a label.")] = 1,
    data: Annotated[
        Path | None, typer.Option(help="The data that the model learnt from, to learn from again.")
    ] = None,
    splits: SplitsFile = None,
    seed: Annotated[int, typer.Option(help="Seed of the split of --data, if it has none.")] = 0,
    not_copies: NotCopies = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Write labelled cases as a data set that 'skinxai train' reads, without leaks."""
    from skinxai.classifier import Classifier
    from skinxai.data import Splits

    if splits is not None and data is None:
        raise OptionError("--splits needs --data, whose parts it names.")
    classifier = Classifier.from_pretrained(model)
    old = None
    if data is not None:
        records = open_data(data, table, labels=classifier.config.labels)
        old = Splits.from_csv(splits, records) if splits else own_split(records, seed)
    with _open(review, keep_images) as store:
        found = store.export(
            out,
            classifier,
            old=old,
            reviewers=reviewers,
            not_copies=words(not_copies) or (),
            max_pixels=max_pixels,
        )
    for text in (*found.notes, *found.records.notes):
        note(text)
    for each in found.left_out:
        tell(f"left out  {each.case_id}: {each.reason}")
    folder = shlex.quote(str(out))
    count = sum(item.path.parent.name == "images" for item in found.records)
    tell(
        f"exported  {counted(found.cases, 'case')} as {counted(count, 'image')} to {out}; "
        f"{len(found.left_out)} left out"
    )
    labels = classifier.config.labels
    more = ["--labels", ",".join(labels)]
    if labels.malignant is not None:
        more += ["--malignant", ",".join(code for code in labels if code in labels.malignant)]
    tell(
        f"next      skinxai train --data {folder}/records.csv --images {folder} "
        f"{shlex.join(more)} --init-weights {shlex.quote(model or 'bundled')} --out RUN"
    )


@feedback.command("delete-subject", cls=Command)
@with_quiet
def delete_subject(
    subject: Annotated[str, typer.Argument(help="As it was recorded.")],
    review: Url,
    keep_images: Images = None,
) -> None:
    """Delete a subject's predictions, labels and images; exit 1 if there was nothing."""
    with _open(review, keep_images) as store:
        found = store.delete_subject(subject)
    tell(
        f"deleted  {counted(found.cases, 'case')}, {counted(found.labels, 'label')}, "
        f"{counted(found.images, 'image')}"
    )
    if not found.overwritten:
        tell(
            "the database is in use: the rows are gone, but their bytes may still be in its file; "
            "repeat the command when nobody uses it", error=True,
        )  # fmt: skip
    if not found.cases or not found.overwritten:
        raise typer.Exit(1)


@feedback.command(cls=Command)
@with_quiet
def expire(
    review: Url,
    keep_images: Annotated[
        Path, typer.Option("--keep-images", help="Folder that keeps the store's images.")
    ],
    keep_days: Annotated[float, typer.Option(help="Days that an image is kept.")],
) -> None:
    """Delete images that were kept for longer; cases and labels stay."""
    with _open(review, keep_images) as store:
        tell(f"deleted  {counted(store.expire(keep_days), 'image')}")
