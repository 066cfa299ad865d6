"""Requests that the service refuses by their path, their origin, their fields or their rate.

What each answer says, and what the log never does, is here as well.
"""

import base64
import json
import math
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

pytest.importorskip("fastapi")
from running_service import answer_of, form, png, running

from skinxai.results import DISCLAIMER
from skinxai.serving.service_settings import ServiceSettings
from skinxai.web.visitors import against, own_hosts


def test_srv12_paths_that_lead_elsewhere(service) -> None:
    for path in ("/static/..%2f..%2fetc/passwd", "/%00", "/..%5c", "//", "/v1/predict/", "/docs",
                 "/redoc", "/v1/../healthz", "/" + "a" * 5000):  # fmt: skip
        found = service.ask("GET", path)
        assert found.status == 404 and found.code == "not_found", path
    ranges = {"range": "bytes=" + ",".join(f"{k}-{k + 1}" for k in range(10_000))}
    assert service.ask("GET", "/healthz", headers=ranges).status in (200, 400)
    few = {"range": "bytes=" + ",".join(f"{k}-{k + 1}" for k in range(1000))}
    assert service.ask("GET", "/healthz", headers=few).status == 200


def test_srv13_other_sites(service) -> None:
    body, kind = form([png()])
    for given in (
        {"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example"},
        {"host": f"127.0.0.1.evil.example:{service.port}"}, {"host": "[::"},
        {"host": "localhost", "origin": "http://evil.example"},
    ):  # fmt: skip
        found = service.ask("POST", "/v1/predict", body, kind | given)
        assert (found.status, found.code) == (403, "host"), given
        assert not any(name.startswith("access-control") for name in found.headers)
    own = {"host": f"localhost:{service.port}", "origin": f"http://localhost:{service.port}"}
    assert service.ask("POST", "/v1/predict", body, kind | own).status == 200


def test_srv14_methods_and_routes_that_there_are_not(service) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "BREW"):
        found = service.ask(method, "/v1/predict")
        assert found.status == 405, method
        assert method == "HEAD" or found.code == "method_not_allowed"
        assert found.headers["allow"] == "POST"
    for method in ("POST", "DELETE", "BREW"):
        found = service.ask(method, "/healthz")
        assert (found.status, found.headers["allow"]) == (405, "GET, HEAD")
    assert service.ask("POST", "/v9").status == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/ping", "/v1/models", "/openapi.json"])
def test_head_is_answered_as_get_without_a_body(service, path) -> None:
    """RFC 9110, 9.3.2; those who watch from outside ask so."""
    found, whole = (service.ask(method, path) for method in ("HEAD", "GET"))
    assert found.status == whole.status == 200 and not found.body and whole.body
    assert found.headers["content-length"] == str(len(whole.body))
    assert found.headers["content-type"] == whole.headers["content-type"]


def test_srv16_fields_outside_their_rules(service) -> None:
    image = png()
    for path, name, value in (
        ("predict", "tta", "maybe"), ("predict", "nonsense", "1"), ("predict", "subject", ""),
        ("predict", "subject", "x" * 200), ("predict", "lesion", "a\nb"),
        ("explain", "method", "os.system"), ("explain", "target", "-1"),
        ("explain", "method", "gradcan"), ("nearest", "k", "1000000000"), ("nearest", "k", "NaN"),
        ("nearest", "k", "-1"), ("report", "title", "\x1b[31m"), ("explain", "map", "NaN"),
    ):  # fmt: skip
        body, kind = form([image], {name: value})
        found = service.ask("POST", f"/v1/{path}", body, kind)
        assert (found.status, found.code) == (422, "option"), (path, name, value)
        assert found.json["errors"][0]["field"] == name
        if value == "gradcan":
            assert found.json["detail"].endswith("got 'gradcan'. Did you mean 'gradcam'?")
    for path in ("predict", "explain", "report", "nearest"):
        for name in ("nonsense", "operating-point", "METHOD", "k "):
            body, kind = form([image], {name: "1"})
            asked = f"/v1/{path}?{urlencode({name: 1})}"
            for found in (
                service.ask("POST", f"/v1/{path}", body, kind),
                service.ask("POST", asked, image, {"content-type": "image/png"}),
            ):
                assert (found.status, found.code) == (422, "option"), (path, name)
                assert found.json["errors"][0]["field"] == name
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES"}
    tensor |= {"data": [base64.b64encode(image).decode()]}
    for more, name in (
        ({"parameters": {"nonsense": 1}}, "nonsense"), ({"parameters": {"tta": "maybe"}}, "tta"),
        ({"parameters": {"operating_point": math.nan}}, "operating_point"),
    ):  # fmt: skip
        body = json.dumps({"inputs": [tensor]} | more).encode()
        kind = {"content-type": "application/json"}
        found = service.ask("POST", "/v2/models/colours/infer", body, kind)
        assert found.status == 422 and name in found.body.decode(), (more, found.body)
    assert service.predict(image, query="?tta=1&tta=0").json["errors"][0]["field"] == "tta"
    assert service.predict(image, query="?x=1").json["errors"][0]["field"] == "x"
    found = service.predict(image, operating_point="nowhere")
    assert found.status == 422 and found.code == "model"  # it was not calibrated


