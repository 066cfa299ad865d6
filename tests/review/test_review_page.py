"""The page of reviewers in a real browser, by keyboard alone; and its words.

Needs Chromium: ``sh scripts/debian`` installs Debian's.
"""

import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from demo_server import CHROMIUM, address_of, chromium
from review_cases import MODEL, START, case, prediction
from waiting import LIMIT, wait_for

from skinxai import Classifier, samples
from skinxai.labels import LabelSet
from skinxai.review import Case, ReviewedCase, ReviewStore

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: the review page is not tested in one; sh scripts/debian"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, classifier: Classifier) -> Path:
    """A store with the four samples, as the service records them, and a case of another model."""
    made = tmp_path_factory.mktemp("review")
    with ReviewStore.open(f"sqlite:///{made}/review.db", made / "images") as store:
        for path in samples.paths():
            data = path.read_bytes()
            (answer,) = classifier.predict([data])
            store.record(Case.of(answer, data, id=path.stem, at=START))
        other = samples.paths()[0].read_bytes() + b" "
        store.record(case("of another model", mel=0.999, image=other))
    return made


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    command = [
        sys.executable, "-c", "from skinxai.cli import main; main()", "demo", "--no-browser",
        "--port", "0", "--review", f"sqlite:///{folder}/review.db", "--review-images",
        str(folder / "images"),
    ]  # fmt: skip
    with (folder / "log.txt").open("wb") as errors:
        process = warm.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            cwd=folder, env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    try:
        yield address_of(process, folder / "log.txt")
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


def press(page, key: str, words: str, on: str = "") -> None:
    """Press a key until the page says so; a press right after a case is shown is refused.

    Args:
        page: of the browser.
        key: to be pressed.
        words: that the page says then.
        on: the button that Tab leads to first.
    """
    soon = page.get_by_text("That key came before you could see the case")
    done = page.get_by_text(words)

    def pressed() -> bool:
        if not done.count():
            if on:
                tab_to(page, on)
            page.keyboard.press(key)
        page.wait_for_timeout(300)
        settled(page)
        return bool(done.count()) and not soon.count()

    wait_for(pressed)


def settled(page) -> None:
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


def tab_to(page, what: str) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate(
            "what => document.activeElement.matches('button, input') && (document.activeElement"
            ".innerText || document.activeElement.ariaLabel || '').trim().startsWith(what)", what,
        ):  # fmt: skip
            return
    raise AssertionError(f"the keyboard does not reach {what!r}")


@needs_browser
def test_cases_are_labelled_by_keyboard_alone(
    folder: Path, address: str, classifier: Classifier
) -> None:
    queue = ["ISIC_0024351", "ISIC_0024333", "ISIC_0024436", "of another model"]
    (first,) = (path for path in samples.paths() if path.stem == queue[0])
    with chromium() as browser, ReviewStore.open(f"sqlite:///{folder}/review.db") as store:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(1000 * LIMIT)
        page.goto(f"{address}/review")
        page.get_by_text("Enter your name").wait_for()
        assert [each.case.id for each in store.queue()] == queue
        tab_to(page, "Your name")
        page.keyboard.type("Ada 6")  # a digit in a name labels nothing
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=f"Case {queue[0]}").wait_for()
        page.get_by_alt_text("Heatmap over the image, Grad-CAM").wait_for()
        page.locator(".decision").get_by_text("Refer").wait_for()
        percent = f"{100 * classifier.predict(first).probability:.1f} %"
        assert percent in page.locator("table.findings").inner_text()
        settled(page)
        assert store.cases(labelled=True) == ()
        page.keyboard.press("Tab")
        press(page, "5", f"Kept: case {queue[0]} is mel, says Ada 6.")
        page.get_by_role("heading", name=f"Case {queue[1]}").wait_for()
        settled(page)
        nevus = f"Kept: case {queue[1]} is nv, says Ada 6."
        press(page, "Enter", nevus, on="Melanocytic nevus")
        page.get_by_role("heading", name=f"Case {queue[2]}").wait_for()
        press(page, "n", f"Case {queue[3]}")
        page.get_by_text("No heatmap: this page has the model").wait_for()
        press(page, "b", "You said nv. A new label takes its place.")
        tab_to(page, "Comment, if any")
        page.keyboard.type("1 blue veil")
        page.keyboard.press("Tab")
        settled(page)
        press(page, "5", f"Kept: case {queue[1]} is mel, says Ada 6.")
        found = store.case(queue[1])
        assert [(each.label, each.comment) for each in found.labels] == [
            ("nv", ""), ("mel", "1 blue veil")
        ]  # fmt: skip
        assert [each.label for each in store.case(queue[0]).labels] == ["mel"]
        page.get_by_role("heading", name="Waiting for you: 2").wait_for()
        table = page.get_by_role("table", name="Agreement").inner_text()
        assert re.search(r"Ada 6 and skinxai-ham10000-lite1@\w+\s+1 of 2", table)
        press(page, "0", f"Kept: case {queue[3]} is unsure, says Ada 6.")
        assert store.waiting(reviewer="Ada 6", opinions=2) == 1
        assert page.get_by_text(re.compile("Traceback|Error")).count() == 0
        page.get_by_text("Hide the answer until I label").click()
        page.get_by_text("is hidden until you have labelled").wait_for()
        settled(page)
        waiting = page.get_by_role("table", name=re.compile("Cases that wait")).inner_text()
        assert queue[2] in waiting and "model says" not in waiting and "nv" not in waiting
        assert page.locator("table.findings").count() == 0
        assert page.get_by_alt_text("Heatmap over the image, Grad-CAM").count() == 0
        page.close()
    assert "ISIC" not in (folder / "log.txt").read_text()


