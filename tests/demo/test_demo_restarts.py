"""Pages that are older than their server: what is done in one is kept, or said to be lost.

Needs Chromium: ``sh scripts/debian`` installs Debian's.
"""

import socket
from pathlib import Path

import pytest
from demo_server import CHROMIUM, chromium, running
from picture_files import encode, gradient
from waiting import LIMIT

from skinxai import Classifier, samples
from skinxai.review import Case, ReviewStore

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: the demo is not tested in one; sh scripts/debian"
)
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=1000 * LIMIT)


def settled(page) -> None:
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()


def send(page, name: str) -> None:
    page.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": encode(gradient(96, 128))}
    )


def test_a_page_that_is_older_than_its_server(tmp_path: Path, classifier: Classifier) -> None:
    url = f"sqlite:///{tmp_path}/review.db"
    with ReviewStore.open(url, tmp_path / "images") as store:
        for path in samples.paths():
            (answer,) = classifier.predict([path.read_bytes()])
            store.record(Case.of(answer, path.read_bytes(), id=path.stem))
        first, second = (each.case.id for each in store.queue()[:2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    options = ("--port", port, "--review", url, "--review-images", str(tmp_path / "images"))
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        context.set_default_timeout(1000 * LIMIT)
        one, reviewer = context.new_page(), context.new_page()
        with running(tmp_path, *options) as (address, _):
            one.goto(address)
            one.get_by_text("File", exact=True).first.click()
            send(one, "before.png")
            expect(one.get_by_test_id("stImageCaption").first).to_have_text("before.png")
            reviewer.goto(f"{address}/review")
            reviewer.get_by_label("Your name").fill("Ada")
            reviewer.keyboard.press("Enter")
            reviewer.get_by_role("heading", name=f"Case {first}").wait_for()
            settled(reviewer)
            reviewer.get_by_role("button", name="Next case").click()
            reviewer.get_by_role("heading", name=f"Case {second}").wait_for()
            settled(one)
            settled(reviewer)
        with running(tmp_path, *options), ReviewStore.open(url) as store:
            for page in (one, reviewer):  # which try again every few seconds
                expect(page.locator("[data-testid=stApp]")).to_have_attribute(
                    "data-test-connection-state", "CONNECTED"
                )
            send(one, "after.png")
            expect(one.get_by_test_id("stImageCaption").first).to_have_text("after.png")
            lost = reviewer.get_by_text("What you pressed or typed last was not kept")
            expect(lost).to_have_count(0)
            reviewer.locator(".st-key-labels button").first.click()
            expect(lost).to_be_visible()
            reviewer.get_by_role("heading", name=f"Case {first}").wait_for()
            assert store.cases(labelled=True) == ()
            reviewer.get_by_role("button", name="Next case").click()
            expect(lost).to_have_count(0)
