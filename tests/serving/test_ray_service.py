"""The service under Ray Serve, with two replicas."""

import http.client
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from redis_server import free_port
from waiting import LIMIT

from skinxai import Classifier, samples
from skinxai.interruption import handlers_kept
from skinxai.model_folders.files import BUNDLED
from skinxai.review import ReviewStore
from skinxai.serving.pool import members_of
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
def test_two_replicas_share_the_requests(tmp_path, monkeypatch) -> None:
    from ray import serve

    from skinxai.serving.ray_service import ray_application

    port = free_port()
    monkeypatch.setattr("ray.serve._private.api.HTTP_PROXY_TIMEOUT", LIMIT)  # not 60 s
    with handlers_kept():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    shutil.copytree(BUNDLED, tmp_path / "runs" / "model")
    monkeypatch.chdir(tmp_path)  # replicas stay in the folder where Ray began
    try:
        serve.start(http_options={"port": port, "host": "127.0.0.1"})
        settings = ServiceSettings(("runs/model",), cache="off", drift=False)
        serve.run(ray_application(settings, replicas=2))
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


@pytest.mark.filterwarnings("ignore")
def test_replicas_get_no_path_that_means_another_place_elsewhere(tmp_path, monkeypatch) -> None:
    from skinxai.serving.ray_service import _absolute

    here, there = tmp_path / "a=b %41", tmp_path / "there"
    (here / "runs" / "new=2").mkdir(parents=True)
    there.mkdir()
    monkeypatch.chdir(here)
    given = ServiceSettings(
        ("runs/new=2", "runs/new=2=0.1", "org/model=3", "bundled"), ("runs", "org/shadow"),
        api_keys=Path("keys"), review="sqlite:///new review.db", keep_images=Path("images"),
    )  # fmt: skip
    expected = members_of(given)
    sent = _absolute(given)
    monkeypatch.chdir(there)
    assert members_of(sent) == expected
    assert [each.source for each in expected] == [
        str(here / "runs" / "new=2"), str(here / "runs" / "new=2"), "org/model", "bundled",
        str(here / "runs"), "org/shadow",
    ]  # fmt: skip
    assert (sent.api_keys, sent.keep_images) == (here / "keys", here / "images")
    ReviewStore.open(sent.review).close()
    assert (here / "new review.db").is_file() and not any(there.iterdir())
