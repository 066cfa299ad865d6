"""``skinxai explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skinxai.cli.image_arguments import (
    failed_line,
    listed,
    named,
    note_end,
    notes_of,
    opened,
)
from skinxai.cli.options import Backend, Images, MaxPixels, Model, Score, Tta, Uniform, words
from skinxai.cli.saying import tell_above
from skinxai.errors import OptionError
from skinxai.images.limits import MAX_PIXELS
from skinxai.progress import counter

if TYPE_CHECKING:
    from skinxai.results import Explanation
    from skinxai.results.folder import ResultFolder

TOGETHER = 4  # images in a batch: few, as all their maps are in memory until it is done


def explain(
    images: Images,
    out: Annotated[Path, typer.Option(help="Folder for overlays, raw maps and their settings.")],
    method: Annotated[
        str | None, typer.Option(help="Method, listed by 'skinxai plugins' [gradcam].")
    ] = None,
    compare: Annotated[
        str,
        typer.Option(
            help="Several methods, separated by commas, and a sheet of them for each image."
        ),
    ] = "",
    target: Annotated[
        str | None,
        typer.Option(help="Label to explain, e.g. mel or melanoma [each image's top class]."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Subtract the score of this label: why the target rather than it? "
                     "Without --target, the top class among the others is explained."),
    ] = None,
    score: Annotated[
        Score, typer.Option(help="Explain the logit of the class, or its probability.")
    ] = Score.logit,
    budget: Annotated[
        int | None,
        typer.Option(help="Network passes for one image, of methods that have a budget: fewer "
                     "are faster and noisier."),
    ] = None,
    tta: Tta = False,
    model: Model = None,
    backend: Backend = None,
    uniform: Uniform = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:  # fmt: skip
    """Write, for each image, a folder with the overlay, the raw map and how it was made."""
    from skinxai.classifier import Classifier
    from skinxai.results.folder import ResultFolder

    several = words(compare)
    if several and method is not None:
        raise typer.BadParameter(
            "--method and --compare exclude each other; name all methods with --compare."
        )
    sources, _ = listed(images, out)
    folder = ResultFolder(out, sources)
    options = _options(list(dict.fromkeys(several or [])) or [method or "gradcam"], budget)
    classifier = Classifier.from_pretrained(model, backend=backend)
    size = 1 if several or any(map(_has_budget, options)) else TOGETHER
    failed = done = 0

    def ask(inputs: list[Any], name: str) -> list[Any]:
        for each in inputs:
            if not isinstance(each, str):
                each.seek(0)  # the method before read it
        alone = len(inputs) == 1  # then a bar of network passes is shown, of methods that have one
        return list(classifier.stream(
            inputs[0] if alone else inputs, explain=name, target=target, against=against,
            score=score.value, tta=tta, on_error="return", max_pixels=max_pixels,
            progress=None if alone else False, **options[name],
        ))  # fmt: skip

    several_images = None if len(sources) > 1 else False
    try:
        with folder, counter(len(sources), several_images, "image") as count:
            for start in range(0, len(sources), size):
                some = sources[start : start + size]
                inputs = [opened(source) for source in some]
                answers = zip(*(ask(inputs, name) for name in options), strict=True)
                for source, items in zip(some, answers, strict=True):
                    by_method = dict(zip(options, items, strict=True))
                    failed += not _keep(folder, source, by_method, bool(several), uniform)
                    done += 1
                    count(1)
    finally:
        note_end(done, len(sources), out)
    raise typer.Exit(1 if failed else 0)


def _keep(
    folder: ResultFolder, source: str, by_method: dict[str, Any], sheet: bool, uniform: bool
) -> bool:
    """Write an image's maps, a sheet of them if there are all, and print where; whether all are."""
    from skinxai.results import ItemError, compare
    from skinxai.results.drawing import encode_png

    made: list[Explanation] = []
    failures: dict[str, None] = {}  # an image that cannot be read fails for each method alike
    suffixes = [*(f".{name}" for name in by_method), ".sheet.png"]
    # all are taken, also where a map fails: files of one stem belong to one image
    names = {suffix: folder.name_for(named(source), suffix) for suffix in suffixes}
    for name, item in by_method.items():
        if isinstance(item, ItemError):
            failures[failed_line(item)] = None
            continue
        found = item[1]
        place = folder.put(names[f".{name}"], found.files(uniform=uniform))
        notes = [] if made else notes_of(found.warnings)  # once for all methods
        tell_above([f"{found.source}  {found.target}  {place}", *notes])
        made.append(found)
    tell_above(failures)
    if sheet and not failures:
        picture = encode_png(compare(made, uniform=uniform))
        path = folder.put(names[".sheet.png"], picture)
        tell_above([f"{made[0].source}  {path}"])
    return not failures


def _options(methods: list[str], budget: int | None) -> dict[str, dict[str, Any]]:
    """Each method's own options; an unknown method is an error before anything is read."""
    from skinxai import explainers

    having = [name for name in methods if _has_budget(name)]
    if budget is not None and not having:
        known = [entry.name for entry in explainers.entries() if entry.source == "skinxai"]
        offered = [name for name in known if _has_budget(name)]
        raise OptionError(
            f"--budget is an option of {', '.join(offered)}; {methods[0]} has no budget."
        )
    given = {} if budget is None else {"budget": budget}
    return {name: dict(given) if name in having else {} for name in methods}


def _has_budget(method: str) -> bool:
    """Whether a method takes many network passes, and is told how many."""
    from skinxai import explainers
    from skinxai.explaining.by_graph import GRAPH_METHODS

    if method in GRAPH_METHODS:  # of one pass; looking at its options would import torch
        return False
    return hasattr(explainers.get(method).options_type, "budget")
