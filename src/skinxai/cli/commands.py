"""`Command`: what typer does for a command, and a suggestion for a mistyped option."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from skinxai.errors import closest

UsageError: Any = typer.BadParameter.__bases__[0]  # typer brings a click of its own, or not


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


def _names(parameter: Any) -> list[str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    return [name for name in names if name.startswith("--")]
