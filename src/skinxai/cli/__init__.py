"""The command line: parse, call, print.

Exit codes: 0 done, 1 some inputs failed (the rest is written) or a check found something, 2 wrong
use or an error of skinxai, 128 + its number a signal: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

import atexit
import gc
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from skinxai.cli.benchmarks import benchmark
from skinxai.cli.calibration_command import calibrate
from skinxai.cli.cards import card
from skinxai.cli.collect_command import collect
from skinxai.cli.commands import Command, Group
from skinxai.cli.datasets import audit, prepare
from skinxai.cli.demo_command import demo
from skinxai.cli.drift_command import drift
from skinxai.cli.environment import use_share_of_container
from skinxai.cli.evaluations import evaluate
from skinxai.cli.explanations import explain
from skinxai.cli.feedback_commands import feedback
from skinxai.cli.installation import doctor, plugins
from skinxai.cli.lesions import nearest
from skinxai.cli.models import export, import_network, list_models, pull, push, verify
from skinxai.cli.predictions import predict
from skinxai.cli.probe_command import probe
from skinxai.cli.reports import report
from skinxai.cli.runs import train
from skinxai.cli.saying import (
    Quiet,
    drop_unwritten,
    open_what_is_closed,
    show_traceback,
    tell,
    warnings_as_notes,
    with_quiet,
)
from skinxai.cli.serve_command import serve
from skinxai.cli.stress_command import stress
from skinxai.cli.tune_command import tune
from skinxai.errors import SkinxaiError
from skinxai.progress import command_line
from skinxai.progress import quiet as quietly
from skinxai.version import __version__

app = typer.Typer(
    cls=Group,
    help="Classify dermatoscopic images and see why. A research tool, not a medical device.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command, line in (
    (predict, "Print each image's class probabilities."),
    (collect, "Merge the answers to a manifest."),
    (explain, "Write a heatmap of each image."),
    (nearest, "Print the most similar training lesions."),
    (report, "Write a page on each image, HTML or PDF."),
    (demo, "Show the demo in a browser."),
    (serve, "Answer HTTP requests."),
    (audit, "Look for leaks, duplicates and damaged files."),
    (prepare, "Decode and verify every image once."),
    (train, "Fine-tune a network on labelled images."),
    (tune, "Search settings with the best validation."),
    (probe, "Fit a linear head on frozen features."),
    (evaluate, "Evaluate a model on labelled images."),
    (calibrate, "Calibrate a model's probabilities."),
    (card, "Print a model's card."),
    (drift, "Look whether images have changed."),
    (stress, "Measure what ink, rulers and the like change."),
    (export, "Write a model as ONNX or for OpenVINO."),
    (push, "Upload a model to the Hugging Face Hub."),
    (pull, "Download a model from the Hugging Face Hub."),
    (verify, "Check a model's files and its answer."),
    (plugins, "List methods, networks and plugins."),
    (doctor, "Print versions, device and threads."),
):
    app.command(cls=Command, short_help=line)(with_quiet(command))
app.command("import", cls=Command, short_help="Import a network that timm saved.")(
    with_quiet(import_network)
)
app.command("models", cls=Command, short_help="List models that can be loaded offline.")(
    with_quiet(list_models)
)
app.add_typer(benchmark, name="benchmark")
app.add_typer(feedback, name="feedback")


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"skinxai {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Classify dermatoscopic images and see why. A research tool, not a medical device."""
    context.with_resource(warnings_as_notes())
    context.with_resource(command_line())
    if quiet:
        context.with_resource(quietly())


def collect_seldom() -> None:
    """Let Python look for garbage more seldom while torch is imported, and not when it ends.

    The million objects that torch's modules make all stay. With Python's own threshold of 700 new
    objects it looks through them hundreds of times, and through all of them once more at the end.
    """
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)


def main() -> None:
    """Entry point: an error of skinxai becomes one sentence and exit code 2.

    What the output's encoding lacks, such as ``病`` in a pipe on Windows, is printed as an escape.
    Each line goes out at once, into a pipe or a file too: what was answered is not kept back.
    """
    open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    sys.excepthook = show_traceback
    collect_seldom()
    use_share_of_container()
    try:
        app()
    except SkinxaiError as error:
        tell(f"skinxai: {error.on_command_line}", error=True)
        drop_unwritten()
        sys.exit(2)
    except SystemExit as end:
        if end.code:  # typer's, for one, where the reader of a pipe went away
            drop_unwritten()
        raise
