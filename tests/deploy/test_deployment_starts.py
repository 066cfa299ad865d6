"""The service with the settings of compose.yaml, beside a real Redis, PostgreSQL and Prometheus."""

import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import postgres_server
import pytest
import yaml
from places import ROOT
from prometheus_server import PROMETHEUS
from redis_server import REDIS, RedisServer, free_port
from waiting import wait_for

from skinxai import samples

DEPLOY = ROOT / "deploy"
KEY = "skinxai_of-prometheus-and-the-test-alone-0123456789"
MISSING = REDIS is None or PROMETHEUS is None or postgres_server.programs() is None
pytestmark = pytest.mark.skipif(MISSING, reason="Redis, PostgreSQL or Prometheus is missing.")


def settings(folder: Path, port: int, redis: str, database: str) -> dict[str, str]:
    """The variables of the Dockerfile and of compose.yaml, with this machine's places."""
    text = (DEPLOY / "Dockerfile").read_text()
    found = dict(re.findall(r"(SKINXAI_SERVE_\w+)=(\S+)", text))
    found |= yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["skinxai"][
        "environment"
    ]
    (folder / "keys").write_text(hashlib.sha256(KEY.encode()).hexdigest() + "\n")
    own = {
        "SKINXAI_SERVE_MODEL": str(ROOT / "src/skinxai/bundled"),
        "SKINXAI_SERVE_HOST": "127.0.0.1",
        "SKINXAI_SERVE_PORT": str(port),
        "SKINXAI_SERVE_ALLOW_HOST": "localhost skinxai",
        "SKINXAI_SERVE_API_KEYS": str(folder / "keys"),
        "SKINXAI_SERVE_CACHE": redis,
        "SKINXAI_SERVE_REVIEW": database,
    }
    assert set(own) - {"SKINXAI_SERVE_PORT"} <= set(found)
    return found | own


@contextmanager
def started(environment: dict[str, str], folder: Path, port: int) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", "from skinxai.cli import main; main()", "serve"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
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
def watching(port: int, folder: Path) -> Iterator[str]:
    """Prometheus with the configuration of deploy/, its target and key changed."""
    own = free_port()
    (folder / "metrics_key").write_text(KEY)
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    for old, new in (
        ("skinxai:8000", f"127.0.0.1:{port}"),
        ("localhost:9090", f"127.0.0.1:{own}"),
        ("/run/secrets/metrics_key", str(folder / "metrics_key")),
        ("[alerts.yml]", f"[{DEPLOY / 'prometheus/alerts.yml'}]"),
        ("alertmanager:9093", "127.0.0.1:9"),
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
    try:
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]
    except OSError:
        return {}


def test_it_starts_answers_records_and_is_watched(tmp_path: Path) -> None:
    redis, port = RedisServer(tmp_path), free_port()
    image = samples.paths()[0].read_bytes()
    with postgres_server.running() as postgres:
        redis.start()
        try:
            environment = settings(tmp_path, port, redis.url, postgres.new_database())
            with started(environment, tmp_path, port) as process:
                status, _ = asked(port, "/v1/predict", image, **{"Content-Type": "image/jpeg"})
                assert status == 401
                key = {"Authorization": f"Bearer {KEY}", "Content-Type": "image/jpeg"}
                status, body = asked(port, "/v1/predict", image, **key)
                assert status == 200, body
                with redis.client() as client:
                    wait_for(lambda: client.dbsize() == 1)
                with watching(port, tmp_path) as prometheus:
                    answered = 'skinxai_images_total{outcome="answered"} == 1'
                    query = f"{prometheus}query?" + urllib.parse.urlencode({"query": answered})
                    wait_for(lambda: of_prometheus(query).get("result"))

                    def loaded() -> bool:
                        groups = of_prometheus(f"{prometheus}rules").get("groups", [])
                        rules = [rule for group in groups for rule in group["rules"]]
                        return len(rules) == 16 and all(r["health"] == "ok" for r in rules)

                    wait_for(loaded)
                process.terminate()
                assert process.wait() in (0, -15, 143)
        finally:
            redis.stop()