@pytest.fixture
def given(monkeypatch) -> list[tuple[str, str, str]]:
    """Case, label and reviewer of each label that the page gives, at 100 seconds."""
    pytest.importorskip("streamlit")
    from skinxai.demo import reviewing

    found: list[tuple[str, str, str]] = []

    class Store:
        def label(self, case: str, label: str, name: str, comment: str) -> None:
            found.append((case, label, name))

    monkeypatch.setattr(reviewing, "opened", Store)
    monkeypatch.setattr(reviewing.time, "monotonic", lambda: 100.0)
    return found


def test_a_key_that_is_held_down_labels_one_case(given, monkeypatch) -> None:
    from skinxai.demo import reviewing

    state = {"reviewer": "ann", "review shown": "a", "review since": 99.0}
    monkeypatch.setattr(reviewing.st, "session_state", state)
    reviewing._give("a", "mel", "ann", "comment")
    state |= {"review shown": "b", "review since": None}  # is being drawn
    reviewing._give("b", "mel", "ann", "comment")
    state["review since"] = 100 - reviewing.SOON / 2
    reviewing._give("b", "mel", "ann", "comment")
    assert given == [("a", "mel", "ann")] and "nothing was kept" in state["review said"]
    reviewing._give("a", "mel", "ann", "comment")  # a button of the last case
    assert len(given) == 1
    state["review since"] = 100 - 2 * reviewing.SOON
    reviewing._give("b", "nv", "ann", "comment")
    assert given == [("a", "mel", "ann"), ("b", "nv", "ann")]


def test_a_label_is_kept_under_the_name_that_stands_in_the_field(given, monkeypatch) -> None:
    from skinxai.demo import reviewing

    state = {"reviewer": " bob ", "review shown": "a", "review since": 99.0}
    monkeypatch.setattr(reviewing.st, "session_state", state)
    reviewing._give("a", "mel", "ann", "comment")  # drawn before the name was changed
    assert given == [] and "nothing was kept" in state["review said"]
    reviewing._give("a", "nv", "bob", "comment")
    assert given == [("a", "nv", "bob")]


def test_the_words_of_the_page_are_text(tmp_path: Path) -> None:
    from skinxai.demo.review_words import agreement_table, prediction_of, queue_table

    shares = {"<b>mel</b>": 0.25, "nv": 0.75}
    with ReviewStore.open(f"sqlite:///{tmp_path}/a.db") as store:
        store.record(Case("<script>", START, 64 * "0", MODEL, prediction(**shares)))
        store.label("<script>", "<b>mel</b>", "<i>ann</i>")
        store.label("<script>", "nv", "bob")
        shown = queue_table(store.cases()) + agreement_table(store.agreement())
        kept = store.case("<script>").case
    assert "<script>" not in shown and "<b>" not in shown and "<i>" not in shown
    assert "&lt;script&gt;" in shown and "0.562" in shown and "0 of 1" in shown
    assert math.isclose(0.5623, kept.uncertainty, abs_tol=1e-4)
    made = prediction_of(kept, LabelSet(tuple(shares)))
    again = made.to_dict()
    assert {key: again[key] for key in kept.prediction if key != "uncertainty"} == {
        key: value for key, value in kept.prediction.items() if key != "uncertainty"
    } | {"quality": {}}
    hidden = queue_table([ReviewedCase(kept)], hidden=True)
    told = [str(kept.decision), "nv", "says"]
    assert not any(word in hidden for word in told) and "0.562" in hidden
    assert all(word in queue_table([ReviewedCase(kept)]) for word in told)
    assert queue_table(()) == "<p class='under'>No case waits.</p>"
