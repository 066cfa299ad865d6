"""The page on which reviewers label the cases that a store keeps, with the keyboard alone."""

import os
import time
from functools import cache

import streamlit as st

from skinxai.data.cleaning import clean
from skinxai.demo.answering import Answers, shared
from skinxai.demo.controls import KEPT, OPACITY, Line, sentences
from skinxai.demo.pieces import explained, nothing_yet, show_map
from skinxai.demo.review_words import agreement_table, prediction_of, queue_table
from skinxai.demo.showing import findings, full_name, heading, note, picture, plain
from skinxai.demo.uploads import Upload
from skinxai.demo.verdicts import decision
from skinxai.errors import SkinxaiError, UnknownCaseError
from skinxai.labels import LabelSet
from skinxai.review import UNSURE, ReviewedCase, ReviewStore

URL, IMAGES = "SKINXAI_DEMO_REVIEW", "SKINXAI_DEMO_REVIEW_IMAGES"
"""Environment variables: the store, and the folder of its images."""
OPINIONS = 2
"""Reviewers that see each case, so that their agreement can be measured."""
ROWS = 8
"""Cases of the queue that are listed."""
SOON = 0.7
"""Seconds in which a case takes no label: a key that is held down labels one case, not two."""

LOST = (
    "This page lost its connection to the server. What you pressed or typed last was not kept, and "
    "another case may be shown now: look at it, and label again."
)


@cache
def opened() -> ReviewStore:
    """The process's own store; opened when first asked."""
    return ReviewStore.open(os.environ[URL], os.environ.get(IMAGES) or None, create=False)


def review() -> None:
    """The case that is looked at, its label buttons, then the queue and the agreement."""
    answers, store = shared(), opened()
    how, who, keys = st.columns([3, 3, 4], vertical_alignment="bottom")
    hidden = how.toggle(
        "Hide the answer until I label", key="hidden", persist_state=KEPT,
        help="What one sees first sways one's own judgement.",
    )  # fmt: skip
    # Behind the switch: keys count again as soon as Tab has left the field.
    typed = who.text_input("Your name", key="reviewer", max_chars=80, persist_state=KEPT)
    name = _name(typed)
    anew = "review begun" not in st.session_state
    st.session_state["review begun"] = True
    if anew and name:  # the page is older than its session, which lost what was pressed
        st.warning(LOST)
    keys.caption("Keys, once Tab has left a text field: the digits label, N is next, B is back.")
    if not name:
        st.info("Enter your name and press Enter: it is kept with each label.")
    else:
        with sentences():
            found = _chosen(store, name)
            if found is None:
                st.success("No case waits for you.")
            else:
                _case(answers, store, found, name, hidden)
    with sentences():
        _tables(store, name, hidden)


def _chosen(store: ReviewStore, name: str) -> ReviewedCase | None:
    """The case that was gone back to, or the first of the queue that was not put off."""
    back: str | None = st.session_state.get("review back")
    if back is not None:
        try:
            return store.case(back)
        except UnknownCaseError:  # deleted meanwhile
            st.session_state.pop("review back")
    later: list[str] = st.session_state.setdefault("review later", [])
    rows = store.queue(len(later) + 1, reviewer=name, opinions=OPINIONS)
    waiting = {each.case.id: each for each in rows}
    first = next((each for each in rows if each.case.id not in later), None)
    if first is None and rows:  # all were put off: the one that waits for longest
        first = next(waiting[each] for each in later if each in waiting)
    return first


def _case(
    answers: Answers, store: ReviewStore, found: ReviewedCase, name: str, hidden: bool
) -> None:
    case, own = found.case, found.current.get(name)
    if st.session_state.get("review shown") != case.id:
        st.session_state["review shown"], st.session_state["review since"] = case.id, None
    labels = answers.classifier.config.labels
    if tuple(labels) != case.codes:
        labels = LabelSet(case.codes)
    left, right = st.columns([7, 4], gap="large")
    with right:
        st.html(heading(f"Case {case.id}"))
        said = st.session_state.get("review said", "")
        if own is not None:
            said = f"You said {own.label}. A new label takes its place."
        st.caption(plain(said) or "Which is it?")  # always there: else the buttons lose the focus
        _buttons(case.codes, labels, case.id, name)
    with left.container(key="stage"):
        _pictures(answers, store, found, hidden and own is None)
    with left:
        if hidden and own is None:
            st.caption("What the model says is hidden until you have labelled the case.")
        else:
            made = prediction_of(case, labels)
            st.html(heading("What the model finds") + decision(made) + findings(made))
            st.caption(plain(f"Model {case.model}; entropy {case.uncertainty:.3f} nats"))
    if st.session_state["review since"] is None:  # drawn to its end
        st.session_state["review since"] = time.monotonic()


