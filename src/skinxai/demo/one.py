"""The page on one image: what it is, and why."""

import io
import json
import time
import zipfile
from collections.abc import Iterable

import streamlit as st

from skinxai.demo.answering import shared
from skinxai.demo.controls import (
    Line,
    choose_image,
    choose_method,
    choose_opacity,
    choose_point,
    choose_target,
)
from skinxai.demo.pieces import ICON, explained, nothing_yet, predicted, show_map
from skinxai.demo.showing import findings, heading, note, picture, plain
from skinxai.demo.similar import similar_lesions
from skinxai.demo.verdicts import decision
from skinxai.results import Explanation, Prediction
from skinxai.trust.deciding import decided_at


def one_image() -> None:
    """The image and its heatmap first, then what the model finds, then the controls."""
    answers = shared()
    left, right = st.columns([7, 4], gap="large")
    stage, below = left.container(key="stage"), left.container()
    with below:
        upload = choose_image()
    with stage:
        prediction = predicted(answers, upload)
    if upload is None or prediction is None:
        return
    with right:
        found = st.container()  # above the control on which it depends
        if (point := choose_point(answers)) is not None:
            prediction = decided_at(prediction, point)
        notes = "".join(note(text) for text in prediction.warnings)
        found.html(
            heading("What the model finds") + decision(prediction) + findings(prediction) + notes
        )
        st.caption(f"Model {plain(prediction.model)}, {plain(prediction.backend)}")
    method, target, opacity = st.columns(3)
    with method:
        name = choose_method()
    with target:
        code = choose_target(answers)
    with opacity:
        alpha, uniform = choose_opacity()
    with stage:
        pixels = answers.image(upload).pixels
        original, over = st.columns(2)
        with original:
            st.image(picture(pixels), plain(upload.name), width="stretch", alt="The image")
        place, downloads = over.empty(), over.empty()
        line = Line()
    if not answers.knows(upload, name, code):  # nothing of the last answer stays beside this one
        nothing_yet(place, pixels)
        with downloads.container(horizontal=True, gap="small"):
            for label in ("Overlay", "All files", "JSON", "Report"):
                st.button(label, disabled=True, icon=ICON)
    with stage:
        explanation = explained(answers, upload, name, code, line)
    if explanation is None:
        place.empty()
        downloads.empty()
    else:
        line.say(f"Explained in {explanation.seconds:.2f} s by {explanation.backend}.")
        with place.container():
            show_map(explanation, answers, alpha, uniform)
        with downloads.container(horizontal=True, gap="small"):
            _downloads(prediction, explanation, alpha, uniform)
            st.download_button(
                "Report", lambda: answers.report(upload, prediction.operating_point),
                "report.html", "text/html", on_click="ignore", icon=ICON,
            )  # fmt: skip
    similar_lesions(answers, upload)


def _downloads(
    prediction: Prediction, explanation: Explanation, alpha: float, uniform: bool
) -> None:
    both = {"prediction": prediction.to_dict(), "explanation": explanation.to_dict()}

    def files() -> dict[str, bytes]:
        return explanation.files(alpha, uniform=uniform)

    if explanation.heatmap is not None:
        st.download_button(
            "Overlay", lambda: files()["overlay.png"], "overlay.png", "image/png",
            on_click="ignore", icon=ICON,
        )  # fmt: skip
    st.download_button(
        "All files", lambda: _zipped(files().items()), "explanation.zip",
        "application/zip", on_click="ignore", icon=ICON,
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
