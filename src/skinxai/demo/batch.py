"""Many images at once: a table with thumbnails, and what could not be read."""

from __future__ import annotations

import time

import pandas as pd
import streamlit as st

from skinxai.demo.answering import Answers, shared
from skinxai.demo.asking import Line
from skinxai.demo.showing import full_name, thumbnail
from skinxai.demo.uploads import MAX_FILES, MAX_ZIP, MIB, Refused, Upload, images_of
from skinxai.images import read_image
from skinxai.outputs import table
from skinxai.results import Prediction

AT_ONCE = 8


def batch() -> None:
    """Predict files and zips, and show a table that can be sorted."""
    answers = shared()
    given = st.file_uploader(
        f"Images, or a zip of them: at most {MAX_FILES}", accept_multiple_files=True,
        max_upload_size=MAX_ZIP // MIB,
    )  # fmt: skip
    line = Line()
    if not given:
        st.info("Drop many files here; their table can be sorted, and downloaded as CSV.")
        return
    files = [Upload(file.name, file.getvalue()) for file in given]
    found = list(images_of(files))
    rows, bad = _answered(answers, found, line)
    line.say(f"{len(rows)} of {len(found)} images have an answer.")
    if rows:
        _table(answers, rows)
    if bad:
        st.subheader("Not read", anchor=False)
        reasons = pd.DataFrame(
            [(each.name, each.reason) for each in bad], columns=["file", "reason"]
        )
        st.dataframe(reasons, hide_index=True, alt="Files that could not be read, and why")


def _answered(
    answers: Answers, found: list[Upload | Refused], line: Line
) -> tuple[list[tuple[Upload, Prediction]], list[Refused]]:
    started = time.monotonic()
    bad = [each for each in found if isinstance(each, Refused)]
    images = [each for each in found if isinstance(each, Upload)]
    rows: list[tuple[Upload, Prediction]] = []
    for start in range(0, len(images), AT_ONCE):
        some = images[start : start + AT_ONCE]
        for upload, answer in zip(some, answers.predict(some), strict=True):
            if isinstance(answer, Refused):
                bad.append(answer)
            else:
                rows.append((upload, answer))
        done = start + len(some)
        left = (time.monotonic() - started) / done * (len(images) - done)
        line.progress(done, len(images), f"{done} of {len(images)}, about {left:.0f} s left")
    return rows, bad


def _table(answers: Answers, rows: list[tuple[Upload, Prediction]]) -> None:
    labels = answers.classifier.config.labels
    shown = pd.DataFrame([
        {
            "image": thumbnail(read_image(upload.open()).pixels),
            "file": upload.name,
            "class": full_name(labels, answer.label),
            "probability": answer.probability,
        }
        | ({} if labels.malignant is None else {"malignant": answer.malignant_probability})
        | dict(answer.probabilities)
        for upload, answer in rows
    ])  # fmt: skip
    share = {
        name: st.column_config.ProgressColumn(name, format="%.3f", min_value=0, max_value=1)
        for name in ("probability", "malignant")
    }
    numbers = {code: st.column_config.NumberColumn(code, format="%.3f") for code in labels}
    picture = {"image": st.column_config.ImageColumn("image", width="small")}
    st.dataframe(
        shown, hide_index=True, row_height=56, column_config=picture | share | numbers,
        alt="Predictions of all images",
    )  # fmt: skip
    st.download_button(
        "Download CSV", table(answer.to_dict() for _, answer in rows), "predictions.csv",
        "text/csv", on_click="ignore", icon=":material/download:",
    )  # fmt: skip
