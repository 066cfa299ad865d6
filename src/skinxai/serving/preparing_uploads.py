"""Uploads read in threads of their own: decoded and transformed, so that a batch begins at once."""

import asyncio
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from skinxai.errors import ImageTooLargeError
from skinxai.predicting.inputs import CORES
from skinxai.serving.pool import Served
from skinxai.serving.problems import Problem

AT_ONCE = 5_000_000
"""Most pixels of images that are decoded side by side; of larger ones, one at a time."""
AT_HAND = 512 * 1024
"""Bytes whose digest is computed without another thread."""


class Preparing:
    """Threads that read the images of uploads."""

    def __init__(self, max_pixels: int) -> None:
        self._most = max_pixels
        self._small = ThreadPoolExecutor(CORES, "skinxai-decode")
        self._large = ThreadPoolExecutor(1, "skinxai-decode-large")

    def close(self) -> None:
        """End the threads, after what they have begun."""
        self._small.shutdown()
        self._large.shutdown()

    async def digest(self, upload: bytes) -> str:
        """The sha256 of an upload."""
        if len(upload) < AT_HAND:
            return hashlib.sha256(upload).hexdigest()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._small, lambda: hashlib.sha256(upload).hexdigest())

    async def prepare(self, served: Served, index: int, upload: bytes) -> Any:
        """One image, prepared, or why it cannot be used."""
        loop = asyncio.get_running_loop()
        most = self._most
        small = min(AT_ONCE, most)
        found = await loop.run_in_executor(self._small, _prepare, served, index, upload, small)
        if small < most and isinstance(getattr(found, "error", None), ImageTooLargeError):
            # by its header: nothing was decoded
            found = await loop.run_in_executor(self._large, _prepare, served, index, upload, most)
        return found


class _Named(io.BytesIO):
    """An upload under the name that answers and errors call it by."""

    name = ""


def named(upload: bytes, index: int) -> io.BytesIO:
    """An upload as an image that answers and errors call by its place, never by a file name."""
    image = _Named(upload)
    image.name = f"image {index}"
    return image


def _prepare(served: Served, index: int, upload: bytes, max_pixels: int) -> Any:
    try:
        (found,) = served.classifier.prepare(
            [named(upload, index)], max_pixels=max_pixels, on_error="return", progress=False
        )
    except Exception as error:  # a plugin's, or a bug: of this image alone
        return Problem.of(error)
    return found
