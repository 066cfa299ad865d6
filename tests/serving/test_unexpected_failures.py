"""A failure that nobody foresaw, in each route that brings an image: answered, counted, logged."""

import base64
import io
import json

import pytest
from serving_clients import RED, files, services, value

from skinxai.serving.logs import json_logs

IMAGE = {"name": "image", "shape": [1], "datatype": "BYTES"}
BODIES = {
    "/v1/predict": {"files": files(RED)},
    "/v1/explain": {"files": files(RED)},
    "/v1/report": {"files": files(RED)},
    "/v2/models/colours/infer": {
        "json": {"inputs": [IMAGE | {"data": [base64.b64encode(RED).decode()]}]}
    },
    "/invocations": {"content": RED, "headers": {"content-type": "image/png"}},
}


@pytest.mark.parametrize("url", BODIES)
def test_it_is_answered_as_other_errors_are(monkeypatch, url: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a secret")

    stream = io.StringIO()
    with services() as make:
        client = make()
        for name in ("_rows", "slowly"):
            monkeypatch.setattr(client.app.service, name, fail)
        with json_logs(stream):
            answer = client.post(url, **BODIES[url])
        found = answer.json()
        assert answer.status_code == found["status"] == 500 and found["code"] == "internal"
        assert found["request_id"] == answer.headers["x-request-id"]
        assert ("error" in found) == url.startswith("/v2") and "secret" not in answer.text
        assert value(client, 'skinxai_errors_total{code="internal"}') == 1
        if url not in ("/v1/explain", "/v1/report"):
            assert value(client, 'skinxai_images_total{outcome="refused"}') == 1
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("exception") for line in lines] == ["RuntimeError", None]
    assert lines[-1]["code"] == "internal"
    assert "secret" not in stream.getvalue()
