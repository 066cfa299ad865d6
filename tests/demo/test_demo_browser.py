"""The demo in a real browser: uploads, numbers, downloads, several visitors at once.

Needs Chromium: ``sh scripts/debian`` installs Debian's.
"""

import csv
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from demo_server import CHROMIUM, chromium, running
from picture_files import encode, gradient
from PIL import Image
from waiting import LIMIT, wait_for

from skinxai import Classifier, samples

OPACITY = 0.6  # where the slider stands
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: the demo is not tested in one; sh scripts/debian"
)
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=1000 * LIMIT)
PAGES = {"One image": "", "Compare": "compare", "Batch": "batch", "Model": "model"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with running(tmp_path_factory.mktemp("demo")) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(server, browser) -> Iterator[object]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(1000 * LIMIT)
    made = context.new_page()
    made.goto(server[0])
    expect(made.locator("table.findings")).to_be_visible()
    settled(made)
    yield made
    context.close()


def settled(page) -> None:
    """Wait until the page has been drawn to its end, with its pictures."""
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    page.wait_for_function("() => [...document.images].every(each => each.complete)")


def upload(page, name: str, data: bytes) -> None:
    page.get_by_role("radio", name="File").or_(page.get_by_text("File", exact=True)).first.click()
    page.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": data}
    )


def percentages(page) -> dict[str, str]:
    rows = page.locator("table.findings tr")
    return {row.get_attribute("data-code"): row.locator("td").inner_text() for row in rows.all()}


def expected(classifier: Classifier, image) -> dict[str, str]:
    found = classifier.predict(image).probabilities
    return {code: f"{100 * value:.1f} %" for code, value in found.items()}


def choose(page, label: str, value: str) -> None:
    box = page.get_by_role("combobox", name=label)

    def chosen() -> bool:  # a page that is drawn anew meanwhile closes the list
        box.fill("")  # else the same text again would not open the list
        box.fill(value)  # a long list shows a part of its options
        try:
            page.get_by_role("option", name=value, exact=True).click(timeout=20_000)
        except playwright.TimeoutError:
            return False
        return True

    wait_for(chosen)


def downloaded(page, button: str) -> bytes:
    settled(page)  # else the button may be the last answer's
    with page.expect_download() as found:
        page.get_by_role("button", name=button).click()
    return Path(found.value.path()).read_bytes()


def photograph(page, name: str) -> None:
    """Keep a picture in the folder `SKINXAI_PICTURES`, where that is set."""
    if folder := os.environ.get("SKINXAI_PICTURES"):
        page.wait_for_timeout(2500)
        page.screenshot(path=Path(folder, f"{name}.jpg"), quality=85)


def test_the_sample_has_the_classifiers_numbers(page, classifier: Classifier) -> None:
    assert percentages(page) == expected(classifier, samples.paths()[0])
    expect(page.get_by_text("not a medical device")).to_be_visible()


def test_an_upload_its_methods_and_its_downloads(page, server, classifier: Classifier) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    data = encode(noise)
    assert len(data) > 2_000_000  # more than the server's form parser holds in memory by itself
    upload(page, "my own mole.png", data)
    expect(page.get_by_text("my own mole.png").last).to_be_visible()
    page.wait_for_function(
        "want => [...document.querySelectorAll('table.findings td')]"
        ".some(cell => cell.innerText == want)",
        arg=max(expected(classifier, data).values(), key=lambda text: float(text[:-2])),
    )
    assert percentages(page) == expected(classifier, data)
    choose(page, "Method", "LayerCAM")
    choose(page, "Class", "Vascular lesion")
    expect(page.get_by_text("LayerCAM: Vascular lesion")).to_be_visible()
    overlay = Image.open(io.BytesIO(downloaded(page, "Overlay")))
    own = classifier.explain(data, "layercam", target="vasc")
    assert overlay.size == (1200, 900)
    difference = np.asarray(overlay, float) - np.asarray(own.overlay(OPACITY), float)
    assert np.abs(difference).max() <= 2  # another backend may have predicted
    both = json.loads(downloaded(page, "JSON"))
    assert both["explanation"]["method"] == "layercam" and both["explanation"]["target"] == "vasc"
    assert both["prediction"]["source"] == "my own mole.png"
    with zipfile.ZipFile(io.BytesIO(downloaded(page, "All files"))) as folder:
        assert set(folder.namelist()) == {
            "explanation.json", "layercam.npy", "overlay.png", "sheet.png"
        }  # fmt: skip
        np.testing.assert_allclose(
            np.load(io.BytesIO(folder.read("layercam.npy"))), own.heatmap,
            atol=1e-3 * own.heatmap.max(),
        )  # fmt: skip
    report = downloaded(page, "Report").decode()
    assert "Case report" in report and classifier.model in report
    assert "nlike the images that the model knows" in report  # noise is no dermoscopy
    assert "mole" not in report and "mole" not in server[1].read_text()


