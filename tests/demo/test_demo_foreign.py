"""The demo in a real browser with another's model card, and within its own security policy.

Needs Chromium: ``sh scripts/debian`` installs Debian's.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo_server import CHROMIUM, LIMIT, chromium, running
from picture_files import encode, gradient
from waiting import wait_for

import skinxai

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: the demo is not tested in one; sh scripts/debian"
)
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=1000 * LIMIT)
CARD = """
# A card

!![x](http://a.example/one.png) <img src=http://a.example/two.png>
[a link](http://a.example/three) and **bold**

<style>@import 'http://a.example/four.css';</style>
"""


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model, with another's card."""
    folder = tmp_path_factory.mktemp("model") / "model"
    shutil.copytree(Path(skinxai.__file__).with_name("bundled"), folder)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, forged: Path) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("demo"), "--model", str(forged)) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser) -> Iterator[object]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(1000 * LIMIT)
    made = context.new_page()
    made.said = []
    made.asked = []
    made.on("console", lambda message: made.said.append(message.text))
    made.on("request", lambda request: made.asked.append(request.url))
    yield made
    context.close()


def broken_rules(page) -> list[str]:
    return [text for text in page.said if "Content Security Policy" in text or "violates" in text]


def test_a_foreign_card_is_words_and_fetches_nothing(page, server: str) -> None:
    page.goto(f"{server}/model")
    expect(page.get_by_text("a link (http://a.example/three)")).to_be_visible()
    card = page.locator(".card")
    assert card.locator("strong").inner_text() == "bold"
    assert card.locator("a, img, style, link").count() == 0
    assert [url for url in page.asked if "a.example" in url] == []


def test_all_pages_work_within_the_policy(page, server: str) -> None:
    page.goto(server)
    expect(page.get_by_text("Grad-CAM: Melanoma")).to_be_visible()
    page.get_by_text("File", exact=True).click()
    page.locator("input[type=file]").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": encode(gradient(96, 128))}
    )
    expect(page.locator("[data-testid=stImageCaption]").first).to_have_text("mine.png")
    idle = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(idle).to_be_visible()
    with page.expect_download():
        page.get_by_role("button", name="All files").click()
    for name, words in (("Compare", "Eigen-CAM"), ("Batch", "Drop many files"), ("Model", "bold")):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_text(words).first).to_be_visible()
    page.get_by_role("link", name="Batch", exact=True).click()
    page.get_by_role("button", name="Try it with the four samples").click()
    expect(page.get_by_text("4 of 4 images have an answer")).to_be_visible()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    assert broken_rules(page) == []
    page.evaluate("document.body.append(Object.assign(new Image, {src: 'http://a.example/x.png'}))")
    wait_for(lambda: page.wait_for_timeout(50) or broken_rules(page))  # else nothing listened
