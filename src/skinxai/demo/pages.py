"""Pages on one image: what it is and why, and several explanations side by side."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from skinxai import explainers
from skinxai.demo.answering import Answers, shared
from skinxai.demo.asking import (
    Line,
    choose_image,
    choose_method,
    choose_target,
    sentences,
)
from skinxai.demo.showing import (
    NO_SCALE,
    blended,
    differential,
    full_name,
    picture,
    plain,
    scale,
)
from skinxai.demo.uploads import Refused, Upload
from skinxai.drawing import encode_png
from skinxai.images import read_image
from skinxai.results import DISCLAIMER, Explanation, Prediction, compare

COMPARED = ("gradcam", "layercam", "eigencam", "guided_backprop")
COLUMNS = 3
ICON = ":material/download:"


def one_image() -> None:
    """The differential of an image, and its heatmap."""
    answers = shared()
    found = _chosen(answers)
    if found is None:
        return
    upload, prediction = found
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.subheader("Differential", anchor=False)
        st.html(differential(prediction))
        for note in prediction.warnings:
            st.caption(plain(note))
        st.caption(f"Model {plain(prediction.model)}, {plain(prediction.backend)}. {DISCLAIMER}")
    with right:
        method, target, opacity = st.columns(3)
        with method:
            name = choose_method("method")
        with target:
            code = choose_target(answers, "target")
        with opacity:
            alpha = st.slider("Opacity", 0.0, 1.0, 0.5, 0.05)
        line = Line()
        known = answers.knows(upload, name, code)
        explanation = _explained(answers, upload, name, code, line) if known else None
        pixels = explanation.pixels if explanation else read_image(upload.open()).pixels
        original, over = st.columns(2)
        with original:
            st.image(picture(pixels), plain(upload.name), width="stretch", alt="The image")
        place = over.empty()
    below = st.empty()
    if explanation is None:  # nothing of the last answer stays beside this one
        _nothing_yet(place, pixels)
        with below.container(horizontal=True):
            for label in ("Overlay", "Explanation folder", "JSON"):
                st.button(label, disabled=True, icon=ICON)
        explanation = _explained(answers, upload, name, code, line)
    if explanation is None:
        place.empty()
        below.empty()
        return
    line.say(f"Explained in {explanation.seconds:.2f} s by {explanation.backend}.")
    with place.container():
        _map(explanation, answers, alpha)
    with below.container(horizontal=True):
        _downloads(prediction, explanation, alpha)


def comparison() -> None:
    """Several methods, or several classes, on one image."""
    answers = shared()
    found = _chosen(answers)
    if found is None:
        return
    upload, _ = found
    kind = st.segmented_control("Side by side", ("Methods", "Classes"), default="Methods")
    first, second = st.columns([3, 1])
    with second:
        alpha = st.slider("Opacity", 0.0, 1.0, 0.5, 0.05, key="compared opacity")
    asked: list[tuple[str, str | None]]
    with first:
        if kind == "Classes":
            method = choose_method("of classes")
            asked = [(method, code) for code in answers.classifier.config.labels]
        else:
            names = st.multiselect("Methods", list(explainers.names()), COMPARED, max_selections=9)
            target = choose_target(answers, "of methods")
            asked = [(name, target) for name in names]
    line, explanations, pixels = Line(), [], read_image(upload.open()).pixels
    rows = [st.columns(COLUMNS) for _ in range(0, len(asked), COLUMNS)]
    places = [column.empty() for row in rows for column in row]
    below = st.empty()
    for place, (name, code) in zip(places, asked, strict=False):
        if not answers.knows(upload, name, code):
            _nothing_yet(place, pixels)
    for place, (name, code) in zip(places, asked, strict=False):
        with place.container():
            explanation = _explained(answers, upload, name, code, line)
            if explanation:
                _map(explanation, answers, alpha)
                explanations.append(explanation)
    line.say("Each map has its own scale: colours of two cannot be compared, numbers can.")
    if explanations:
        below.download_button(
            "Download the sheet", lambda: encode_png(compare(explanations, alpha=alpha)),
            "comparison.png", "image/png", on_click="ignore", icon=ICON,
        )  # fmt: skip


def _chosen(answers: Answers) -> tuple[Upload, Prediction] | None:
    upload = choose_image()
    if upload is None:
        st.info("Choose an image, or drop a file.")
        return None
    (prediction,) = answers.predict([upload])
    if isinstance(prediction, Refused):
        st.warning(f"{plain(prediction.name)}: {plain(prediction.reason)}")
        return None
    return upload, replace(prediction, source=upload.name)


def _nothing_yet(place: DeltaGenerator, pixels: npt.NDArray[np.uint8]) -> None:
    """The image alone, where its heatmap will be: of the same height, so that nothing jumps."""
    with place.container():
        st.image(picture(pixels), "…", width="stretch", alt="The image, not explained yet")
        st.html(NO_SCALE)


def _explained(
    answers: Answers, upload: Upload, method: str, target: str | None, line: Line
) -> Explanation | None:
    with sentences():
        return answers.explain(upload, method, target, line.teller(method))
    line.say("")
    return None


def _map(explanation: Explanation, answers: Answers, alpha: float) -> None:
    title = explanation.method
    if explanation.score != "none":
        title += f": {full_name(answers.classifier.config.labels, explanation.target)}"
    if explanation.heatmap is None:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in explanation.scores.items())
        st.caption(plain(f"{title} gives scores alone: {scores}"))
        return
    alt = f"Heatmap over the image, {title}"
    st.image(blended(explanation, alpha), plain(title), width="stretch", alt=alt)
    st.html(scale(explanation))
    if explanation.degenerate:
        st.caption("The map is constant: it says nothing.")


def _downloads(prediction: Prediction, explanation: Explanation, alpha: float) -> None:
    both = {"prediction": prediction.to_dict(), "explanation": explanation.to_dict()}
    if explanation.heatmap is not None:
        st.download_button(
            "Overlay", lambda: explanation.files(alpha)["overlay.png"], "overlay.png",
            "image/png", on_click="ignore", icon=ICON,
        )  # fmt: skip
    st.download_button(
        "Explanation folder", lambda: _zipped(explanation.files(alpha).items()),
        "explanation.zip", "application/zip", on_click="ignore", icon=ICON,
    )  # fmt: skip
    st.download_button(
        "JSON", json.dumps(both, indent=2), "answer.json", "application/json",
        on_click="ignore", icon=ICON,
    )  # fmt: skip


def _zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name, time.gmtime()[:6])
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