def test_another_operating_point_decides(page, classifier: Classifier) -> None:
    points = classifier.calibration.one_view.operating_points
    verdict = page.locator(".decision")
    expect(verdict).to_contain_text("at the operating point “screening”")
    page.get_by_text("balanced", exact=True).click()
    expect(verdict).to_contain_text("at the operating point “balanced”")
    expect(verdict).to_contain_text(f"{points['balanced'].threshold:.3f}, the threshold")
    both = json.loads(downloaded(page, "JSON"))
    assert both["prediction"]["operating_point"] == "balanced"
    assert "threshold of &#x27;balanced&#x27;" in downloaded(page, "Report").decode()
    visit(page, "Batch")  # it stays chosen
    page.get_by_role("button", name="Try it with the four samples").click()
    expect(page.get_by_text("4 of 4 images have an answer.")).to_be_visible()
    rows = csv.DictReader(io.StringIO(downloaded(page, "Download CSV").decode()))
    assert [row["operating_point"] for row in rows] == ["balanced"] * 4


def visit(page, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()
    page.wait_for_url(f"**/{PAGES[name]}")
    settled(page)


def looks_at(page, name: str, image: str) -> None:
    """A page shows the image, method and class that were chosen on another."""
    if name == "One image":
        expect(page.locator("[data-testid=stImageCaption]").first).to_have_text(image)
        expect(page.get_by_text("LayerCAM: Vascular lesion")).to_be_visible()
    elif name == "Compare":
        for method in ("Grad-CAM", "LayerCAM", "Guided backpropagation"):
            expect(page.get_by_text(f"{method}: Vascular lesion")).to_be_visible()
    elif name == "Batch":
        expect(page.get_by_text("Drop many files here")).to_be_visible()
    else:
        expect(page.get_by_role("cell", name="865", exact=True)).to_be_visible()
    expect(page.get_by_text("Choose an image")).to_have_count(0)


@pytest.mark.parametrize(
    ("source", "pages"),
    [
        ("Sample", ("Compare", "One image", "Batch", "One image", "Model", "One image", "Compare",
                    "Batch", "Compare", "Model", "Compare", "Batch", "Model", "Batch",
                    "One image")),
        ("File", ("Compare", "Batch", "Model", "One image")),
    ],
    ids=["sample", "file"],
)  # fmt: skip
def test_the_choices_survive_every_change_of_page(page, source: str, pages) -> None:
    image = "ISIC_0024319.jpg"
    if source == "Sample":
        page.get_by_text("Nevus", exact=True).click()
    else:
        image = "mine.png"
        upload(page, image, encode(gradient(96, 128)))
    choose(page, "Class", "Vascular lesion")
    choose(page, "Method", "LayerCAM")
    looks_at(page, "One image", image)
    for name in pages:
        visit(page, name)
        looks_at(page, name, image)


def test_a_click_on_what_is_chosen_leaves_it_chosen(page) -> None:
    buttons = page.locator("[data-testid=stMain] button")
    chosen = "Melanoma"
    for name, other, found in (
        ("One image", "Nevus", "Melanocytic nevus"),
        ("Compare", "Basal cell carcinoma", "Basal cell carcinoma"),
    ):
        visit(page, name)
        for label in ("Sample", chosen, other):
            buttons.get_by_text(label, exact=True).click()
        expect(page.get_by_text(f"Grad-CAM: {found}")).to_be_visible()
        expect(page.get_by_text("Choose an image")).to_have_count(0)
        chosen = other


def test_no_request_leaves_the_host(server, browser) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(1000 * LIMIT)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    foreign = re.compile(
        rf"^(?!{re.escape(server[0])}|{re.escape(server[0].replace('http', 'ws'))})"
    )
    context.route(foreign, lambda route: route.abort())
    page = context.new_page()
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws://", "http://")))
    page.goto(server[0])
    expect(page.get_by_text("Grad-CAM: Melanoma")).to_be_visible()
    for name in (*PAGES, "One image"):
        visit(page, name)
        # A tab's icon is fetched by the browser and not by the page: no event tells of it.
        icons = page.locator("link[rel~=icon]").evaluate_all("all => all.map(each => each.href)")
        asked += [icon for icon in icons if not icon.startswith("data:")]
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith((server[0], "data:", "blob:"))] == []
    context.close()


