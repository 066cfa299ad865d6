"""The service with the settings of compose.yaml, beside a real Redis, PostgreSQL and Prometheus."""

import hashlib
import re
import urllib.parse
from pathlib import Path

import postgres_server
import pytest
import yaml
from deployed_service import DEPLOY, KEY, asked, of_prometheus, started, watching
from places import ROOT
from prometheus_server import PROMETHEUS
from redis_server import REDIS, RedisServer, free_port
from waiting import wait_for

from skinxai import samples

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
