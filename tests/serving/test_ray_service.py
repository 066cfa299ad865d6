"""The service under Ray Serve, with two replicas."""

import http.client
import os
import re
import time

import pytest
from redis_server import free_port
from waiting import LIMIT

from skinxai import Classifier, samples
from skinxai.serving.service_settings import ServiceSettings

for name in ("PROXY_READY_CHECK", "PROXY_HEALTH_CHECK"):  # 5 and 10 s are short on a busy machine
    os.environ[f"RAY_SERVE_{name}_TIMEOUT_S"] = str(LIMIT)
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (at 15 they starve on a busy machine)
ray = pytest.importorskip("ray", reason="ray is not installed.")
ASKED = 21  # odd: two replicas cannot have answered the same number


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str):
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        link.request(method, path, body, headers)
        found = link.getresponse()
        return found.status, found.headers, found.read()
    finally:
        link.close()


@pytest.mark.filterwarnings("ignore")
def test_two_replicas_share_the_requests(monkeypatch) -> None:
    from ray import serve

    from skinxai.serving.ray_service import ray_application

    port = free_port()
    monkeypatch.setattr("ray.serve._private.api.HTTP_PROXY_TIMEOUT", LIMIT)  # not 60 s
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"port": port, "host": "127.0.0.1"})
        serve.run(ray_application(ServiceSettings(cache="off", drift=False), replicas=2))
        states = serve.status().applications["default"].deployments["skinxai"].replica_states
        assert states == {"RUNNING": 2}
        image, kind = samples.paths()[0].read_bytes(), {"Content-Type": "image/jpeg"}
        alone = Classifier.from_pretrained()
        expected = alone.predict(image)
        for _ in range(ASKED):
            status, headers, text = ask(port, "POST", "/v1/predict", image, **kind)
            assert status == 200, text
            assert headers["X-Skinxai-Model"] == alone.model
            assert f'"label":"{expected.label}"'.encode() in text.replace(b" ", b"")
        assert ask(port, "POST", "/v1/predict", b"no image", **kind)[0] in (415, 422)
        answered: set[int] = set()
        end = time.monotonic() + LIMIT
        while len(answered) < 2 and time.monotonic() < end:
            page = ask(port, "GET", "/metrics")[2].decode()
            found = re.search(r'skinxai_images_total\{outcome="answered"\} (\d+)', page)
            answered.add(int(found[1]))
        assert sum(answered) == ASKED and 0 not in answered
    finally:
        serve.shutdown()
        ray.shutdown()
