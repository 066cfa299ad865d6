"""What decoders say about an image: warnings of Pillow, errors of its libtiff.

Pillow warns by `warnings.warn`, which prints, or raises where warnings are errors, and logs some
errors. Its libtiff prints on the process's standard error, and may go on with pixels that it does
not have. `reports` collects or silences all of it for the image that its thread reads; outside of
it nothing changes. Filters of warnings and the file descriptor of standard error belong to all
threads at once, so neither is touched.
"""

import ctypes
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, _imaging

_MOST = 200  # characters of a line of libtiff, and lines that are kept
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


@dataclass
class Reports:
    """What the decoders of one image said.

    Args:
        metadata: Pillow's warnings of tags, EXIF and the like, which it passes over.
        damage: libtiff's lines that say that pixels are wrong or missing.
    """

    metadata: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)


_reports: ContextVar[Reports | None] = ContextVar("reports", default=None)


@contextmanager
def reports() -> Iterator[Reports]:
    """Context in which what decoders say in this thread is collected, not shown and not raised."""
    found = Reports()
    token = _reports.set(found)
    try:
        yield found
    finally:
        _reports.reset(token)


class _Warnings:
    """Stands for the module ``warnings`` in a module of Pillow.

    Args:
        is_metadata: whether that module warns of metadata.
    """

    def __init__(self, is_metadata: bool) -> None:
        self._is_metadata = is_metadata

    def warn(
        self, message: Any, category: Any = None, stacklevel: int = 1, *more: Any, **keywords: Any
    ) -> None:
        """Warn as `warnings.warn` does, or collect it."""
        found = _reports.get()
        if found is None:
            warnings.warn(message, category, stacklevel + 1, *more, **keywords)
        elif self._is_metadata:
            found.metadata.append(str(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


def _watch_pillow() -> None:
    for module, is_metadata in (
        (Image, False), (JpegImagePlugin, True), (PngImagePlugin, True), (TiffImagePlugin, True),
    ):  # fmt: skip
        if getattr(module, "warnings", None) is warnings:
            module.warnings = _Warnings(is_metadata)  # type: ignore[attr-defined]
        logging.getLogger(module.__name__).addFilter(lambda _: _reports.get() is None)


def _watch_libtiff() -> Any:
    """Set the error handler of the libtiff that Pillow uses; others' lines go where they went.

    Warnings need none: Pillow silences them whenever it decodes.

    Returns:
        What must live as long as the process; None where libtiff cannot be reached.
    """
    try:
        library = ctypes.CDLL(_imaging.__file__)  # finds what it is linked to as well
        printf = ctypes.CDLL(None).vsnprintf
        setter = library.TIFFSetErrorHandler
    except (OSError, AttributeError, TypeError):  # Pillow has none, or has it within itself
        return None
    printf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
    setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
    before: list[Any] = []

    def handle(module: bytes | None, form: bytes | None, values: int | None) -> None:
        found = _reports.get()
        if found is None:
            for other in before:
                other(module, form, values)
        elif len(found.damage) < _MOST:
            text = ctypes.create_string_buffer(_MOST)
            printf(text, _MOST, form, values)
            found.damage.append(ascii(text.value)[2:-1].rstrip("."))

    own = _HANDLER(handle)
    if address := setter(ctypes.cast(own, ctypes.c_void_p)):
        before.append(_HANDLER(address))
    return own


_watch_pillow()
_kept = _watch_libtiff()
