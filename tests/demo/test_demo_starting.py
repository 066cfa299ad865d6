"""The demo starts on a fresh machine: it asks nothing and writes no file of Streamlit."""

import os
import pty
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import warm
from demo_server import address_of
from waiting import LIMIT, wait_for

pytest.importorskip("streamlit")

DEMO = [sys.executable, "-c", "from skinxai.cli import main; main()", "demo", "--port", "0"]


def fresh(home: Path) -> dict[str, str]:
    """The environment of somebody who never started Streamlit, with a browser that takes notes."""
    browser = home / "browser"
    browser.write_text(f"#!/bin/sh\necho \"$1\" > '{home}/opened.part'\n"
                       f"mv '{home}/opened.part' '{home}/opened'\n")  # fmt: skip
    browser.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("STREAMLIT", "XDG"))}
    return kept | {"HOME": str(home), "BROWSER": f"{browser} %s", "HF_HUB_OFFLINE": "1"}


@pytest.mark.parametrize(
    ("terminal", "before"),
    [
        (True, None),
        (False, None),
        (True, '[general]\nemail = "no address"\n'),
        (True, "[damaged"),
    ],
)
def test_it_starts_in_a_fresh_home(tmp_path: Path, terminal: bool, before: str | None) -> None:
    files = tmp_path / ".streamlit"
    if before is not None:
        files.mkdir()
        (files / "credentials.toml").write_text(before)
    ours, its = pty.openpty()  # nobody types
    process = warm.Popen(
        DEMO, env=fresh(tmp_path), cwd=tmp_path, text=True, stderr=subprocess.PIPE,
        stdin=its if terminal else subprocess.DEVNULL,
        stdout=its if terminal else subprocess.PIPE,
    )  # fmt: skip
    os.close(its)
    if terminal:
        process.stdout = os.fdopen(ours, errors="replace")
    try:
        place = address_of(process, tmp_path / "log.txt")
        with urllib.request.urlopen(place, timeout=LIMIT) as answer:
            assert answer.status == 200 and b"<title>Streamlit" in answer.read()
        opened = tmp_path / "opened"
        wait_for(lambda: opened.exists() or process.poll() is not None)
        assert opened.read_text() == f"{place}\n"
    finally:
        process.terminate()
        said = process.stderr.read()
        assert process.wait(LIMIT) is not None
        process.stderr.close()
        if not terminal:
            os.close(ours)
        process.stdout.close()
    assert "mail" not in (tmp_path / "log.txt").read_text() + said
    if before is None:
        assert not files.exists()
    else:
        assert [path.name for path in files.iterdir()] == ["credentials.toml"]
        assert (files / "credentials.toml").read_text() == before


@pytest.mark.parametrize(
    ("secrets", "output", "said"),
    [
        (
            'auth = "none"\n', os.devnull,
            "starting the demo's page failed: AttributeError: 'str' object has no attribute 'get'; "
            "check config.toml and secrets.toml in",
        ),
        ("", "/dev/full", "writing the output failed: No space left on device"),
    ],
)  # fmt: skip
def test_a_page_that_cannot_start_ends_the_demo(
    tmp_path: Path, secrets: str, output: str, said: str
) -> None:
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(secrets)
    with Path(output).open("w") as stream:
        ended = warm.run(
            DEMO, env=fresh(tmp_path), cwd=tmp_path, text=True, stdin=subprocess.DEVNULL,
            stdout=stream, stderr=subprocess.PIPE, timeout=LIMIT,
        )  # fmt: skip
    assert ended.returncode == 2 and f"skinxai: {said}" in ended.stderr
    assert "Traceback" not in ended.stderr
