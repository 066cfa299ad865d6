"""A running demo and a real browser, for tests and benchmarks."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_FILES = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))"
DEMO = (sys.executable, "-c", f"{NO_FILES}; from skinxai.cli import main; main()", "demo")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(folder: Path) -> Iterator[tuple[str, Path]]:
    """The demo's address, and its log. It can write no file of more than 64 KiB."""
    port, log = free_port(), folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*DEMO, "--no-browser", "--port", str(port)], stdout=out, stderr=out, cwd=folder,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://localhost:{port}", log
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def chromium() -> Iterator[object]:
    """The system's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()
