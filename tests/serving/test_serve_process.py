"""``skinxai serve`` as a process: its log, its metrics in a real Prometheus, and its signals."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import warm
from prometheus_server import lint, needs_prometheus, needs_promtool, scraping
from serving_clients import NAME
from waiting import LIMIT, wait_for

from skinxai import Classifier, samples
from skinxai.serving.service_metrics import REASONS

START = "from skinxai.cli import main; main()"
BOUNDARY = "a-boundary"


class Process:
    """A running service.

    Args:
        port: where it listens.
        log: what it writes to standard error.
        process: of the system.
    """

    def __init__(self, port: int, log: Path, process: subprocess.Popen[str]) -> None:
        self.port, self.log, self.process = port, log, process

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str):
        """Status, headers and content of an answer."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)
        try:
            link.request(method, path, body, headers)
            found = link.getresponse()
            return found.status, found.headers, found.read()
        finally:
            link.close()

    def predict(self, image: bytes, path: str = "/v1/predict"):
        """Ask with a form whose part has a file name."""
        head = f'Content-Disposition: form-data; name="images"; filename="{NAME}"\r\n\r\n'
        body = f"--{BOUNDARY}\r\n{head}".encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        status, headers, text = self.ask(
            "POST", path, body,
            **{"Content-Type": kind, "Authorization": "Bearer very-secret"},
        )  # fmt: skip
        return status, headers, json.loads(text)

    def ready(self) -> bool:
        """Whether it takes requests."""
        try:
            return self.ask("GET", "/readyz")[0] == 200
        except OSError:
            return False


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Process]:
    """The service on a free port, until the context ends; it must end by itself then."""
    log = folder / "service.log"
    with log.open("wb") as errors:
        process = warm.Popen(
            [sys.executable, "-c", START, "serve", "--port", "0", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            cwd=folder, env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    killer = threading.Timer(LIMIT, process.kill)
    killer.start()
    try:
        found = re.search(r":(\d+);", process.stdout.readline())
        assert found, log.read_text()
        made = Process(int(found[1]), log, process)
        wait_for(lambda: made.ready() or process.poll() is not None)
        yield made
        process.terminate()
        assert process.wait() in (0, -signal.SIGTERM), log.read_text()
    finally:
        killer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the bundled model, and one under another revision."""
    for name in ("model", "other"):
        Classifier.from_pretrained().save_pretrained(tmp_path / name, name=name)
    return tmp_path


@needs_prometheus
@needs_promtool
def test_log_metrics_and_reload(folder) -> None:
    with serving(folder, "--model", "model", "--max-body-mb", "1", "--cache", "memory") as service:
        image = samples.paths()[0].read_bytes()
        for _ in range(2):
            status, headers, found = service.predict(image, "/v1/predict?subject=Mustermann")
            assert status == 200
        first = headers["X-Skinxai-Model"]
        assert first.startswith("model@") and first == found["results"][0]["model"]
        assert service.predict(b"no image")[0] in (415, 422)
        assert service.ask("GET", "/patients/Mustermann?token=very-secret")[0] == 404
        shutil.copytree(folder / "other", folder / "model", dirs_exist_ok=True)
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: service.predict(image)[1]["X-Skinxai-Model"].startswith("other@"))
        (folder / "model" / "model.safetensors").write_bytes(b"torn")
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "goes on as it is" in service.log.read_text())
        assert service.predict(image)[1]["X-Skinxai-Model"].startswith("other@")
        text = service.ask("GET", "/metrics")[2]
        assert lint(text) == ""
        with scraping(f"127.0.0.1:{service.port}", folder) as server:
            wait_for(lambda: server.values("skinxai_ready"))
            value = server.values
            assert value("skinxai_ready") == {(): 1}
            rows = value("skinxai_requests_total")
            assert rows["POST", "/v1/predict", "200"] >= 4
            assert rows["GET", "other", "404"] == 1
            assert value("skinxai_cache_requests_total")[("hit",)] >= 1
            (info,) = value("skinxai_model_info")
            assert info[0] == "model" and info[2] == "live" and info[1] not in first
            assert value("skinxai_images_total")[("refused",)] == 1
            assert value("sum(skinxai_decisions_total)")[()] >= 4
    told = service.log.read_text() + text.decode()
    for secret in (NAME, "Mustermann", "very-secret", "subject="):
        assert secret not in told, secret
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    requests = [line for line in lines if line.get("route") == "/v1/predict"]
    assert requests[0]["model"] == first and requests[0]["images"] == 1
    assert {line["level"] for line in lines} <= {"info", "warning", "error"}


def test_every_reason_for_a_refusal_is_one_of_the_table() -> None:
    assert set(REASONS.values()) == {
        "queue_full", "deadline", "rate", "shutdown", "loading", "body", "key", "host",
    }  # fmt: skip
