"""An alert goes the whole way: from a service that stops, by the files of deploy/, to the pager.

Real: `skinxai serve`, Prometheus and Alertmanager. The pager is a loopback server that is spoken to
as PagerDuty is. The waiting times of deploy/ are shortened in copies of its files.
"""

import hashlib
import json
import queue
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployed_service import DEPLOY, KEY, of_prometheus, started, watching
from places import ROOT
from prometheus_server import PROMETHEUS
from redis_server import free_port
from waiting import LIMIT, wait_for

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = pytest.mark.skipif(
    ALERTMANAGER is None or PROMETHEUS is None,
    reason="NO ALERTMANAGER: no alert is sent to a pager; sh scripts/debian",
)
PAGER_KEY = "key-of-the-pager"
HEARTBEAT_TOKEN = "token-of-the-heartbeat"


class Pager:
    """Keeps what Alertmanager sends, by the path that it sends it to."""

    def __init__(self) -> None:
        self.got: dict[str, queue.Queue[tuple[dict[str, Any], str]]] = {
            "/pager": queue.Queue(), "/heartbeat": queue.Queue()
        }  # fmt: skip
        kept = self.got

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                kept[self.path].put((body, self.headers.get("authorization", "")))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Pager":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def event(self, action: str) -> dict[str, Any]:
        """The next event of the pager with this action."""
        while True:
            found, _ = self.got["/pager"].get(timeout=LIMIT)
            if found["event_action"] == action:
                return found


def changed(path: Path, target: Path, changes: dict[str, str]) -> Path:
    """A copy of a file with other words; each must be there."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    target.write_text(text)
    return target


@contextmanager
def alerting(pager: Pager, folder: Path) -> Iterator[int]:
    """Alertmanager with the configuration of deploy/; its port."""
    assert ALERTMANAGER is not None
    port = free_port()
    for name, secret in (("pager_key", PAGER_KEY), ("heartbeat_token", HEARTBEAT_TOKEN)):
        (folder / name).write_text(secret)
    config = changed(
        DEPLOY / "alertmanager/alertmanager.yml", folder / "alertmanager.yml",
        {
            "global:\n": f"global:\n  pagerduty_url: {pager.url}/pager\n",
            "https://heartbeat.example.org/skinxai": f"{pager.url}/heartbeat",
            "/run/secrets/": f"{folder}/", "group_wait: 10s": "group_wait: 0s",
            "group_interval: 5m": "group_interval: 1s",
        },
    )  # fmt: skip
    command = [
        ALERTMANAGER, f"--config.file={config}", f"--storage.path={folder / 'alerts'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def down() -> dict[str, Any]:
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    (rule,) = (r for group in groups for r in group["rules"] if r["alert"] == "SkinxaiDown")
    return rule


def test_a_service_that_stops_reaches_the_pager_and_its_return_too(tmp_path: Path) -> None:
    port, said = free_port(), down()["annotations"]
    (tmp_path / "keys").write_text(hashlib.sha256(KEY.encode()).hexdigest() + "\n")
    environment = {
        "SKINXAI_SERVE_HOST": "127.0.0.1", "SKINXAI_SERVE_PORT": str(port),
        "SKINXAI_SERVE_API_KEYS": str(tmp_path / "keys"),
    }  # fmt: skip
    rules = changed(
        DEPLOY / "prometheus/alerts.yml", tmp_path / "alerts.yml", {"for: 2m": "for: 1s"}
    )
    with (
        Pager() as pager,
        alerting(pager, tmp_path) as alertmanager,
        watching(port, tmp_path, alertmanager, rules) as prometheus,
    ):
        healthy = urllib.parse.urlencode({"query": 'up{job="skinxai"} == 1'})
        with started(environment, tmp_path, port):
            wait_for(lambda: of_prometheus(f"{prometheus}query?{healthy}").get("result"))
            wait_for(lambda: not pages(prometheus))
            beat, token = pager.got["/heartbeat"].get(timeout=LIMIT)
            assert [each["labels"]["alertname"] for each in beat["alerts"]] == ["Watchdog"]
            assert token == f"Bearer {HEARTBEAT_TOKEN}"
            while not pager.got["/pager"].empty():  # of the time before the service was there
                pager.got["/pager"].get()
        event = pager.event("trigger")
        assert event["routing_key"] == PAGER_KEY
        assert event["payload"]["severity"] == "critical"
        assert event["payload"]["summary"] == said["summary"]
        details = event["payload"]["custom_details"]
        assert (details["action"], details["runbook"]) == (said["action"], said["runbook"])
        page, _, anchor = details["runbook"].partition("#")
        assert f"## {anchor}\n" in (ROOT / page).read_text().lower()
        with started(environment, tmp_path, port):
            assert pager.event("resolve")["dedup_key"] == event["dedup_key"]


def pages(prometheus: str) -> list[str]:
    """Alerts that would wake somebody."""
    found = of_prometheus(f"{prometheus}alerts").get("alerts", [{"labels": {"severity": "page"}}])
    return [str(each["labels"]) for each in found if each["labels"]["severity"] == "page"]
