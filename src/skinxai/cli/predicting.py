"""``skinxai predict`` and ``skinxai explain``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinxai.cli.options import Backend, Format, Images, Model
from skinxai.errors import NoInputsError

if TYPE_CHECKING:
    from skinxai.image_files import LeftOut

Uniform = Annotated[
    bool, typer.Option("--uniform", help="Overlays of one opacity; else it follows the map.")
]


def predict(
    images: Images,
    explain: Annotated[str | None, typer.Option(help="Also explain, e.g. gradcam.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for results.csv, results.json and overlays.")
    ] = None,
    model: Model = None,
    backend: Backend = "torch",
    format: Annotated[Format, typer.Option(help="What is printed.")] = Format.table,
    tta: Annotated[bool, typer.Option("--tta", help="Average over four flips.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images in one forward pass.")] = 32,
    uniform: Uniform = False,
) -> None:
    """Print each image's class probabilities; with --explain, write overlays to --out."""
    from skinxai.classifier import Classifier
    from skinxai.outputs import ResultFolder, table
    from skinxai.results import ItemError

    if explain is not None and out is None:
        raise typer.BadParameter("--explain needs --out FOLDER for the overlays.")
    sources, left_out = _sources(images, out)
    folder = ResultFolder(out, sources, left_out) if out is not None else None
    classifier = Classifier.from_pretrained(model, backend=backend)
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
                explanation.save(folder.folder / more["overlay"], uniform=uniform)
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
        rows_and_rest = rows + [left.to_dict() for left in left_out]
        typer.echo(table(rows) if format is Format.csv else json.dumps(rows_and_rest, indent=2))
    if folder is not None:
        typer.echo(f"{len(sources) - failed} of {len(sources)} images, results in {out}", err=True)
    raise typer.Exit(1 if failed else 0)


def explain(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for overlays, raw maps and how they came.")],
    method: Annotated[str, typer.Option(help="A name of 'skinxai plugins'.")] = "gradcam",
    compare: Annotated[
        str,
        typer.Option(
            help="Methods in its place, separated by commas, and one sheet of them for each image."
        ),
    ] = "",
    target: Annotated[str | None, typer.Option(help="Label; each image's own by default.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Label whose score is subtracted: why not this one?")
    ] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Average over the four flips.")] = False,
    model: Model = None,
    backend: Backend = "torch",
    uniform: Uniform = False,
) -> None:
    """Write, for each image, a folder with the overlay, the raw map and how it was made."""
    from skinxai import explainers
    from skinxai.classifier import Classifier
    from skinxai.drawing import encode_png
    from skinxai.outputs import ResultFolder
    from skinxai.results import ItemError
    from skinxai.results import compare as side_by_side
    from skinxai.writing import write_atomic

    sources, _ = _sources(images, out)
    folder = ResultFolder(out, sources)
    named = [name.strip() for name in compare.split(",") if name.strip()]
    methods = list(dict.fromkeys(named)) or [method]
    for name in methods:  # an unknown one is an error before anything is written
        explainers.get(name)
    classifier = Classifier.from_pretrained(model, backend=backend)
    failed = 0
    for source in _progress(sources):
        image, made = _bytes([source])[0], []
        for name in methods:
            found = classifier.explain(
                image, name, target=target, against=against, tta=tta, on_error="return"
            )
            if isinstance(found, ItemError):
                failed += 1
                _say(_line(found))
                break
            made.append(found)
            place = folder.folder / folder.name_for(source, f".{name}")
            found.save(place, uniform=uniform)
            _say(f"{found.source}  {found.target}  {place}")
        if named and len(made) == len(methods):
            sheet = folder.folder / folder.name_for(source, ".sheet.png")
            write_atomic(sheet, encode_png(side_by_side(made, uniform=uniform)))
            _say(f"{made[0].source}  {sheet}")
    raise typer.Exit(1 if failed else 0)


def _sources(images: list[str], out: Path | None) -> tuple[list[str], list[LeftOut]]:
    """All images asked for, each file once even if two patterns match it, and what is left out."""
    from skinxai.sources import iter_sources

    found: dict[str, str] = {}
    left_out: list[LeftOut] = []
    total = 0
    for image in images:
        for source in (
            ["-"] if image == "-" else iter_sources(image, out=out, report=left_out.append)[1]
        ):
            total += 1
            found.setdefault(os.path.realpath(source) if source != "-" else "-", os.fspath(source))
    if not found:
        raise NoInputsError("predict needs at least one image, got none.")
    if total > len(found):
        typer.echo(f"{total - len(found)} files came more than once and are read once", err=True)
    for left in left_out:
        typer.echo(f"note: {left.note}", err=True)
    return list(found.values()), left_out


def _bytes(sources: list[str]) -> list[Any]:
    return [sys.stdin.buffer.read() if source == "-" else source for source in sources]


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