def _buttons(codes: tuple[str, ...], labels: LabelSet, case: str, name: str) -> None:
    comment = f"comment {case}"
    # In front of the buttons: from here Tab leads to them, and digits count again.
    st.text_input("Comment, if any", key=comment, max_chars=2000)
    with st.container(key="labels"):
        for number, code in enumerate(codes, 1):
            st.button(
                full_name(labels, code), key=f"label {case} {code}", width="stretch",
                shortcut=str(number) if number < 10 else None, on_click=_give,
                args=(case, code, name, comment),
            )  # fmt: skip
        st.button(
            "Unsure", key=f"label {case} {UNSURE}", width="stretch", shortcut="0", on_click=_give,
            args=(case, UNSURE, name, comment),
        )  # fmt: skip
    with st.container(horizontal=True, gap="small"):
        st.button("Next case", shortcut="N", on_click=_later, args=(case,))
        given: list[str] = st.session_state.get("review given", [])
        st.button("Last labelled", shortcut="B", on_click=_back, args=(given,), disabled=not given)


def _give(case: str, label: str, name: str, comment: str) -> None:
    """Keep a label; whatever is wrong is said on the page."""
    state = st.session_state
    if _name(state.get("reviewer")) != name:  # the buttons are still those of another name
        state["review said"] = "The name was changed a moment ago; nothing was kept. Label again."
        return
    since = state.get("review since")
    if state.get("review shown") != case or since is None or time.monotonic() - since < SOON:
        state["review said"] = "That key came before you could see the case; nothing was kept."
        return
    try:
        opened().label(case, label, name, state.get(comment) or "")
    except SkinxaiError as error:
        state["review said"] = f"Not kept: {error}"
        return
    state["review said"] = f"Kept: case {case} is {label}, says {name}."
    state["review given"] = [
        *(each for each in state.get("review given", []) if each != case),
        case,
    ]
    state.pop("review back", None)


def _name(typed: str | None) -> str:
    """As the store keeps it."""
    return clean(typed or "")


def _later(case: str) -> None:
    state = st.session_state
    state.pop("review back", None)
    state["review later"] = [*(e for e in state.get("review later", []) if e != case), case]
    state.pop("review said", None)


def _back(given: list[str]) -> None:
    st.session_state["review back"] = given[-1]


def _pictures(answers: Answers, store: ReviewStore, found: ReviewedCase, hidden: bool) -> None:
    data = None
    with sentences():
        data = store.image(found.case.id)
        if data is None:
            st.info("The image of this case was not kept, or has expired.")
    if data is None:
        return
    upload = Upload(f"case {found.case.id}", data)
    with sentences():
        pixels = answers.image(upload).pixels
        if hidden:
            st.image(picture(pixels), width="stretch", alt="The image")
            return
        original, over = st.columns(2)
        with original:
            st.image(picture(pixels), "Image", width="stretch", alt="The image")
            line = Line()  # beside the map's scale, where it takes no room of its own
        place = over.empty()
        if answers.classifier.model != found.case.model:
            words = (
                f"No heatmap: this page has the model {answers.classifier.model}, and the case was "
                f"answered by {found.case.model}."
            )
            place.html(note(f": {words}"))
            return
        nothing_yet(place, pixels)
        explanation = explained(answers, upload, "gradcam", found.case.prediction["label"], line)
        if explanation is None:
            place.empty()
            return
        with place.container():
            show_map(explanation, answers, OPACITY, uniform=False)


def _tables(store: ReviewStore, name: str, hidden: bool) -> None:
    waiting = store.waiting(reviewer=name or None, opinions=OPINIONS)
    rows = store.queue(ROWS, reviewer=name or None, opinions=OPINIONS)
    queue, agreed = st.columns([7, 4], gap="large")
    queue.html(
        heading(f"Waiting{' for you' if name else ''}: {waiting}")
        + queue_table(rows, hidden=hidden)
    )
    agreed.html(heading("Agreement") + agreement_table(store.agreement()))
