"""``skinxai serve`` as deploy/ starts it, and the Prometheus of deploy/ beside it."""

import http.client
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import warm
from places import ROOT
from prometheus_server import PROMETHEUS
from redis_server import free_port
from waiting import wait_for

DEPLOY = ROOT / "deploy"
KEY = "skinxai_of-prometheus-and-the-test-alone-0123456789"
"""What Prometheus, and the test, show to the service."""


@contextmanager
def started(environment: dict[str, str], folder: Path, port: int) -> Iterator[subprocess.Popen]:
    """``skinxai serve`` in a process, once it is ready."""
    command = [sys.executable, "-c", "from skinxai.cli import main; main()", "serve"]
    with (folder / "log").open("wb") as log:
        process = warm.Popen(
            command, env=os.environ | environment, stdout=log, stderr=log, cwd=folder
        )
    try:
        wait_for(lambda: process.poll() is not None or asked(port, "/readyz")[0] == 200)
        assert process.poll() is None, (folder / "log").read_text()
        yield process
    finally:
        process.kill()
        process.wait()


def asked(port: int, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body of what the service answers; 0 where it does not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


@contextmanager
def watching(
    port: int, folder: Path, alertmanager: int = 9, rules: Path = DEPLOY / "prometheus/alerts.yml"
) -> Iterator[str]:
    """Prometheus with the configuration of deploy/; it looks each second.

    Args:
        port: of the service.
        folder: where it works.
        alertmanager: port of Alertmanager; nobody listens on 9.
        rules: its alerts.

    Yields:
        The beginning of the addresses of its API.
    """
    own = free_port()
    (folder / "metrics_key").write_text(KEY)
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    for old, new in (
        ("skinxai:8000", f"127.0.0.1:{port}"),
        ("localhost:9090", f"127.0.0.1:{own}"),
        ("/run/secrets/metrics_key", str(folder / "metrics_key")),
        ("[alerts.yml]", f"[{rules}]"),
        ("alertmanager:9093", f"127.0.0.1:{alertmanager}"),
        ("interval: 15s", "interval: 1s"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "prometheus.yml").write_text(text)
    assert PROMETHEUS is not None
    command = [
        PROMETHEUS, f"--config.file={folder / 'prometheus.yml'}", "--log.level=error",
        f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{own}",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{own}/api/v1/"
    finally:
        process.terminate()
        process.wait()


def of_prometheus(url: str) -> dict:
    """The data of an answer of Prometheus; empty where it does not answer."""
    try:
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]
    except OSError:
        return {}
