"""The demo in a frame of another site, in a real browser.

Needs Chromium: ``sh scripts/debian`` installs Debian's.
"""

from collections.abc import Iterator

import pytest
from demo_server import CHROMIUM, LIMIT, chromium, running

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NO BROWSER: the demo is not tested in one; sh scripts/debian"
)
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=1000 * LIMIT)
SITES = ("https://site.example", "http://site.example")


@pytest.fixture(scope="module", params=[True, False], ids=["framed", "alone"])
def server(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, bool]]:
    with running(tmp_path_factory.mktemp("demo"), framed=request.param) as (address, _):
        yield address, request.param


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    # Else no site may frame what lies on this machine, whatever the demo answers.
    with chromium("--disable-features=LocalNetworkAccessChecks") as found:
        yield found


@pytest.mark.parametrize("site", SITES)
def test_a_page_over_https_may_frame_a_space_and_no_other_page(server, browser, site: str) -> None:
    address, framed = server
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(1000 * LIMIT)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    content = f"<iframe src='{address}' width=1200 height=800></iframe>"
    page.route(f"{site}/", lambda route: route.fulfill(body=content, content_type="text/html"))
    page.goto(f"{site}/")
    frame = page.frame_locator("iframe")
    answer = frame.get_by_text("Grad-CAM: Melanoma")
    while not answer.count() and not any("frame-ancestors" in text for text in said):
        page.wait_for_timeout(50)
    if framed and site.startswith("https:"):
        expect(answer).to_be_visible()
    else:
        assert frame.get_by_text("Classify a skin lesion").count() == 0
    context.close()
