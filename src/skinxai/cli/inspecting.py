"""``skinxai plugins`` and ``skinxai doctor``."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 if a plugin is broken.")] = False,
) -> None:
    """List backbones, losses, explainers and data sets, and plugins that failed to load."""
    from skinxai import plugins as loaded

    statuses = loaded.statuses()
    registries = (loaded.backbones, loaded.losses, loaded.explainers, loaded.datasets)
    found = [(registry.kind, entry) for registry in registries for entry in registry.entries()]
    broken = [status for status in statuses if status.error is not None]
    if as_json:
        entries = [
            {"kind": kind, "name": e.name, "help": e.help, "source": e.source, "version": e.version}
            for kind, e in found
        ]
        rows = [
            {"name": s.name, "version": s.version, "entry_point": s.entry_point,
             "entries": list(s.entries), "error": s.error} for s in statuses
        ]  # fmt: skip
        typer.echo(json.dumps({"entries": entries, "plugins": rows}, indent=2))
    else:
        for kind, e in found:
            origin = " ".join(filter(None, (e.source, e.version)))
            typer.echo(f"{kind:<10} {e.name:<24} {origin:<22} {e.help}")
        for status in broken:
            origin = " ".join(filter(None, (status.name, status.version)))
            typer.echo(f"{'broken':<10} {status.entry_point:<24} {origin:<22} {status.error}")
    raise typer.Exit(1 if check and broken else 0)


def doctor() -> None:
    """Print versions, device, threads, cache and the bundled model's hash."""
    from skinxai.environment import describe_environment

    for name, value in describe_environment().items():
        typer.echo(f"{name:<14} {value}")
