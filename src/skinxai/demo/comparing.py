"""The page that puts explanations of one image side by side."""

from __future__ import annotations

import streamlit as st

from skinxai import explainers
from skinxai.demo.answering import shared
from skinxai.demo.asking import Line, choose_method, choose_target
from skinxai.demo.pieces import ICON, chosen, explained, nothing_yet, show_map
from skinxai.drawing import encode_png
from skinxai.images import read_image
from skinxai.results import compare

COMPARED = ("gradcam", "layercam", "eigencam", "guided_backprop")
COLUMNS = 3


def comparison() -> None:
    """Several methods, or several classes, on one image."""
    answers = shared()
    found = chosen(answers)
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
            nothing_yet(place, pixels)
    for place, (name, code) in zip(places, asked, strict=False):
        with place.container():
            explanation = explained(answers, upload, name, code, line)
            if explanation:
                show_map(explanation, answers, alpha)
                explanations.append(explanation)
    line.say("Each map has its own scale: colours of two cannot be compared, numbers can.")
    if explanations:
        below.download_button(
            "Download the sheet", lambda: encode_png(compare(explanations, alpha=alpha)),
            "comparison.png", "image/png", on_click="ignore", icon=ICON,
        )  # fmt: skip