def test_srv23_a_client_that_asks_too_often() -> None:
    with running(rate=0.001) as other:
        assert other.predict(png()).status == 200
        refused = other.predict(png())
        assert (refused.status, refused.code) == (429, "rate")
        assert 900 < int(refused.headers["retry-after"]) <= 1000
        assert other.ask("GET", "/healthz").status == 200
        with other.connect("127.0.0.2") as link:  # another client
            link.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer_of(link).status == 200


def test_srv30_what_is_in_the_log(service) -> None:
    """Nothing of a request is logged but its route, and what it is answered; see test_logs."""
    import logging

    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("skinxai.serving")
    logger.addHandler(handler)
    try:
        secret = "patient-4711"
        head = f'Content-Disposition: form-data; name="images"; filename="{secret}.png"\r\n\r\n'
        body = b"--b\r\n" + head.encode() + b"junk" + b"\r\n--b--\r\n"
        kind = {"content-type": "multipart/form-data; boundary=b", "x-request-id": "a\tb" + secret}
        found = service.ask("POST", f"/v1/predict?subject={secret}", body, kind)
        assert found.status == 415 and secret not in found.headers["x-request-id"]
        assert secret not in "".join(logging.Formatter().format(each) for each in records)
    finally:
        logger.removeHandler(handler)


def test_srv31_what_is_open_by_default(service) -> None:
    assert ServiceSettings().host == "127.0.0.1"
    assert service.ask("GET", "/docs").status == 404


def test_srv33_what_each_answer_says(service) -> None:
    good, bad = service.predict(png()), service.predict(b"junk")
    lost, health = service.ask("GET", "/nowhere"), service.ask("GET", "/healthz")
    for found in (good, bad, lost, health):
        assert found.headers["x-skinxai-disclaimer"] == DISCLAIMER == found.json["disclaimer"]
        assert len(found.headers["x-request-id"]) == 32
    for found in (good, bad, lost):
        assert found.json["request_id"] == found.headers["x-request-id"]
    assert good.headers["x-skinxai-model"] == good.json["model"] == good.json["results"][0]["model"]
    assert good.json["model"].startswith("colours@")
    own = service.ask("GET", "/healthz", headers={"x-request-id": "Ab-1_2.3"})
    assert own.headers["x-request-id"] == "Ab-1_2.3"


OTHERS = {"srv27", "srv34"}  # of test_fleet and of the demo


def test_each_case_has_a_test() -> None:
    files = sorted(Path(__file__).parent.glob("test_*.py"))
    cases = [
        case
        for file in files
        for case in re.findall(r"^def test_(srv\d+)_", file.read_text(), re.M)
    ]
    assert sorted([*cases, *OTHERS]) == [f"srv{number:02d}" for number in range(1, 35)]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "LocalHost", "::1"])
def test_at_an_address_of_this_machine_no_other_host_is_answered(address: str) -> None:
    for hosts in (own_hosts(address), own_hosts(address, ["skin.example"])):
        host = f"[{address}]:8000" if ":" in address else f"{address}:8000"
        assert against(host, None, hosts) is against("localhost", None, hosts) is None
        assert against("evil.example:8000", None, hosts)
    assert own_hosts("0.0.0.0") == own_hosts("10.0.0.7") == frozenset()
