"""Pieces of the pages on one image: a prediction, an explanation, and how they are shown."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from skinxai.demo.answering import Answers
from skinxai.demo.controls import Line, sentences, title_of
from skinxai.demo.showing import NO_SCALE, blended, full_name, picture, plain
from skinxai.demo.uploads import Refused, Upload
from skinxai.demo.waiting import others
from skinxai.reporting.map_pictures import scale
from skinxai.results import Explanation, Prediction

ICON = ":material/download:"


def predicted(answers: Answers, upload: Upload | None) -> Prediction | None:
    """The prediction of the image that was chosen, or a sentence on the page."""
    if upload is None:
        st.info("Choose an image, or drop a file.")
        return None
    place: list[DeltaGenerator] = []

    def waits(before: int) -> None:
        if not place:  # where nobody waits, there is no place for it either
            place.append(st.empty())
        place[0].caption(others(before))

    (prediction,) = answers.predict([upload], waits)
    for each in place:
        each.empty()
    if isinstance(prediction, Refused):
        st.warning(f"{plain(prediction.name)}: {plain(prediction.reason)}")
        return None
    return replace(prediction, source=upload.name)


def nothing_yet(place: DeltaGenerator, pixels: npt.NDArray[np.uint8]) -> None:
    """The image alone, where its heatmap will be: of the same height, so that nothing jumps."""
    with place.container():
        st.image(picture(pixels), "…", width="stretch", alt="The image, not explained yet")
        st.html(NO_SCALE)


def explained(
    answers: Answers, upload: Upload, method: str, target: str | None, line: Line
) -> Explanation | None:
    """An explanation, or a sentence on the page."""
    with sentences():
        return answers.explain(upload, method, target, line.teller(title_of(method)), line.waits)
    line.say("")
    return None


def show_map(explanation: Explanation, answers: Answers, alpha: float, uniform: bool) -> None:
    """A heatmap over its image, with its name and scale."""
    title = title_of(explanation.method)
    if explanation.score != "none":
        title += f": {full_name(answers.classifier.config.labels, explanation.target)}"
    if explanation.heatmap is None:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in explanation.scores.items())
        st.caption(plain(f"{title} gives only scores: {scores}"))
        return
    alt = f"Heatmap over the image, {title}"
    st.image(blended(explanation, alpha, uniform), plain(title), width="stretch", alt=alt)
    st.html(scale(explanation))
    if explanation.degenerate:
        st.caption("The map is constant: it shows no region.")
