"""Pages on one image: what it is and why, and several explanations side by side."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterable
from dataclasses import replace

import streamlit as st

from skinxai import explainers
from skinxai.demo.answering import Answers, shared
from skinxai.demo.asking import (
    Line,
    choose_image,
    choose_method,
    choose_target,
    sentences,
)
from skinxai.demo.showing import blended, differential, full_name, picture, plain, scale
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
        explanation = _explained(answers, upload, name, code, line)
        if explanation:
            line.say(f"Explained in {explanation.seconds:.2f} s by {explanation.backend}.")
        original, over = st.columns(2)
        with original:
            shown = explanation.pixels if explanation else read_image(upload.open()).pixels
            st.image(picture(shown), plain(upload.name), width="stretch", alt="The image")
        with over:
            if explanation:
                _map(explanation, answers, alpha)
    if explanation:
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
    line, explanations = Line(), []
    for start in range(0, len(asked), COLUMNS):
        row = asked[start : start + COLUMNS]
        for place, (name, code) in zip(st.columns(COLUMNS), row, strict=False):
            with place:
                explanation = _explained(answers, upload, name, code, line)
                if explanation:
                    _map(explanation, answers, alpha)
                    explanations.append(explanation)
    line.say("Each map has its own scale: colours of two cannot be compared, numbers can.")
    if explanations:
        st.download_button(
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


def _explained(
    answers: Answers, upload: Upload, method: str, target: str | None, line: Line
) -> Explanation | None:
    with sentences():
        return answers.explain(upload, method, target, line.teller(method))
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
    with st.container(horizontal=True):
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
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, time.gmtime()[:6]), data)
    return buffer.getvalue()
