"""``skinxai plugins`` and ``skinxai doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from skinxai.cli.options import Json
from skinxai.cli.saying import note, tell
from skinxai.errors import SkinxaiError

if TYPE_CHECKING:
    from skinxai.plugins.registry import Entry


def plugins(
    as_json: Json = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Run check_explainer on plugins' explainers; exit 1 if one is broken."
        ),
    ] = False,
) -> None:
    """List backbones, losses, explainers and data sets, and plugins that failed to load."""
    from skinxai import plugins as loaded

    statuses = loaded.statuses()
    registries = (loaded.backbones, loaded.losses, loaded.explainers, loaded.datasets)
    found = [(registry.kind, entry) for registry in registries for entry in registry.entries()]
    broken = [status for status in statuses if status.error is not None]
    failed = _failed_checks(loaded.explainers.entries()) if check else {}
    if as_json:
        entries = [
            {"kind": kind, "name": e.name, "help": e.help, "source": e.source, "version": e.version}
            for kind, e in found
        ]
        rows = [
            {"name": s.name, "version": s.version, "entry_point": s.entry_point,
             "entries": list(s.entries), "error": s.error} for s in statuses
        ]  # fmt: skip
        shown = {"entries": entries, "plugins": rows} | ({"failed_checks": failed} if check else {})
        typer.echo(json.dumps(shown, indent=2))
    else:
        for kind, e in found:
            origin = " ".join(filter(None, (e.source, e.version)))
            tell(f"{kind:<10} {e.name:<24} {origin:<22} {e.help}")
        for status in broken:
            origin = " ".join(filter(None, (status.name, status.version)))
            tell(f"{'broken':<10} {status.entry_point:<24} {origin:<22} {status.error}")
        for name, problems in failed.items():
            for which, problem in problems.items():
                tell(f"{'fails':<10} {name:<24} {which:<22} {problem}")
    raise typer.Exit(1 if check and (broken or failed) else 0)


def _failed_checks(entries: Iterable[Entry]) -> dict[str, dict[str, str]]:
    """What `check_explainer` finds wrong with explainers of plugins: name → check → problem."""
    from functools import partial

    from skinxai.explaining.isolation import in_process
    from skinxai.explaining.method import BUILT_IN
    from skinxai.plugins.registry import THIS_PROCESS
    from skinxai.testing import check_explainer

    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        if entry.source == BUILT_IN:
            continue
        note(f"checking {entry.name} of {entry.source} …")
        try:
            call = partial(check_explainer, entry.name, raise_on_failure=False)
            known_there = entry.source != THIS_PROCESS
            who = f"explainer {entry.name!r} of {entry.source}"
            results = in_process(call, who) if known_there else call()
            problems = {r.name: r.problem for r in results if r.problem is not None}
        except SkinxaiError as error:  # it cannot be imported, or ends its process
            problems = {"run": str(error)}
        if problems:
            found[entry.name] = problems
    return found


def doctor() -> None:
    """Print versions, device, threads, cache and the bundled model's hash."""
    from skinxai.cli.environment import describe_environment

    for name, value in describe_environment().items():
        tell(f"{name:<14} {value}")
