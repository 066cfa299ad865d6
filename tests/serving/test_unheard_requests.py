"""What is answered before a request is whole: counted, and within one budget of memory."""

import json
import logging

import pytest
from running_service import Running, answer_of, png, running
from waiting import wait_for

from skinxai.serving import service as serving
from skinxai.web import connections

HEAD = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def counted(service: Running, series: str) -> float:
    rows = service.ask("GET", "/metrics").body.decode().splitlines()
    return sum(float(row.rpartition(" ")[2]) for row in rows if row.startswith(series + " "))


def test_answers_of_the_server_itself_are_counted_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "HEAD", 0.3)
    monkeypatch.setattr(connections, "GRACE", 0.3)
    monkeypatch.setattr(connections, "LOOK", 0.05)
    slow = 'skinxai_requests_total{method="other",route="other",status="408"}'
    bad = 'skinxai_requests_total{method="other",route="other",status="400"}'
    with caplog.at_level(logging.INFO, "skinxai.serving"), running() as service:
        first = service.raw(b"POST /v1/")
        assert first.code == "too_slow"
        assert service.raw(b"no HTTP\r\n\r\n").code == "bad_request"
        assert (counted(service, slow), counted(service, bad)) == (1, 1)
        late = service.raw(f"{HEAD}Content-Length: 9\r\n\r\nabc".encode())
        assert late.code == "too_slow"
        left = 'skinxai_requests_total{method="POST",route="/v1/predict",status="499"}'
        wait_for(lambda: counted(service, left) == 1)
        assert counted(service, slow) == 1  # the application has counted it
        assert counted(service, 'skinxai_errors_total{code="too_slow"}') == 2
        assert counted(service, 'skinxai_errors_total{code="internal"}') == 0
    lines = [each.request for each in caplog.records if hasattr(each, "request")]
    (line,) = [each for each in lines if each.status == 408]
    assert (line.request_id, line.code) == (json.loads(first.body)["request_id"], "too_slow")


def test_one_connection_too_many_is_told_when_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as service:
        monkeypatch.setattr(connections, "MOST", 0)
        refused = service.raw(b"")
        assert (refused.status, refused.code) == (503, "too_many_connections")
        assert refused.headers["retry-after"] == "1"


def test_bodies_that_arrive_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "BODIES", 0)  # then it is that of the largest request
    part = f"{HEAD}Content-Length: 900000\r\n\r\n".encode() + bytes(700_000)
    with running(max_body_mb=1) as service, service.connect() as first:
        first.sendall(part)
        wait_for(lambda: service.app.service.held == 700_000)
        with service.connect() as second:
            second.sendall(part)
            found = answer_of(second)
            assert (found.status, found.code) == (503, "queue_full")
            assert found.headers["retry-after"] == "1" and found.headers["connection"] == "close"
        wait_for(lambda: service.app.service.held == 700_000)
        first.close()
        wait_for(lambda: service.app.service.held == 0)
        assert service.predict(png()).status == 200
