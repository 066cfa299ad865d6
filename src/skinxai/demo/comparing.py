"""The page that puts explanations of one image side by side."""

import math

import streamlit as st

from skinxai import explainers
from skinxai.demo.answering import shared
from skinxai.demo.controls import (
    KEPT,
    Line,
    choose_image,
    choose_method,
    choose_opacity,
    choose_target,
    shown_by,
    title_of,
)
from skinxai.demo.pieces import ICON, explained, nothing_yet, predicted, show_map
from skinxai.demo.showing import plain
from skinxai.results import compare
from skinxai.results.drawing import encode_png

COMPARED = ("gradcam", "layercam", "eigencam", "guided_backprop")


def comparison() -> None:
    """Several methods, or several classes, on one image: the maps first, then the controls."""
    answers = shared()
    stage = st.container(key="maps")
    left, right = st.columns(2, gap="large")
    with left:
        upload = choose_image()
        alpha, uniform = choose_opacity()
    with stage:
        if predicted(answers, upload) is None or upload is None:
            return
    asked: list[tuple[str, str | None]]
    with right:
        kind = st.segmented_control(
            "Side by side", ("Methods", "Classes"), default="Methods", required=True,
            key="compared", persist_state=KEPT,
        )  # fmt: skip
        if kind == "Classes":
            method = choose_method()
            asked = [(method, code) for code in answers.classifier.config.labels]
        else:
            names = st.multiselect(
                "Methods", list(explainers.names()), COMPARED, max_selections=9,
                format_func=title_of, key="methods", persist_state=KEPT, wrap=True,
            )  # fmt: skip
            target = choose_target(answers)
            asked = [(name, target) for name in names]
    explanations, pixels = [], answers.image(upload).pixels
    with stage:
        count = columns_for(len(asked))
        rows = [st.columns(count) for _ in range(0, len(asked), count)]
        places = [column.empty() for row in rows for column in row]
        below, line = st.empty(), Line()
    for place, (name, code) in zip(places, asked, strict=False):
        if not answers.knows(upload, name, code):
            nothing_yet(place, pixels)
    for place, (name, code) in zip(places, asked, strict=False):
        with place.container():
            explanation = explained(answers, upload, name, code, line)
            if explanation:
                show_map(explanation, answers, alpha, uniform)
                if kind == "Methods":
                    st.caption(plain(shown_by(name)))
                explanations.append(explanation)
    line.say("Each map has its own scale: compare the numbers of two maps, not their colours.")
    if explanations:
        below.download_button(
            "Download the sheet",
            lambda: encode_png(compare(explanations, alpha=alpha, uniform=uniform)),
            "comparison.png", "image/png", on_click="ignore", icon=ICON,
        )  # fmt: skip


def columns_for(count: int) -> int:
    """Columns for so many maps: at most four, in rows as even as they can be.

    No row has a single map where another number of columns avoids it.
    """
    even = math.ceil(count / math.ceil(count / 4)) if count else 1
    if count > 2 and count % even == 1:
        even = next((n for n in (3, 2) if count % n != 1), even)
    return max(2, even)
