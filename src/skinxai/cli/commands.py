"""What typer does for commands, with a suggestion for a mistyped option, in printable text."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from skinxai.cli.saying import printable_output
from skinxai.errors import closest
from skinxai.plain_text import one_line

UsageError: Any = typer.BadParameter.__bases__[0]  # typer brings a click of its own, or not


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
    """A command that answers a mistyped option with the one that was meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does."""
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            if not hasattr(error, "possibilities"):  # an option that there is
                raise
            given = error.option_name
            known = [name for each in self.get_params(ctx) for name in _names(each)]
            near = closest(given, known)
            hint = f"Did you mean {near}?" if near else ""
            raise UsageError(f"No such option: {given}. {hint}".rstrip(), ctx) from error


def _on_one_line(error: Any) -> Any:
    error.message = one_line(error.message)
    return error


def _names(parameter: Any) -> list[str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    return [name for name in names if name.startswith("--")]
