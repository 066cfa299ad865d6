"""What a user passed: one image or many, and how each is called."""

from __future__ import annotations

import glob
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from skinxai.arrays import is_tensor
from skinxai.errors import NoInputsError

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif"}
)
"""Of the files that are taken for images wherever names are listed; a file's content decides how
it is read."""
_SINGLE = (bytes, bytearray, memoryview, np.ndarray, Image.Image, io.IOBase)


def iter_sources(images: Any) -> tuple[bool, Iterator[Any]]:
    """Whether ``images`` is a single image, and an iterator over all of them.

    A folder gives the images below it, sorted, without hidden ones; a pattern with ``*``, ``?``
    or ``[`` that is no file gives what it matches, sorted. Duplicates are kept, and ``~`` is not
    expanded.

    Raises:
        NoInputsError: a folder or pattern without any image.
    """
    if isinstance(images, str | os.PathLike):
        text = os.fspath(images)
        if "\0" in text:
            return True, iter([images])
        if os.path.isdir(text):  # noqa: PTH112  (a Path of a very long text raises)
            return False, _some(_below(Path(text)), f"folder {text!r}")
        if glob.has_magic(text) and not os.path.lexists(text):
            return False, _some(_matching(text), f"pattern {text!r}")
        return True, iter([images])
    single = isinstance(images, _SINGLE) or is_tensor(images) or hasattr(images, "read")
    if single or not isinstance(images, Iterable) or hasattr(images, "iloc"):
        return True, iter([images])
    return False, iter(images)


def may_read_ahead(images: Iterable[Any]) -> bool:
    """Whether the next images can be taken before the last is read.

    Not of a caller's own generator, which may give the same buffer or file each time, with other
    content.
    """
    inner = getattr(images, "iterable", images)  # of a progress bar
    return isinstance(inner, list | tuple | type(iter([])) | type(iter(())) | _Files)


def describe(image: Any) -> str:
    """Printable name of an image: an escaped path, or its kind and size."""
    if isinstance(image, str | os.PathLike):
        text = os.fspath(image)
        text = text if isinstance(text, str) else os.fsdecode(text)
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
        return shown if len(shown) <= 200 else f"{shown[:99]}…{shown[-100:]}"
    if isinstance(image, bytes | bytearray | memoryview):
        return f"bytes ({len(image)})"
    if isinstance(image, Image.Image):
        return f"PIL image {image.width}×{image.height}"
    if isinstance(image, np.ndarray) or is_tensor(image):
        kind = "array" if isinstance(image, np.ndarray) else "tensor"
        return f"{kind} {tuple(image.shape)} {image.dtype}"
    name = getattr(image, "name", None)
    return describe(name) if isinstance(name, str) else type(image).__name__


def _below(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield os.path.join(place, name)  # noqa: PTH118


def _matching(pattern: str) -> Iterator[str]:
    # Path.glob reads neither absolute patterns nor ones that are no path of their own
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207
        if not os.path.isdir(path):  # noqa: PTH112
            yield path


def _some(found: Iterator[str], what: str) -> Iterator[str]:
    first = next(found, None)
    if first is None:
        raise NoInputsError(
            f"{what} must hold at least one image ({', '.join(sorted(SUFFIXES))}), found none."
        )
    return _Files(itertools.chain([first], found))


class _Files(Iterator[str]):
    """Of a folder, or of a pattern."""

    def __init__(self, found: Iterator[str]) -> None:
        self._found = found

    def __next__(self) -> str:
        return next(self._found)
