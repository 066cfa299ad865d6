"""The images that ``predict``, ``explain`` and ``nearest`` were given, and lines about them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from skinxai.cli.saying import note
from skinxai.errors import InputError, NoInputsError, SkinxaiError
from skinxai.plain_text import agreeing, counted
from skinxai.progress import bar as progress_bar
from skinxai.progress import is_quiet

if TYPE_CHECKING:
    from skinxai.images.listing import LeftOut
    from skinxai.results import ItemError

STDIN = "-"


class StandardInput(io.BytesIO):
    """What came through standard input, under the name that results have."""

    name = "stdin"


def listed(images: list[str], out: Path | None = None) -> tuple[list[str], list[LeftOut]]:
    """All images asked for, each file once even if two patterns match it, and what is left out.

    Args:
        images: files, folders, patterns, or `STDIN`.
        out: a folder of results, which is not read.
    """
    from skinxai.images.sources import iter_sources

    found: dict[str, str] = {}
    left_out: list[LeftOut] = []
    total = 0
    for image in images:
        if image == STDIN:
            sources: Iterable[str] = [STDIN]
        else:
            sources = iter_sources(image, out=out, report=left_out.append)[1]
        for source in sources:
            total += 1
            place = source if source == STDIN else os.path.realpath(source)
            found.setdefault(place, os.fspath(source))
    if not found:
        raise NoInputsError("At least one image must be given, got none.")
    if total > len(found):
        more = total - len(found)
        was, read = agreeing(more, "was", "were"), agreeing(more, "is", "are")
        note(f"{counted(more, 'file')} {was} given more than once and {read} read once")
    for left in left_out:
        note(left.note)
    return list(found.values()), left_out


def note_end(done: int, total: int, out: Path | None) -> None:
    """Say how many images a run has answered that ended before the last.

    Nothing is said of an error that refused the whole run before its first image.
    """
    refused = not done and isinstance(sys.exc_info()[1], SkinxaiError)
    if done < total and not refused:
        place = f": {out} has them" if done and out is not None else ""
        note(f"the run has ended early, after {done} of {counted(total, 'image')}{place}")


def not_done(source: str) -> dict[str, str]:
    """The row of an image that a run has not come to, as if it could not be read."""
    text = "The run ended before this image was answered; run the command again."
    return {"source": named(source), "error_code": "interrupted", "error": text}


def opened(source: str) -> Any:
    """What is predicted: the path, or the bytes of standard input."""
    return StandardInput(sys.stdin.buffer.read()) if source == STDIN else source


def named(source: str) -> str:
    """What results call a source."""
    return StandardInput.name if source == STDIN else source


def bar(sources: list[str]) -> Iterable[str]:
    """The sources, behind a bar where there are several."""
    several = None if len(sources) > 1 else False
    shown: Iterable[str] = progress_bar(several, iterable=sources, unit="image")
    return shown


@final
class ReadImages(Sequence[Any]):
    """Images that are read one after the other, with what was noted of each.

    After they have been iterated over, ``warnings`` has the notes of each image that could be
    read, and ``errors`` those that could not be, by their position.
    """

    def __init__(self, sources: list[str], max_pixels: int) -> None:
        self._sources, self._max_pixels = sources, max_pixels
        self.warnings: dict[int, tuple[str, ...]] = {}
        self.errors: dict[int, ItemError] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, number: Any) -> Any:
        from skinxai.images.reading import read_image

        return read_image(opened(self._sources[number]), max_pixels=self._max_pixels)

    def __iter__(self) -> Iterator[Any]:
        """The images that can be read."""
        from skinxai.images.sources import describe
        from skinxai.results import ItemError

        for number, source in enumerate(self._sources):
            try:
                image = self[number]
            except InputError as error:
                self.errors[number] = ItemError(number, describe(named(source)), error)
            else:
                self.warnings[number] = image.warnings
                yield image


def notes_of(warnings: Iterable[str]) -> list[str]:
    """Lines below an image's own, of what was noted when it was read."""
    return [] if is_quiet() else [f"  note: {text}" for text in warnings]


def failed_line(result: Any) -> str:
    """The line of an `ItemError`, which names its image once."""
    reason = result.error.on_command_line.removeprefix(f"{result.source}: ")
    return f"{result.source}  failed: {reason}"


def failure(error: Any) -> dict[str, Any]:
    """Plain values of an `ItemError`, whose remedy is the command line's."""
    values: dict[str, Any] = error.to_dict()
    return values | {"error": error.error.on_command_line}
