"""``skinxai evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinxai.cli.options import (
    Backend,
    BatchSize,
    Data,
    JudgedPart,
    MaxPixels,
    Model,
    NotCopies,
    SplitsFile,
    Tta,
    words,
)
from skinxai.cli.saying import note
from skinxai.cli.table_options import (
    TableOptions,
    check_apart,
    judged,
    open_data,
    splits_of,
    with_table,
)
from skinxai.errors import ExplainError, ModelError
from skinxai.images.limits import MAX_PIXELS
from skinxai.plain_text import counted

if TYPE_CHECKING:
    from PIL.Image import Image

    from skinxai.classifier import Classifier
    from skinxai.data.records import Records
    from skinxai.results import Evaluation


@with_table
def evaluate(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for evaluation.html and evaluation.json.")],
    table: TableOptions,
    model: Model = None,
    backend: Backend = None,
    splits: SplitsFile = None,
    part: JudgedPart = None,
    against: Annotated[
        str | None, typer.Option(help="Another model, compared on the same images.")
    ] = None,
    hardest: Annotated[
        int, typer.Option(help="Show so many of each class's hardest images, with maps.")
    ] = 0,
    skin_tone: Annotated[
        bool,
        typer.Option("--skin-tone", help="Estimate skin tone from borders of images: unreliable."),
    ] = False,
    allow_leakage: Annotated[
        bool, typer.Option("--allow-leakage", help="Evaluate leaked splits, and mark every figure.")
    ] = False,
    not_copies: NotCopies = None,
    tta: Tta = False,
    batch_size: BatchSize = 32,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Evaluate a model on labelled images: a page with intervals and curves, and JSON."""
    from skinxai.classifier import Classifier
    from skinxai.disk.writing import check_folder
    from skinxai.reporting import read_log, write_evaluation

    check_apart("--out", out, "DATA", data)
    check_folder(out)
    classifier = Classifier.from_pretrained(model, backend=backend)
    other = None if against is None else Classifier.from_pretrained(against, backend=backend)
    records = open_data(data, table, labels=classifier.config.labels)
    records = judged(records, splits, part, allow_leakage=allow_leakage)
    others = words(not_copies) or []
    found = classifier.evaluate(
        records, against=other, hardest=hardest, skin_tone=skin_tone, tta=tta, not_copies=others,
        batch_size=batch_size, max_pixels=max_pixels,
    )  # fmt: skip
    pictures = _pictures(classifier, records, found, tta=tta, max_pixels=max_pixels)
    page, _ = write_evaluation(
        found, out, log=read_log(model) if model is not None else (), pictures=pictures
    )
    typer.echo(f"{in_words(found)}\n\n{found.to_markdown()}")
    if found.seen and splits is None:
        note(f"judge the test part of its own split: --splits {splits_of(model)} --part test")
    if found.seen.copies:
        ids = ",".join([*others, *found.seen.copies])
        note(f"look at these images; where they show other skin, give --not-copies {ids}")
    if pictures:
        note("the page holds pictures of the hardest images: whoever has the page has them")
    note(f"the page is {page}")


def _pictures(
    classifier: Classifier, records: Records, found: Evaluation, **options: Any
) -> dict[str, Image]:
    """Maps of the hardest images: why the class that was answered, and why the true one.

    None of a model that has no such maps: the evaluation is written all the same.
    """
    paths = {item.image_id: item.path for item in records}
    try:
        return {
            case.image_id: classifier.compare(
                paths[case.image_id], targets=list(dict.fromkeys([case.answered, case.label])),
                **options,
            )
            for case in found.hardest
        }  # fmt: skip
    except (ExplainError, ModelError) as error:
        note(f"the page has no maps of the hardest images: {error}")
        return {}


def in_words(found: Evaluation) -> str:
    """The main figures, in one sentence."""
    return (
        f"{f'{found.leak} ' if found.leaked else ''}{found.data}: balanced accuracy "
        f"{found.balanced_accuracy}, macro-F1 {found.macro_f1}, accuracy {found.accuracy}; "
        f"{counted(found.images, 'image')} of {counted(found.lesions, 'lesion')}"
    )
