"""What typer does for commands, with a suggestion for a mistyped option, in printable text."""

import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from skinxai.cli.saying import printable_output
from skinxai.cli.wording import as_typed
from skinxai.errors import PluginError, SkinxaiError, closest
from skinxai.interruption import signals_raise
from skinxai.plain_text import one_line

SERVERS = ("demo", "serve")
"""Commands that go on until they are interrupted."""

UsageError: Any = typer.BadParameter.__bases__[0]  # typer brings a click of its own, or not
_RULES = {
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "greater_than_equal": "at least {ge}",
}
"""Kinds of wrong values → what a value must be."""


class Group(TyperGroup):
    """The program: whatever it prints, and of whatever package, is printable text."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """As typer does."""
        with printable_output():
            return super().main(*arguments, **options)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does; an error of use is one line."""
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            raise _on_one_line(error) from error

    def invoke(self, ctx: Any) -> Any:
        """As typer does; an error of use is one line, of each command."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            raise _on_one_line(error) from error


class Command(TyperCommand):
    """A command that speaks of its options as they are typed, and knows the one that was meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does; an empty path is refused."""
        given = list(args)
        try:
            left = super().parse_args(ctx, args)
            self._check_paths(ctx, given)
            return left
        except UsageError as error:
            known = [name for each in self.get_params(ctx) for name in _names(each)]
            if not hasattr(error, "possibilities"):  # an option that there is
                if error.message.startswith("Got unexpected extra argument"):
                    named = [name for name in ("--data", "--model", "--out") if name in known]
                    error.message += f"; give it with {' or '.join(named)}." if named else "."
                raise
            given = error.option_name
            near = closest(given, known)
            hint = f"Did you mean {near}?" if near else ""
            raise UsageError(f"No such option: {given}. {hint}".rstrip(), ctx) from error

    def _check_paths(self, ctx: Any, given: list[str]) -> None:
        """Refuse what an unset variable gives: it would be the present folder."""
        if not any(each == "" or each.endswith("=") for each in given):
            return
        values, *_ = self.make_parser(ctx).parse_args(given)
        for each in self.get_params(ctx):
            if values.get(each.name) == "" and isinstance(ctx.params.get(each.name), Path):
                raise UsageError(
                    f"{_as_typed(each)} must name a file or a folder, got an empty text; '.' is "
                    f"the present folder.",
                    ctx,
                )

    def invoke(self, ctx: Any) -> Any:
        """As typer does; an error of skinxai names options in the place of arguments.

        SIGTERM and SIGHUP end it as Ctrl-C does, except for servers, which have rules of their own.

        Raises:
            PluginError: code of others, such as a plugin's, ended the program as if it were done.
        """
        try:
            with nullcontext() if self.name in SERVERS else signals_raise():
                return super().invoke(ctx)
        except SystemExit as ended:
            if ended.code:  # that of a signal, say
                raise
            raise PluginError(f"{_place(ended)} ended the program before it was done.") from ended
        except SkinxaiError as error:
            typed = {each.name: _as_typed(each) for each in self.params}
            error.on_command_line = as_typed(error.on_command_line, typed)
            raise


def _on_one_line(error: Any) -> Any:
    """The same error as one sentence, without the words of the library that read the value."""
    text, parameter = error.message, getattr(error, "param", None)
    wrong: dict[str, Any] = getattr(error.__cause__, "errors", lambda: [{}])()[0]
    if parameter is not None and (rule := _RULES.get(str(wrong.get("type")))):
        rule = rule.format_map(wrong.get("ctx", {}))
        text = f"{_as_typed(parameter)} must be {rule}, got {wrong['input']!r}."
        error = UsageError(text, error.ctx)
    elif parameter is None and type(error) is typer.BadParameter:
        error = UsageError(text, error.ctx)
    error.message = one_line(text.removeprefix("Value error, "))
    return error


def _as_typed(parameter: Any) -> str:
    """E.g. ``--max-pixels``, or the name that an argument has in the help."""
    return max(_names(parameter), key=len, default=parameter.metavar or parameter.name)


def _place(ended: SystemExit) -> str:
    """Which line raised it."""
    frame = traceback.extract_tb(ended.__traceback__)[-1]
    return f"sys.exit() in {frame.filename}, line {frame.lineno},"


def _names(parameter: Any) -> list[str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    return [name for name in names if name.startswith("--")]
