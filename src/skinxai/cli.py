"""The command line: parse, call, print.

Exit codes: 0 done, 1 some inputs failed (the rest is written), 2 wrong use.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from skinxai.errors import NoInputsError, SkinxaiError
from skinxai.version import __version__

app = typer.Typer(
    help="Classify dermatoscopic images and see why. A research tool, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"


Images = Annotated[list[str], typer.Argument(help="Files, folders, globs, or '-' for stdin.")]
Columns = Annotated[
    list[str] | None, typer.Option(help="ROLE=COLUMN: image, label, lesion_id or patient_id.")
]
LabelMap = Annotated[
    list[str] | None, typer.Option(help="TABLE=CODE: what a label of the table means.")
]
Model = Annotated[str | None, typer.Option(help="Model folder; the bundled model by default.")]


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"skinxai {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Classify dermatoscopic images and see why. A research tool, not a medical device."""


@app.command()
def predict(
    images: Images,
    explain: Annotated[str | None, typer.Option(help="Also explain, e.g. gradcam.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for results.csv, results.json and overlays.")
    ] = None,
    model: Model = None,
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.table,
    tta: Annotated[bool, typer.Option("--tta", help="Average over four flips.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images in one forward pass.")] = 32,
) -> None:
    """Print each image's class probabilities; with --explain, write overlays to --out."""
    from skinxai.classifier import Classifier
    from skinxai.outputs import ResultFolder, table
    from skinxai.results import ItemError

    if explain is not None and out is None:
        raise typer.BadParameter("--explain needs --out FOLDER for the overlays.")
    sources = _sources(images)
    folder = ResultFolder(out, sources) if out is not None else None
    classifier = Classifier.from_pretrained(model)
    stream = classifier.stream(
        _bytes(sources), explain=explain, tta=tta, batch_size=batch_size, on_error="return",
        progress=False,
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    failed = 0
    try:
        for source, item in zip(_progress(sources), stream, strict=True):
            result, explanation = item if isinstance(item, tuple) else (item, None)
            more = {}
            if explanation is not None and folder is not None:
                more["overlay"] = folder.name_for(source, f".{explain}.png")
                explanation.save(folder.folder / more["overlay"])
            failed += isinstance(result, ItemError)
            if folder is not None:
                folder.add(result, **more)
            if format is Format.table:
                _say(_line(result))
            else:
                rows.append(result.to_dict() | more)
    finally:
        if folder is not None:
            folder.write()  # also after an interruption: what is done is kept
    if format is not Format.table:
        typer.echo(table(rows) if format is Format.csv else json.dumps(rows, indent=2))
    if folder is not None:
        typer.echo(f"{len(sources) - failed} of {len(sources)} images, results in {out}", err=True)
    raise typer.Exit(1 if failed else 0)


@app.command()
def explain(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for overlays, raw maps and how they came.")],
    method: Annotated[str, typer.Option(help="A name of 'skinxai plugins'.")] = "gradcam",
    target: Annotated[str | None, typer.Option(help="Label; each image's own by default.")] = None,
    model: Model = None,
) -> None:
    """Write, for each image, a folder with the overlay, the raw map and how it was made."""
    from skinxai.classifier import Classifier
    from skinxai.outputs import ResultFolder
    from skinxai.results import ItemError

    sources = _sources(images)
    folder = ResultFolder(out, sources)
    classifier = Classifier.from_pretrained(model)
    failed = 0
    for source in _progress(sources):
        found = classifier.explain(next(_bytes([source])), method, target=target, on_error="return")
        if isinstance(found, ItemError):
            failed += 1
            _say(_line(found))
        else:
            place = folder.folder / folder.name_for(source, f".{method}")
            found.save(place)
            _say(f"{found.source}  {found.target}  {place}")
    raise typer.Exit(1 if failed else 0)


@app.command()
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


@app.command()
def audit(
    data: Annotated[Path, typer.Argument(help="Folder of HAM10000, of classes, or a CSV table.")],
    images: Annotated[Path | None, typer.Option(help="Folder of the table's images.")] = None,
    column: Columns = None,
    label: LabelMap = None,
    delimiter: Annotated[str, typer.Option(help="Between the table's cells.")] = ",",
    splits: Annotated[
        Path | None, typer.Option(help="splits.csv; without it a new split is audited.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the new split.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.html and audit.json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for leaks, duplicates and damaged files before training; exit 1 if there are errors."""
    from skinxai.data import Splits, split
    from skinxai.data.auditing import audit as run_audit
    from skinxai.data.opening import open_records
    from skinxai.reporting import write_audit

    records = open_records(
        data, images=images, columns=_mapping("--column", column),
        label_map=_mapping("--label", label), delimiter=delimiter,
    )  # fmt: skip
    parts = split(records, seed=seed) if splits is None else Splits.from_csv(
        splits, records, allow_leakage=True
    )  # fmt: skip
    report = run_audit(parts)
    for note in records.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.to_text())
    if out is not None:
        page, _ = write_audit(report, parts, out)
        typer.echo(f"page: {page}", err=True)
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def doctor() -> None:
    """Print versions, device, threads, cache and the bundled model's hash."""
    from skinxai.environment import describe_environment

    for name, value in describe_environment().items():
        typer.echo(f"{name:<14} {value}")


def main() -> None:
    """Entry point: an error of skinxai becomes one sentence and exit code 2."""
    try:
        app()
    except SkinxaiError as error:
        typer.echo(f"skinxai: {error}", err=True)
        sys.exit(2)


def _mapping(option: str, pairs: list[str] | None) -> dict[str, str]:
    """``["a=b", ...]`` as a dict."""
    if wrong := [pair for pair in pairs or () if "=" not in pair]:
        raise typer.BadParameter(f"{option} must look like NAME=VALUE, got {wrong[0]!r}.")
    return dict(pair.split("=", 1) for pair in pairs or ())


def _sources(images: list[str]) -> list[str]:
    """All images asked for, each file once even if two patterns match it."""
    from skinxai.sources import iter_sources

    found: dict[str, str] = {}
    total = 0
    for image in images:
        for source in ["-"] if image == "-" else iter_sources(image)[1]:
            total += 1
            found.setdefault(os.path.realpath(source) if source != "-" else "-", os.fspath(source))
    if not found:
        raise NoInputsError("predict needs at least one image, got none.")
    if total > len(found):
        typer.echo(f"{total - len(found)} files came more than once and are read once", err=True)
    return list(found.values())


def _bytes(sources: list[str]) -> Iterator[Any]:
    for source in sources:
        yield sys.stdin.buffer.read() if source == "-" else source


def _progress(sources: list[str]) -> Any:
    from tqdm import tqdm

    return tqdm(sources, unit="image", disable=None if len(sources) > 1 else True)


def _say(line: str) -> None:
    """Print above the progress bar."""
    from tqdm import tqdm

    tqdm.write(line)


def _line(result: Any) -> str:
    from skinxai.results import Prediction

    if not isinstance(result, Prediction):
        return f"{result.source}  failed: {result.error}"
    shown = "  ".join(f"{code} {value:.3f}" for code, value in result.top(3))
    return f"{result.source}  {shown}"
