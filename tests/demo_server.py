"""A running demo and a real browser, for tests and benchmarks."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import warm
from waiting import LIMIT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NO_FILES = (
    "import resource, sys; sys.dont_write_bytecode = True; "  # else half of a module would be kept
    "resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))"
)
DEMO = (sys.executable, "-c", f"{NO_FILES}; from skinxai.cli import main; main()", "demo")
FRAMED = (
    sys.executable, "-c",
    f"{NO_FILES}; from skinxai.demo import serve; serve(port=0, browser=False, framed=True)",
)  # fmt: skip
LISTENS = re.compile(r"The demo is at (http://\S+);")


def address_of(process: subprocess.Popen, log: Path) -> str:
    """The address that the demo prints once it listens; its log where it ends before, or hangs."""
    killer = threading.Timer(LIMIT, process.kill)
    killer.start()
    try:
        for line in process.stdout:
            with log.open("a") as kept:
                kept.write(line)
            if found := LISTENS.search(line):
                return found[1]
    finally:
        killer.cancel()
    raise AssertionError(f"the demo does not listen:\n{log.read_text()}")


@contextmanager
def running(folder: Path, *options: str, framed: bool = False) -> Iterator[tuple[str, Path]]:
    """The demo's address, and its log. It can write no file of more than 64 KiB.

    Args:
        folder: for its log.
        options: of the command line.
        framed: as in a Space, which has no command line.
    """
    log = folder / "log.txt"
    command = FRAMED if framed else [*DEMO, "--no-browser", "--port", "0", *options]
    with log.open("wb") as errors:
        process = warm.Popen(
            command, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    try:
        yield address_of(process, log), log
    finally:
        process.terminate()
        process.communicate(timeout=LIMIT)


@contextmanager
def chromium(*arguments: str) -> Iterator[object]:
    """The system's Chromium without a window, with further arguments."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", *arguments]
        )
        yield found
        found.close()
