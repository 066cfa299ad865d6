"""A real Prometheus that scrapes one address, and what it then knows."""

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis_server import free_port
from waiting import wait_for

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed.")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed.")
CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: skinxai, static_configs: [{{targets: ["{target}"]}}]}}]
"""


class PrometheusServer:
    """What a running Prometheus can be asked.

    Args:
        port: of its own pages.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self._get("/-/ready")
        except OSError:
            return False
        return True

    def values(self, query: str) -> dict[tuple[str, ...], float]:
        """Series of a query: the values of their labels, by the labels' names, to the number."""
        found = json.loads(self._get("/api/v1/query?" + urllib.parse.urlencode({"query": query})))
        own = ("__name__", "instance", "job")
        return {
            tuple(row["metric"][name] for name in sorted(set(row["metric"]) - set(own))): float(
                row["value"][1]
            )
            for row in found["data"]["result"]
        }

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path) as answer:
            found: bytes = answer.read()
            return found


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[PrometheusServer]:
    """A Prometheus that asks ``http://TARGET/metrics`` each second.

    Args:
        target: ``host:port``.
        folder: where it works.
    """
    assert PROMETHEUS is not None
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(CONFIG.format(target=target))
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
            ],
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        server = PrometheusServer(port)
        wait_for(server.ready)
        yield server
    finally:
        process.terminate()
        process.wait()


def lint(text: bytes) -> Any:
    """What ``promtool check metrics`` says of an exposition; empty where it finds nothing."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True)
    return (done.stdout + done.stderr).decode() if done.returncode else ""
