"""``skinxai collect``."""

from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.saying import tell_lines


def collect(
    parts: Annotated[Path, typer.Argument(help="Folder that predict --manifest wrote.")],
    out: Annotated[Path, typer.Option(help="The answers, .parquet or .csv.")],
) -> None:
    """Check the parts of all shards, and merge them in the manifest's order."""
    from skinxai.manifests.collecting import collect as merge

    tell_lines(merge(parts, out).to_text())
