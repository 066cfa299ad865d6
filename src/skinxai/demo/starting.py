"""`serve`: start the demo's server."""

import asyncio
import gc
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skinxai.errors import OptionError, SkinxaiError
from skinxai.images.limits import check_max_pixels
from skinxai.memory import give_back

EVERY = 10.0
"""Seconds between two times that the memory of visitors who left goes back to the system."""
SETTINGS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "logger.hideWelcomeMessage": True,
    "server.fileWatcherType": "none",
    "server.disconnectedSessionTTL": 60,  # seconds that a visitor who left may come back within
    # No visitor may install Streamlit's tools for agents in the server's home, and nobody is asked
    # for an e-mail address on the terminal.
    "server.headless": True,
    "server.maxUploadSize": 200,
    "theme.baseRadius": "medium",
    "theme.light.primaryColor": "#145a96",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f3f5f7",
    "theme.light.textColor": "#1b2430",
    "theme.dark.primaryColor": "#6db3f2",
    "theme.dark.backgroundColor": "#12161b",
    "theme.dark.secondaryBackgroundColor": "#1f262e",
    "theme.dark.textColor": "#e6eaef",
}


def serve(
    model: str | None = None,
    *,
    port: int = 8501,
    address: str = "localhost",
    browser: bool = True,
    framed: bool = False,
    training_images: str | os.PathLike[str] | None = None,
    max_pixels: int | None = None,
    review: str | None = None,
    review_images: str | os.PathLike[str] | None = None,
) -> None:
    """Serve the demo until it is interrupted; the model is loaded before the first visitor comes.

    Nothing is asked on the terminal, and no file of Streamlit's is written.

    Args:
        model: folder, or name on the Hugging Face Hub; ``None``: the bundled model.
        port: where it listens; 0: any free port, which the printed address names.
        address: of the interface; ``"0.0.0.0"`` for all.
        browser: open one.
        framed: the page stands in a frame of another site, over HTTPS, as in a Space: its uploads
            need a cookie that other sites' pages send as well.
        training_images: folder with the images that the model was trained on, in any subfolders:
            the most similar training lesions are shown from it.
        max_pixels: most pixels of a visitor's image, >= 1; ``None``: 25 million, or what the
            environment variable ``SKINXAI_DEMO_MAX_PIXELS`` says.
        review: URL of a `skinxai.review.ReviewStore`: a page shows its queue, and everybody who can
            open the demo can see its cases and label them. ``None``: no such page.
        review_images: folder that keeps the store's images.

    Raises:
        OptionError: streamlit is not installed or cannot start its page, nothing can listen at the
            address and port, there is no such folder, or ``max_pixels`` is outside its rule.
        ModelError: no such model, or a damaged one.
        OutputError: it cannot say where it listens.
        StoreError: the review store cannot be opened.
    """
    try:
        import streamlit as st
        from starlette.formparsers import MultiPartParser
    except ImportError as error:
        raise OptionError(
            "the demo needs the package streamlit: pip install 'skinxai[demo]'."
        ) from error
    from uvicorn.config import HTTP_PROTOCOLS

    from skinxai.demo import answering, similar
    from skinxai.demo.middleware import Guarded, headers
    from skinxai.web.connections import Patient

    if max_pixels is not None:
        check_max_pixels(max_pixels)
        os.environ[answering.PIXELS] = str(max_pixels)
    if model is not None:
        os.environ[answering.MODEL] = model
    if training_images is not None:
        os.environ[similar.FOLDER] = similar.checked(training_images)
    if review is not None:
        from skinxai.demo import reviewing

        os.environ[reviewing.URL] = review
        os.environ[reviewing.IMAGES] = os.fspath(review_images or "")
        reviewing.opened()
    answers = answering.shared()
    _check_free(address, port)
    answers.warm()
    gc.freeze()  # what is loaded stays: Streamlit looks for garbage after each run of a page
    MultiPartParser.spool_max_size = sys.maxsize  # uploads above 1 MiB would go to the disk
    # Else a server for all interfaces asks another one what its address is.
    shown = "localhost" if address in ("0.0.0.0", "::") else address
    settings = SETTINGS | {
        "server.port": port,
        "server.address": address,
        "browser.serverAddress": shown,
    }
    if framed:
        settings["server.xsrfCookieSameSite"] = "none"

    @asynccontextmanager
    async def announced(_: Any) -> AsyncIterator[dict[str, Any] | None]:
        """Say where it listens, once it does: the port may have been 0."""
        host = f"[{shown}]" if ":" in shown else shown
        place = f"http://{host}:{st.get_option('server.port')}"
        sys.stdout.write(f"The demo is at {place}; Ctrl+C ends it.\n")
        sys.stdout.flush()
        if browser and _has_windows():
            threading.Thread(target=webbrowser.open, args=(place,), daemon=True).start()
        tidying = asyncio.create_task(_tidy())
        try:
            yield None
        finally:
            tidying.cancel()

    Patient.answers = tuple(
        (name.lower().encode(), value.encode()) for name, value in headers(framed).items()
    )
    HTTP_PROTOCOLS["auto"] = f"{Patient.__module__}:{Patient.__name__}"
    app = Guarded(Path(__file__).with_name("script.py"), address, framed, announced)
    try:
        app.run(config=settings)
    except SystemExit:
        if app.failure is None:
            raise
    if isinstance(app.failure, SkinxaiError):
        raise app.failure
    if app.failure is not None:
        reason = f"{type(app.failure).__name__}: {app.failure}".rstrip(".: ")
        raise OptionError(
            f"starting the demo's page failed: {reason}; check config.toml and secrets.toml in the "
            f"folders .streamlit, here and at home, and the environment variables STREAMLIT_*, or "
            f"update streamlit."
        ) from app.failure


async def _tidy() -> None:
    """Give the memory of files back whose visitors left."""
    while True:
        await asyncio.sleep(EVERY)
        await asyncio.to_thread(give_back)


def _has_windows() -> bool:
    """Whether a browser can have a window; else one of the terminal's would take it over."""
    needed = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in needed)


def _check_free(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address, port))
    except (OSError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise OptionError(
            f"listening at port {port} of {address!r} failed: {reason}; choose another port or "
            f"address."
        ) from error
