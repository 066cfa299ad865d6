"""Many images at once: a table with thumbnails, and what could not be read."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import pandas as pd
import streamlit as st

from skinxai import samples
from skinxai.demo.answering import Answers, shared
from skinxai.demo.controls import Line, choose_point
from skinxai.demo.showing import full_name, heading
from skinxai.demo.uploads import MAX_FILES, MAX_ZIP, MIB, Images, Refused, Upload
from skinxai.labels import LabelSet
from skinxai.plain_text import agreeing, counted
from skinxai.reporting.case_words import sentence
from skinxai.results import Prediction
from skinxai.results.folder import table
from skinxai.trust.deciding import decided_at

AT_ONCE = 8


def batch() -> None:
    """Predict files and zips, and show a table that can be sorted."""
    answers = shared()
    given = st.file_uploader(
        f"Images, or a zip of them: at most {MAX_FILES}", accept_multiple_files=True,
        max_upload_size=MAX_ZIP // MIB, key="files", on_change=_forget,
    )  # fmt: skip
    files = [Upload(file.name, file.getvalue()) for file in given]
    known = tuple(file.file_id for file in given)
    kept: Kept | None = st.session_state.get("kept batch")
    if not files and kept is None:
        st.info("Drop many files here; their table can be sorted, and downloaded as CSV.")
        if not st.button("Try it with the four samples"):
            return
        files = [Upload(path.name, path.read_bytes()) for path in samples.paths()]
    line = Line()
    place = st.empty()  # the last batch's table does not stay beside this one's progress
    if kept is None or (files and kept.files != known):  # written by a run that was stopped late
        kept = Kept(known, *_answered(answers, files, line))
        st.session_state["kept batch"] = kept
    rows, bad = kept.rows, kept.bad
    have = agreeing(len(rows), "has", "have")
    line.say(f"{len(rows)} of {counted(len(rows) + len(bad), 'image')} {have} an answer.")
    with place.container():
        if rows:
            if (point := choose_point(answers)) is not None:
                rows = [Row(row.thumbnail, decided_at(row.answer, point)) for row in rows]
            _table(answers, rows)
        if bad:
            st.html(heading("Not read"))
            reasons = [(each.name, each.reason) for each in bad]
            shown = pd.DataFrame(reasons, columns=["file", "reason"])
            st.dataframe(shown, hide_index=True, alt="Files that could not be read, and why")


def _forget() -> None:
    """What was answered stays while its visitor looks at other pages, until other files come."""
    st.session_state.pop("kept batch", None)


@dataclass(frozen=True)
class Row:
    """An image that has an answer; its own bytes are not kept."""

    thumbnail: str
    answer: Prediction


@dataclass(frozen=True)
class Kept:
    """The answers of a batch, and the ids of the files that they are of; of the samples none."""

    files: tuple[str, ...]
    rows: list[Row]
    bad: list[Refused]


def _answered(answers: Answers, files: list[Upload], line: Line) -> tuple[list[Row], list[Refused]]:
    images = Images(files)
    started, total = time.monotonic(), images.count
    rows: list[Row] = []
    bad: list[Refused] = []
    coming = iter(images)
    while some := list(islice(coming, AT_ONCE)):
        good = [each for each in some if isinstance(each, Upload)]
        bad += [each for each in some if isinstance(each, Refused)]
        for upload, answer in zip(good, answers.predict(good, line.waits), strict=True):
            if isinstance(answer, Refused):
                bad.append(answer)
            else:
                rows.append(Row(answers.thumbnail(upload, line.waits), answer))
        done = len(rows) + len(bad)
        left = (time.monotonic() - started) / done * max(0, total - done)
        line.progress(min(done, total), total, f"{done} of {total}, about {left:.0f} s left")
    return rows, bad


def frame(labels: LabelSet, rows: Sequence[Row]) -> pd.DataFrame:
    """The table of a batch; the columns of labels begin with ``p_``, so that they are no others."""
    return pd.DataFrame([
        {
            "image": row.thumbnail,
            "file": row.answer.source,
            "class": full_name(labels, row.answer.label),
            "probability": row.answer.probability,
        }
        | ({} if labels.malignant is None else {"malignant": row.answer.malignant_probability})
        | {f"p_{code}": share for code, share in row.answer.probabilities.items()}
        | ({} if row.answer.decision is None else {"decision": row.answer.decision})
        | {"notes": " ".join(map(sentence, doubts(row.answer)))}
        for row in rows
    ])  # fmt: skip


def doubts(answer: Prediction) -> list[str]:
    """Why nothing was decided, and notes from reading the image without their codes."""
    return [*answer.doubts, *(note.partition(": ")[2] or note for note in answer.warnings)]


def _table(answers: Answers, rows: list[Row]) -> None:
    labels = answers.classifier.config.labels
    share = {
        name: st.column_config.ProgressColumn(name, format="%.3f", min_value=0, max_value=1)
        for name in ("probability", "malignant")
    }
    numbers = {f"p_{code}": st.column_config.NumberColumn(code, format="%.3f") for code in labels}
    picture = {"image": st.column_config.ImageColumn("image", width="small")}
    notes = {"notes": st.column_config.TextColumn("notes", width="large")}
    st.dataframe(
        frame(labels, rows), hide_index=True, row_height=56,
        column_config=picture | share | numbers | notes, alt="Predictions of all images",
    )  # fmt: skip
    st.download_button(
        "Download CSV", table(row.answer.to_dict() for row in rows), "predictions.csv",
        "text/csv", on_click="ignore", icon=":material/download:",
    )  # fmt: skip
