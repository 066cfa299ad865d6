"""Training lesions that the network finds most similar, with pictures from the user's folder."""

import os
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import streamlit as st

from skinxai.data import pixel_hash
from skinxai.demo.answering import Answers, shared
from skinxai.demo.showing import full_name, heading, lesions, plain, thumbnail
from skinxai.demo.uploads import Upload
from skinxai.errors import OptionError, SkinxaiError
from skinxai.images.reading import read_image
from skinxai.images.sources import iter_sources
from skinxai.plain_text import counted
from skinxai.results import Neighbour

FOLDER = "SKINXAI_DEMO_TRAINING_IMAGES"
"""Environment variable: folder with the training images; no pictures where it is not set."""
SHOWN = 6
DIGITS = 16
"""Of a pixel hash: those that a model keeps of its training images."""


def checked(folder: str | os.PathLike[str]) -> str:
    """The folder's absolute path."""
    if not Path(folder).is_dir():
        raise OptionError(
            f"training_images must be a folder, got {os.fspath(folder)!r}.",
            python="pass the folder with the images that the model was trained on",
            command="give the folder with the images that the model was trained on",
        )
    return str(Path(folder).resolve())


class Pictures:
    """Which file of a folder has which pixels: found out in the background, once.

    Args:
        folder: with images, in any subfolders. Files that cannot be read are passed over.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = folder
        self._found: dict[str, Path] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.done, self.total = 0, 0
        self.complete = False

    def start(self) -> None:
        """Begin to read the folder, unless that has begun."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self.read, daemon=True)
                self._thread.start()

    def read(self) -> None:
        """Read the whole folder."""
        try:
            paths = [Path(path) for path in iter_sources(self._folder)[1]]
        except SkinxaiError:  # no image in it
            paths = []
        self.total = len(paths)
        for path in paths:
            try:
                value = pixel_hash(read_image(path).pixels)[:DIGITS]
            except SkinxaiError:
                value = ""
            if value:
                self._found.setdefault(value, path)
            self.done += 1
        self.complete = True

    def of(self, lesion: Neighbour) -> str | None:
        """A lesion's picture as a data URL, or ``None``: not found, or not yet."""
        path = lesion.path or self._found.get(lesion.id)
        try:
            return None if path is None else thumbnail(read_image(path).pixels)
        except SkinxaiError:  # the file was changed or taken away
            return None


@cache
def pictures() -> Pictures | None:
    """Of the folder that `FOLDER` names."""
    folder = os.environ.get(FOLDER)
    return Pictures(folder) if folder else None


def similar_lesions(answers: Answers, upload: Upload) -> None:
    """The most similar training lesions, where the model has them."""
    found = answers.nearest(upload, SHOWN)
    if not found:
        return
    known = pictures()
    st.html(heading("Training lesions that the network finds most similar"))
    if known is None:
        _show(found, None)
        return
    known.start()
    again = None if known.complete else 1.0  # seconds
    st.fragment(_watched, run_every=again)(found, known)


def _watched(found: Sequence[Neighbour], known: Pictures) -> None:
    """Shown again while the folder is being read."""
    complete = known.complete
    if not complete and known.total:
        words = f"{known.done} of {counted(known.total, 'training image')} looked at"
        st.progress(known.done / known.total, plain(words))
    _show(found, known)
    if complete and st.session_state.get("reading"):
        st.session_state["reading"] = False
        st.rerun()  # the whole page, which then stops to look again
    st.session_state["reading"] = not complete


def _show(found: Sequence[Neighbour], known: Pictures | None) -> None:
    labels = shared().classifier.config.labels
    rows = [
        (full_name(labels, each.label), each.distance, None if known is None else known.of(each))
        for each in found
    ]
    st.html(lesions(rows, pictures=known is not None))
    st.html(
        "<p class='under'>Their own labels, not predictions. A distance of 0 is the most similar, "
        "one of 2 the least.</p>"
    )
