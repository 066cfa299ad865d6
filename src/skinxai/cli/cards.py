"""``skinxai card``."""

from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.options import Model
from skinxai.cli.saying import tell_lines


def card(
    model: Model = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json of this model, whose figures it gets.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write [print the card].")] = None,
) -> None:
    """Print a model's card, Markdown, from what was measured; what was not says so."""
    from skinxai.disk.writing import write_atomic
    from skinxai.reporting import card_of, read_evaluation

    known = None if evaluation is None else read_evaluation(evaluation)[0]
    text = card_of(model, known)
    if out is None:
        tell_lines(text)
    else:
        write_atomic(out, text.encode())
