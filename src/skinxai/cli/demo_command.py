"""``skinxai demo``."""

from pathlib import Path
from typing import Annotated

import typer

from skinxai.cli.options import MaxPixels, Model


def demo(
    model: Model = None,
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes any free one.")] = 8501,
    address: Annotated[
        str, typer.Option(help="Interface to listen at; 0.0.0.0 shows it to other machines.")
    ] = "localhost",
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    training_images: Annotated[
        Path | None,
        typer.Option(help="Folder of the training images, to show similar lesions."),
    ] = None,
    max_pixels: MaxPixels = 25_000_000,
    review: Annotated[
        str | None,
        typer.Option(help="Review store, sqlite:///FILE or postgresql://…: label its cases."),
    ] = None,
    review_images: Annotated[
        Path | None, typer.Option(help="Folder that keeps the images of --review.")
    ] = None,
) -> None:
    """Show the demo in a browser; nothing leaves this machine."""
    from skinxai.demo import serve

    serve(
        model, port=port, address=address, browser=browser, training_images=training_images,
        max_pixels=max_pixels, review=review, review_images=review_images,
    )  # fmt: skip
