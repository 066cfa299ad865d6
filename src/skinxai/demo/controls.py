"""Which image, method and class: the controls that pages share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st

from skinxai import explainers, plugins, samples
from skinxai.demo.answering import Answers
from skinxai.demo.showing import full_name, plain
from skinxai.demo.uploads import MAX_FILE, MIB, Upload
from skinxai.demo.waiting import others
from skinxai.errors import SkinxaiError
from skinxai.plain_text import counted
from skinxai.progress import Tell
from skinxai.trust.operating_points import OperatingPoint, threshold_text

SAMPLES = ("Melanoma", "Melanoma, missed", "Basal cell carcinoma", "Nevus")
SOURCES = ("Sample", "File", "Camera")
MOST_PROBABLE = "The most probable"
OPACITY = 0.6
"""Of the overlays, where a map is strongest."""
KEPT: Literal["session"] = "session"
"""How long a control keeps its value. By default Streamlit forgets it when its page is left."""


def choose_image() -> Upload | None:
    """The image that all pages look at; it stays while its visitor does."""
    source = st.segmented_control(
        "Image", SOURCES, default=SOURCES[0], required=True, key="source", persist_state=KEPT
    )
    if source == "Sample":
        name = st.pills(
            "From HAM10000, CC BY-NC 4.0", SAMPLES, default=SAMPLES[0], required=True,
            key="sample", persist_state=KEPT, wrap=True,
        )  # fmt: skip
        path = samples.paths()[SAMPLES.index(name)]
        return Upload(path.name, path.read_bytes())
    given: Any = None
    if source == "File":
        given = st.file_uploader(
            "JPEG, PNG, TIFF, WebP or BMP", key="file", on_change=_forget,
            max_upload_size=MAX_FILE // MIB,
        )  # fmt: skip
    else:
        given = st.camera_input("A picture through a dermatoscope", key="camera", on_change=_forget)
    kept: Kept | None = st.session_state.get("kept image")
    # Not in a callback: the first file after the server was started again does not call one.
    if given is not None and (kept is None or kept.file != given.file_id):
        kept = Kept(given.file_id, Upload(given.name, given.getvalue()))
        st.session_state["kept image"] = kept
    if kept is None:
        return None
    if given is None:
        st.caption(f"Still shown: {plain(kept.image.name)}")
    return kept.image


@dataclass(frozen=True)
class Kept:
    """The image of all pages, and the id of the file that it came as."""

    file: str
    image: Upload


def _forget() -> None:
    """The field changed: what it held before is no longer the image."""
    st.session_state.pop("kept image", None)


def title_of(method: str) -> str:
    """How people call a method; a plugin's without a title has its name."""
    return plugins.explainers.entry(method).title or method


def shown_by(method: str) -> str:
    """What a method shows, in a sentence; a plugin's without one has its line in listings."""
    entry = plugins.explainers.entry(method)
    return entry.shows or entry.help


def choose_method() -> str:
    """One of the explainers that are installed."""
    names = list(explainers.names())
    name = st.selectbox(
        "Method", names, index=names.index("gradcam"), format_func=title_of, key="method",
        persist_state=KEPT,
    )  # fmt: skip
    st.caption(plain(shown_by(name)))
    return name


def choose_target(answers: Answers) -> str | None:
    """A class, or ``None``: the most probable."""
    labels = answers.classifier.config.labels
    names = {code: full_name(labels, code) for code in labels}
    code = st.selectbox(
        "Class", [None, *names], format_func=lambda c: names.get(c, MOST_PROBABLE), key="target",
        persist_state=KEPT,
    )  # fmt: skip
    return code if code in names else None


def choose_point(answers: Answers) -> OperatingPoint | None:
    """The operating point that decides; ``None`` where the model has none."""
    calibration = answers.classifier.calibration
    if calibration is None or calibration.default is None:
        return None
    points = calibration.one_view.operating_points
    name = st.segmented_control(
        "Operating point", list(points), default=calibration.default, required=True, key="point",
        persist_state=KEPT,
    )  # fmt: skip
    point: OperatingPoint = points[name or calibration.default]
    shown = threshold_text(point.threshold)
    st.caption(plain(f"It refers from a malignant probability of {shown} on."))
    return point


def choose_opacity() -> tuple[float, bool]:
    """Opacity of the overlays where a map is strongest, and whether it is so everywhere."""
    alpha = st.slider("Opacity", 0.0, 1.0, OPACITY, 0.05, key="opacity", persist_state=KEPT)
    uniform = st.toggle(
        "The same everywhere", key="uniform", persist_state=KEPT,
        help="Otherwise the photograph shows through where the map is weak.",
    )  # fmt: skip
    return alpha, uniform


class Line:
    """A line of one height, where work shows its progress and then a sentence: nothing jumps."""

    def __init__(self) -> None:
        self._place = st.container(height=46, border=False).empty()

    def teller(self, name: str) -> Tell:
        """What shows how many network passes of a method are done."""
        started = time.monotonic()

        def tell(done: int, total: int | None) -> None:
            if total is None:
                self.say("Waiting: the same request came a moment ago, and is being computed.")
            if not total or not done:
                return
            left = (time.monotonic() - started) / done * (total - done)
            words = f"{name}: {done} of {counted(total, 'network pass')}, about {left:.0f} s left"
            self._place.progress(done / total, plain(words))

        return tell

    def progress(self, done: int, total: int, words: str) -> None:
        """A bar."""
        self._place.progress(done / total, plain(words))

    def waits(self, before: int) -> None:
        """How many others are before one."""
        self.say(others(before))

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
