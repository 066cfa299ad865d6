"""How the command line speaks: notes of one line, and ``--quiet``."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated, Any, get_type_hints

import typer

from skinxai.progress import quiet as quietly
from skinxai.progress import say

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]


def note(text: object) -> None:
    """Tell of something that changes no result, in one line on standard error."""
    say(f"note: {' '.join(str(text).split())}", error=True)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Context in which a warning is a note, without the lines of source that it came from."""

    def show(message: Warning | str, *_: Any) -> None:
        note(message)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def with_parameters(
    command: Callable[..., Any], *more: inspect.Parameter, without: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Give a function the signature that typer reads: its own parameters, and further ones.

    Args:
        command: the function.
        *more: further parameters, by keyword.
        without: names of its own parameters that are no options.
    """
    hints = get_type_hints(command, include_extras=True)
    own = [
        each.replace(annotation=hints[each.name])
        for each in inspect.signature(command).parameters.values()
        if each.kind is not each.VAR_KEYWORD and each.name not in without
    ]
    command.__dict__["__signature__"] = inspect.Signature([*own, *more])
    command.__annotations__ = {each.name: each.annotation for each in (*own, *more)}
    return command


def with_quiet(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--quiet``."""

    @functools.wraps(command)
    def run(*arguments: Any, quiet: bool = False, **options: Any) -> None:
        with quietly() if quiet else nullcontext():
            command(*arguments, **options)

    option = inspect.Parameter(
        "quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet
    )
    return with_parameters(run, option)