def test_a_batch_and_its_table(page, classifier: Classifier) -> None:
    page.get_by_role("link", name="Batch").click()
    own = [(path.name, path.read_bytes()) for path in samples.paths()]
    files = [*own, ("bad.jpg", b"just words")]
    page.locator("input[type=file]").set_input_files([
        {"name": name, "mimeType": "image/jpeg", "buffer": data} for name, data in files
    ])  # fmt: skip
    expect(page.get_by_text("4 of 5 images have an answer")).to_be_visible()
    expect(page.get_by_text("Not read")).to_be_visible()
    photograph(page, "batch-table")
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "Download CSV").decode())))
    assert [row["source"] for row in rows] == [name for name, _ in own]
    for row, (_, data) in zip(rows, own, strict=True):
        for code, value in classifier.predict(data).probabilities.items():
            assert abs(float(row[f"p_{code}"]) - value) < 1e-3


def test_a_storm_of_changes_ends_at_the_last(page) -> None:
    names = ("Grad-CAM++", "LayerCAM", "Eigen-CAM", "HiResCAM", "Saliency")
    for name in (*names, *names):
        choose(page, "Method", name)
    expect(page.get_by_text("Saliency: Melanoma")).to_be_visible()
    expect(page.get_by_text(re.compile("Traceback|Error"))).to_have_count(0)


def test_it_works_by_keyboard_alone(page) -> None:
    page.get_by_role("combobox", name="Method").focus()
    page.keyboard.type("LayerCAM")
    page.keyboard.press("Enter")
    expect(page.get_by_text("LayerCAM: Melanoma")).to_be_visible()


def places(page) -> list[dict[str, float] | None]:
    """Where the image and the button stand at one moment; `None` where one is not drawn."""
    found: list[dict[str, float] | None] = page.evaluate("""() => [
        document.querySelector("img[alt='The image']"),
        [...document.querySelectorAll("button")].find(each => each.innerText.includes("JSON")),
    ].map(each => each?.checkVisibility() ? each.getBoundingClientRect().toJSON() : null)""")
    return found


def test_nothing_jumps_while_it_computes(page) -> None:
    expect(page.get_by_text("Grad-CAM: Melanoma")).to_be_visible()
    expect(page.get_by_role("button", name="JSON")).to_be_visible()
    expect(page.get_by_alt_text("The image", exact=True)).to_be_visible()
    settled(page)
    image, button = places(page)
    choose(page, "Method", "SmoothGrad")
    bar = page.get_by_text(re.compile(r"of 25 network passes, about \d+ s left"))
    expect(bar).to_be_visible()
    seen = []
    while bar.is_visible():
        seen.append(places(page))
        page.wait_for_timeout(100)  # a browser that is asked all the time takes the network's share
    expect(page.get_by_text("SmoothGrad: Melanoma")).to_be_visible()
    expect(page.get_by_role("button", name="JSON")).to_be_visible()
    seen.append(places(page))
    assert len(seen) > 3 and image and button and seen[-1] == [image, button]
    # the last answer's downloads are away until the next ones take their place
    assert all(each == image and other in (None, button) for each, other in seen)
