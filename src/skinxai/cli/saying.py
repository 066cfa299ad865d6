"""How the command line speaks: printable text alone, notes of one line, and ``--quiet``."""

import errno
import functools
import inspect
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, TextIO, get_type_hints

import typer

from skinxai.errors import OutputError, SkinxaiError
from skinxai.plain_text import printable
from skinxai.progress import quiet as quietly
from skinxai.progress import say

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress bars and no notes.")]


_BAR = re.compile("\r|(?:\n|\x1b\\[A)+(?!.)", re.DOTALL)
"""How a progress bar moves: to the start of its line, or to another line and nothing else."""


class _PrintableStream:
    """A text stream that writes an escape in the place of each hidden character.

    It is where all output of the command line passes, that of other packages too.
    """

    def __init__(self, stream: TextIO, *, bars: bool) -> None:
        self._stream, self._bars = stream, bars

    def write(self, text: str) -> int:
        """Write text: its lines and tabs stay, and what moves a bar where bars are drawn."""
        moves = _BAR.match(text) if self._bars else None
        start = moves[0] if moves else ""
        with _writing():
            self._stream.write(start + printable(text[len(start) :], keep="\n\t"))
        return len(text)

    def flush(self) -> None:
        """Write what waits."""
        with _writing():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _writing() -> Iterator[None]:
    """Context in which a full disk is an error of skinxai; a reader that went away is typer's."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise OutputError(f"writing the output failed: {error.strerror or error}.") from error


def open_what_is_closed() -> None:
    """Where the program was started without standard output or error, print to nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def drop_unwritten() -> None:
    """Drop output that cannot be written, at which Python would fail again when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextmanager
def printable_output() -> Iterator[None]:
    """Context in which standard output and standard error show hidden characters as escapes."""
    before = sys.stdout, sys.stderr
    out, err = _PrintableStream(before[0], bars=False), _PrintableStream(before[1], bars=True)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def show_traceback(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """What `sys.excepthook` is for the command line: a traceback of printable text."""
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(printable(text, keep="\n\t"))


def tell(line: object, *, error: bool = False) -> None:
    """Print one line, whatever is quoted in it."""
    typer.echo(printable(str(line)), err=error)


def tell_lines(text: str) -> None:
    """Print each line of a text."""
    for line in text.splitlines():
        tell(line)


def tell_above(lines: Iterable[str]) -> None:
    """Print lines above the progress bar."""
    from tqdm import tqdm

    for line in lines:
        tqdm.write(printable(line))


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


@contextmanager
def first_rank_alone() -> Iterator[None]:
    """Context in which one of the ranks that torchrun started speaks, and says an error once."""
    from skinxai.training.launch import Launch

    rank = Launch.now().rank
    try:
        with ExitStack() as stack:
            if rank:
                stack.enter_context(quietly())
                stack.enter_context(redirect_stdout(None))
            yield
    except SkinxaiError as error:
        from skinxai.training.joining import is_told_elsewhere

        if is_told_elsewhere(error):
            raise typer.Exit(2) from None
        raise


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


def with_group(options: Mapping[str, Any], made: Callable[..., Any]) -> Callable[[Any], Any]:
    """Give a command that takes ``table`` the options of which ``made`` makes it.

    Args:
        options: name → annotation; each is ``None`` where it is not given.
        made: of the options that were given.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*arguments: Any, **given: Any) -> None:
            own = {name: given.pop(name) for name in options if name in given}
            command(*arguments, table=made(**own), **given)

        more = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
            for name, kind in options.items()
        ]
        return with_parameters(run, *more, without=("table",))

    return decorated


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
