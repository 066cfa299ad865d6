"""What a user passed: one image or many, and how each is called."""

import glob
import io
import itertools
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from skinxai.errors import NoInputsError, SkinxaiWarning
from skinxai.images.arrays import is_tensor
from skinxai.images.listing import (
    SUFFIXES,
    LeftOut,
    image_files,
    is_below,
    shard_images,
    shards_of,
)
from skinxai.plain_text import printable

_SINGLE = (bytes, bytearray, memoryview, np.ndarray, Image.Image, io.IOBase)


def iter_sources(
    images: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    report: Callable[[LeftOut], None] | None = None,
) -> tuple[bool, Iterator[Any]]:
    """Whether ``images`` is a single image, and an iterator over all of them.

    A folder gives the images below it, sorted, without hidden ones, and a folder of tars the images
    in these; a pattern with ``*``, ``?``
    or ``[`` that is no file gives the images that it matches, sorted. Images are files with one
    of `SUFFIXES`; pictures that skinxai wrote are none. Duplicates are kept, and ``~`` is not
    expanded.

    Args:
        images: what a user passed.
        out: the folder that results go to: where it lies below a folder or pattern, its files
            are not read.
        report: called once at the end of a folder or pattern in which files were left out; by
            default that is a `SkinxaiWarning`.

    Raises:
        NoInputsError: a folder or pattern without any image.
    """
    if isinstance(images, str | os.PathLike):
        text = os.fsdecode(images)  # an entry of os.scandir() may have a name of bytes
        if "\0" in text:
            return True, iter([images])
        folder = os.path.isdir(text)  # noqa: PTH112  (a Path of a very long text raises)
        if folder or (glob.has_magic(text) and not os.path.lexists(text)):
            real = None if out is None else os.path.realpath(out)
            return False, ImageFiles(text, real, report or _warn)
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
    return isinstance(inner, list | tuple | type(iter([])) | type(iter(())) | ImageFiles)


class NamedBytes(bytes):
    """An encoded image under the name that results have, such as its address."""

    name = ""

    @classmethod
    def of(cls, data: bytes, name: str) -> "NamedBytes":
        """The bytes under a name."""
        made = cls(data)
        made.name = name
        return made


def describe(image: Any) -> str:
    """Printable name of an image: an escaped path, or its kind and size."""
    if isinstance(image, NamedBytes):
        return printable(image.name, 200)
    if isinstance(image, str | os.PathLike):
        text = os.fspath(image)
        text = text if isinstance(text, str) else os.fsdecode(text)
        return printable(text, 200)
    if isinstance(image, bytes | bytearray | memoryview):
        return f"bytes ({len(image)})"
    if isinstance(image, Image.Image):
        return f"PIL image {image.width}×{image.height}"
    if isinstance(image, np.ndarray) or is_tensor(image):
        kind = "array" if isinstance(image, np.ndarray) else "tensor"
        return f"{kind} {tuple(image.shape)} {image.dtype}"
    name = getattr(image, "name", None) or getattr(image, "source", None)
    return describe(name) if isinstance(name, str) else type(image).__name__


class ImageFiles(Iterator[str]):
    """The image files of a folder or of a pattern, found one by one; see `iter_sources`."""

    def __init__(self, place: str, out: str | None, report: Callable[[LeftOut], None]) -> None:
        folder = os.path.isdir(place)  # noqa: PTH112
        self._left = LeftOut(os.path.join(describe(place), "") if folder else describe(place))  # noqa: PTH118
        self._report = report
        tars = shards_of(place) if folder else []
        if tars:
            found = shard_images(tars)
        else:
            found = image_files(place, self._left, out) if folder else self._matching(place, out)
        self._found, first = found, next(found, None)
        if first is None:
            kinds = self._left.all_kinds()
            is_model = ".safetensors" in self._left.kinds
            otherwise = f"{'convert images of other formats, or ' * bool(kinds)}check the path"
            raise NoInputsError(
                f"{'folder' if folder else 'pattern'} {place!r} must hold at least one image "
                f"({', '.join(sorted(SUFFIXES))}), found none{kinds and f' among {kinds}'}",
                python="pass a model folder as model" if is_model else otherwise,
                command="give a model folder with --model" if is_model else otherwise,
            )
        self._found = itertools.chain([first], found)

    def __next__(self) -> str:
        for path in self._found:
            return path
        left, self._left = self._left, LeftOut("")  # reported once
        if left:
            self._report(left)
        raise StopIteration

    def _matching(self, pattern: str, out: str | None) -> Iterator[str]:
        fixed = os.path.dirname(re.split(r"[*?[]", pattern)[0])  # noqa: PTH120
        if out is not None and not is_below(out, os.path.realpath(fixed)):
            out = None
        # Path.glob reads neither absolute patterns nor ones that are no path of their own
        for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207
            in_out = out is not None and is_below(os.path.realpath(path), out)
            if not os.path.isdir(path) and self._left.is_read(path, in_out=in_out):  # noqa: PTH112
                yield path


def _warn(left: LeftOut) -> None:
    warnings.warn(f"{left.note}.", SkinxaiWarning, stacklevel=3)
