"""Which image, method and class: the controls that pages share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from skinxai import explainers, samples
from skinxai.demo.answering import Answers
from skinxai.demo.showing import full_name, plain
from skinxai.demo.uploads import MAX_FILE, MIB, Upload
from skinxai.errors import SkinxaiError
from skinxai.progress import Tell

SAMPLES = ("Melanoma", "Melanoma, missed", "Basal cell carcinoma", "Nevus")
SOURCES = ("Sample", "File", "Camera")
MOST_PROBABLE = "The most probable"


def choose_image() -> Upload | None:
    """The image that all pages look at; it stays while its visitor does."""
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    with left:
        source = st.segmented_control("Image", SOURCES, key=_kept("source", SOURCES[0]))
    st.session_state["kept source"] = source
    with right:
        if source == "Sample":
            name = st.pills("HAM10000, CC BY-NC 4.0", SAMPLES, key=_kept("sample", SAMPLES[0]))
            st.session_state["kept sample"] = name
            path = samples.paths()[SAMPLES.index(name)] if name else None
            return Upload(path.name, path.read_bytes()) if path else None
        given: Any = None
        if source == "File":
            given = st.file_uploader(
                "JPEG, PNG, TIFF, WebP or BMP", key="file", on_change=_take, args=("file",),
                max_upload_size=MAX_FILE // MIB,
            )  # fmt: skip
        elif source == "Camera":
            given = st.camera_input(
                "A picture through a dermatoscope", key="camera", on_change=_take, args=("camera",)
            )
        image: Upload | None = st.session_state.get("kept image")
        if image is not None and given is None:
            st.caption(f"Still shown: {plain(image.name)}")
        return image


def _take(key: str) -> None:
    """What was given becomes the image of all pages; what is taken back is forgotten."""
    given = st.session_state[key]
    image = None if given is None else Upload(given.name, given.getvalue())
    st.session_state["kept image"] = image


def choose_method(key: str) -> str:
    """One of the explainers that are installed."""
    names = list(explainers.names())
    return st.selectbox("Method", names, index=names.index("gradcam"), key=key)


def choose_target(answers: Answers, key: str) -> str | None:
    """A class, or ``None``: the most probable."""
    labels = answers.classifier.config.labels
    names = {code: full_name(labels, code) for code in labels}
    code = st.selectbox(
        "Class", [None, *names], format_func=lambda c: names.get(c, MOST_PROBABLE), key=key
    )
    return code if code in names else None


class Line:
    """A line of one height, where work shows its progress and then a sentence: nothing jumps."""

    def __init__(self) -> None:
        self._place = st.container(height=68, border=False).empty()

    def teller(self, name: str) -> Tell:
        """What shows how many network passes of a method are done."""
        started = time.monotonic()

        def tell(done: int, total: int | None) -> None:
            if total is None:
                self.say("Waiting: the same was asked for a moment ago, and is being computed.")
            if not total or not done:
                return
            left = (time.monotonic() - started) / done * (total - done)
            words = f"{name}: {done} of {total} network passes, about {left:.0f} s left"
            self._place.progress(done / total, plain(words))

        return tell

    def progress(self, done: int, total: int, words: str) -> None:
        """A bar."""
        self._place.progress(done / total, plain(words))

    def say(self, words: str) -> None:
        """A sentence in its place, or nothing."""
        self._place.caption(plain(words))


@contextmanager
def sentences() -> Iterator[None]:
    """Within it, an error becomes its sentence on the page."""
    try:
        yield
    except SkinxaiError as error:
        st.warning(plain(str(error)))


def _kept(name: str, first: str) -> str:
    """The key of a widget, whose value is the one before its page was left."""
    if name not in st.session_state:
        st.session_state[name] = st.session_state.get(f"kept {name}", first)
    return name
