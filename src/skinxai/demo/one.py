"""The page on one image: what it is, and why."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterable

import streamlit as st

from skinxai.demo.answering import shared
from skinxai.demo.asking import Line, choose_method, choose_target
from skinxai.demo.pieces import ICON, chosen, explained, nothing_yet, show_map
from skinxai.demo.showing import differential, picture, plain
from skinxai.images import read_image
from skinxai.results import DISCLAIMER, Explanation, Prediction


def one_image() -> None:
    """The differential of an image, and its heatmap."""
    answers = shared()
    found = chosen(answers)
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
        explanation = explained(answers, upload, name, code, line) if known else None
        pixels = explanation.pixels if explanation else read_image(upload.open()).pixels
        original, over = st.columns(2)
        with original:
            st.image(picture(pixels), plain(upload.name), width="stretch", alt="The image")
        place = over.empty()
    below = st.empty()
    if explanation is None:  # nothing of the last answer stays beside this one
        nothing_yet(place, pixels)
        with below.container(horizontal=True):
            for label in ("Overlay", "Explanation folder", "JSON"):
                st.button(label, disabled=True, icon=ICON)
        explanation = explained(answers, upload, name, code, line)
    if explanation is None:
        place.empty()
        below.empty()
        return
    line.say(f"Explained in {explanation.seconds:.2f} s by {explanation.backend}.")
    with place.container():
        show_map(explanation, answers, alpha)
    with below.container(horizontal=True):
        _downloads(prediction, explanation, alpha)


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
