"""``skinxai drift``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.image_arguments import bar, failed_line, listed, opened
from skinxai.cli.options import (
    Backend,
    BatchSize,
    Images,
    Json,
    MaxPixels,
    Model,
    NotCopies,
    words,
)
from skinxai.cli.saying import note, tell, tell_lines
from skinxai.images.limits import MAX_PIXELS

WINDOW = 100


def drift(
    images: Images,
    model: Model = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="Files, folders or globs of images to compare with; repeatable [the model's "
            "calibration images]."
        ),
    ] = None,
    not_copies: NotCopies = None,
    window: Annotated[
        int | None,
        typer.Option(help="Images in a window [100; fewer where images or reference are few]."),
    ] = None,
    false_alarms: Annotated[
        float,
        typer.Option(help="Probability of any false alarm while as many images come as a window."),
    ] = 0.01,
    changes: Annotated[
        bool, typer.Option("--changes", help="Also find where the stream changed; needs river.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for drift.json and drift.png.")] = None,
    backend: Backend = None,
    as_json: Json = False,
    batch_size: BatchSize = 32,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Compare images, in the order of their names, with those that the model knows."""
    from skinxai.classifier import Classifier
    from skinxai.disk.writing import check_folder
    from skinxai.errors import ModelError, NoInputsError
    from skinxai.monitoring import DriftMonitor
    from skinxai.monitoring.change_points import WATCHED, ChangePoints
    from skinxai.monitoring.stretches import SMALLEST_WINDOW, largest_window
    from skinxai.monitoring.timeline import Timeline
    from skinxai.results import ItemError
    from skinxai.results.observation import Observations

    if not_copies and not reference:
        raise typer.BadParameter("--not-copies names images of --reference: give both.")
    if out is not None:
        check_folder(out)
    points = ChangePoints() if changes else None
    sources, _ = listed(images, out)
    classifier = Classifier.from_pretrained(model, backend=backend)
    if reference:
        known, _ = listed(reference)
        classifier = classifier.with_reference(
            [opened(source) for source in known], not_copies=words(not_copies) or (),
            batch_size=batch_size, max_pixels=max_pixels,
        )  # fmt: skip
    if classifier.reference is None:
        raise ModelError(
            f"drift needs a reference, and {classifier.model} has none; calibrate the model with "
            f"'skinxai calibrate', or give images with --reference."
        )
    seen = Observations()
    stream = classifier.stream(
        [opened(source) for source in sources], batch_size=batch_size, max_pixels=max_pixels,
        on_error="return", progress=False, monitor=seen,
    )  # fmt: skip
    failed = 0
    for _, found in zip(bar(sources), stream, strict=True):
        if isinstance(found, ItemError):
            failed += 1
            tell(failed_line(found), error=True)
    if len(seen) < SMALLEST_WINDOW:
        raise NoInputsError(
            f"drift needs at least {SMALLEST_WINDOW} images that can be read, got {len(seen)}."
        )
    usual = min(WINDOW, len(seen), largest_window(len(classifier.reference)))
    size = usual if window is None else window
    monitor = DriftMonitor(classifier.reference, window=size, false_alarms=false_alarms, looks=None)
    for each in seen:
        monitor.add(each)
        if points is not None:
            points.add(each)
    timeline = Timeline(
        classifier.model, monitor.report(), monitor.history, points.found if points else ()
    )
    if out is not None:
        timeline.save(out)
        note(f"the picture is {out / 'drift.png'}")
    if as_json:
        typer.echo(json.dumps(timeline.to_dict(), indent=2))
    else:
        tell_lines(timeline.to_text())
        if points is not None and not points.found:
            tell(f"no change found in the means of {', '.join(WATCHED)}")
    raise typer.Exit(1 if failed else 0)
