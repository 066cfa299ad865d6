"""One line of JSON for a request, and nothing in it that came in."""

import io
import json
import logging
import os
import threading

import pytest
from waiting import wait_for

from skinxai.serving import logs
from skinxai.serving.logs import JsonLine, RequestLine, json_logs, log_request

LINE = RequestLine("id-1", "/v1/predict", "POST", 200, 0.0123456789, 2, "lite1@abc", None)


def lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_request_is_one_line() -> None:
    stream = io.StringIO()
    with json_logs(stream):
        log_request(LINE)
        log_request(RequestLine("id-2", "other", "GET", 500, 1, code="internal"))
    first, second = lines(stream)
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info", "request_id": "id-1", "route": "/v1/predict", "method": "POST",
        "status": 200, "seconds": 0.012346, "images": 2, "model": "lite1@abc", "code": None,
    }  # fmt: skip
    assert second["level"] == "error" and second["code"] == "internal"


def test_an_error_is_logged_with_its_place_and_without_its_words() -> None:
    stream = io.StringIO()
    with json_logs(stream):
        try:
            raise ValueError("patient_0042.jpg")
        except ValueError:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    (line,) = lines(stream)
    assert line["message"] == "Exception in ASGI application"
    assert line["exception"] == "ValueError" and "test_logs.py" in line["places"][-1]
    assert "patient" not in stream.getvalue()


def test_a_message_stays_on_its_line() -> None:
    stream = io.StringIO()
    with json_logs(stream):
        logs.logger.warning("two\nlines \x1b[31m and %s", "more")
    (line,) = lines(stream)
    assert line["message"] == "two lines \\x1b[31m and more"


def test_the_servers_own_log_of_requests_is_off_and_comes_back() -> None:
    stream = io.StringIO()
    access = logging.getLogger("uvicorn.access")
    before = [logging.getLogger(name).handlers for name in (*logs.NAMES, "uvicorn.access")]
    with json_logs(stream):
        access.info("GET /v1/predict?token=secret HTTP/1.1")
    assert stream.getvalue() == ""
    assert before == [logging.getLogger(name).handlers for name in (*logs.NAMES, "uvicorn.access")]


def test_a_log_that_nobody_reads_stops_nothing_and_says_what_is_lost(monkeypatch) -> None:
    monkeypatch.setattr(logs, "WAITING", 10)
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe, json_logs(pipe):
        for _ in range(3000):  # above what the pipe holds
            log_request(LINE)
        found: list[str] = []
        read = os.fdopen(reading)
        reader = threading.Thread(target=lambda: found.extend(read))
        reader.start()
        wait_for(lambda: any("dropped" in line for line in found) or log_request(LINE))
    reader.join()
    read.close()
    (lost, *_) = [json.loads(line) for line in found if "dropped" in line]
    assert lost["level"] == "warning" and int(lost["message"].split()[0]) > 0


def test_a_log_whose_reader_left_stops_nothing() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError), os.fdopen(writing, "w") as pipe, json_logs(pipe):
        for _ in range(3):
            log_request(LINE)


def test_only_what_the_line_has_is_written() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "request", (), None)
    record.request, record.token, record.filename = LINE, "secret", "patient_0042.jpg"
    assert "secret" not in JsonLine().format(record)
    assert "patient" not in JsonLine().format(record)
