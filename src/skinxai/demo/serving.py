"""`serve`: start the demo's server."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from skinxai.errors import OptionError

SETTINGS = {
    "browser.gatherUsageStats": "false",
    "client.showErrorDetails": "none",
    "client.showErrorLinks": "false",
    "client.toolbarMode": "minimal",
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "200",
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
) -> None:
    """Serve the demo until it is interrupted; the model is loaded before the first visitor comes.

    Args:
        model: folder, or name on the Hugging Face Hub; ``None``: the bundled model.
        port: where it listens.
        address: of the interface; ``"0.0.0.0"`` for all.
        browser: open one.
        framed: the page stands in a frame of another site, over HTTPS, as in a Space: its uploads
            need a cookie that other sites' pages send as well.

    Raises:
        OptionError: streamlit is not installed, or nothing can listen at the address and port.
        ModelError: no such model, or a damaged one.
    """
    try:
        from starlette.formparsers import MultiPartParser
        from streamlit.web import cli
    except ImportError as error:
        raise OptionError(
            "the demo needs the package streamlit: pip install 'skinxai[demo]'."
        ) from error
    from skinxai.demo import answering

    _check_free(address, port)
    if model is not None:
        os.environ[answering.MODEL] = model
    answering.shared().warm()
    MultiPartParser.spool_max_size = sys.maxsize  # uploads above 1 MiB would go to the disk
    settings = SETTINGS | {
        "server.port": str(port),
        "server.address": address,
        "server.headless": str(not browser).lower(),
        # Else a server for all interfaces asks another one what its address is.
        "browser.serverAddress": "localhost" if address in ("0.0.0.0", "::") else address,
    }
    if framed:
        settings["server.xsrfCookieSameSite"] = "none"
    options = [f"--{name}={value}" for name, value in settings.items()]
    cli.main(["run", str(Path(__file__).with_name("app.py")), *options], standalone_mode=False)


def _check_free(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address, port))
    except (OSError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise OptionError(
            f"port {port} of {address!r} must be free to listen at, it is not: {reason}; "
            f"choose another."
        ) from error
