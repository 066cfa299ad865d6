"""The images that ``predict``, ``explain`` and ``nearest`` were given, and lines about them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable
from typing import Any

from skinxai.cli.saying import note
from skinxai.errors import NoInputsError
from skinxai.progress import hidden

STDIN = "-"


class StandardInput(io.BytesIO):
    """What came through standard input, under the name that results have."""

    name = "stdin"


def listed(images: list[str]) -> list[str]:
    """All images asked for, each file once even if two patterns match it."""
    from skinxai.sources import iter_sources

    found: dict[str, str] = {}
    total = 0
    for image in images:
        for source in [STDIN] if image == STDIN else iter_sources(image)[1]:
            total += 1
            place = source if source == STDIN else os.path.realpath(source)
            found.setdefault(place, os.fspath(source))
    if not found:
        raise NoInputsError("predict needs at least one image, got none.")
    if total > len(found):
        note(f"{total - len(found)} files came more than once and are read once")
    return list(found.values())


def opened(source: str) -> Any:
    """What is predicted: the path, or the bytes of standard input."""
    return StandardInput(sys.stdin.buffer.read()) if source == STDIN else source


def named(source: str) -> str:
    """What results call a source."""
    return StandardInput.name if source == STDIN else source


def bar(sources: list[str]) -> Iterable[str]:
    """The sources, behind a bar where there are several."""
    from tqdm import tqdm

    return tqdm(sources, unit="image", disable=hidden(None) if len(sources) > 1 else True)


def failure(error: Any) -> dict[str, Any]:
    """Plain values of an `ItemError`, whose remedy is the command line's."""
    values: dict[str, Any] = error.to_dict()
    return values | {"error": error.error.on_command_line}
