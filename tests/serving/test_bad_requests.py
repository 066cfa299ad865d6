"""What others send that they should not: a row for each case, against a service that runs."""

import base64
import contextlib
import gzip
import http.client
import io
import json
import math
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
import torch
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

pytest.importorskip("fastapi")
from places import ROOT
from running_service import COLOURS, Answer, Running, answer_of, form, noise, png, running
from waiting import wait_for

from skinxai.results import DISCLAIMER
from skinxai.serving.service_settings import MIB, ServiceSettings
from skinxai.testing.networks import ColourNetwork, of_network
from skinxai.web import connections

Row = Callable[[Running, pytest.MonkeyPatch], None]
ROWS: dict[str, Row] = {}
POST = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"


def row(name: str) -> Callable[[Row], Row]:
    def add(test: Row) -> Row:
        assert name not in ROWS
        ROWS[name] = test
        return test

    return add


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(max_body_mb=1, max_images=32) as found:
        yield found
        assert found.predict(png()).status == 200  # whatever came before
        wait_for(lambda: found.app.service.images == found.app.service.held == 0)


class Gate:
    """A model that answers when it is let, and how many passes have begun."""

    def __init__(self) -> None:
        self.network = ColourNetwork().requires_grad_(False)
        self.classifier = of_network(self.network)
        self.begun, self.go = threading.Semaphore(0), threading.Event()
        self.sizes: list[int] = []

    def close(self) -> None:
        """From now on, passes wait."""

        def wait(images: torch.Tensor) -> None:
            self.sizes.append(len(images))
            self.begun.release()
            assert self.go.wait(600)

        self.network.disturb = wait


@contextlib.contextmanager
def gated(**settings) -> Iterator[tuple[Running, Gate]]:
    gate = Gate()
    with running(gate.classifier, **settings) as found:
        gate.close()
        try:
            yield found, gate
        finally:
            gate.go.set()


def labels(answer: Answer) -> list[str]:
    return [each.get("label") or each["error"]["code"] for each in answer.json["results"]]


@row("SRV01")
def a_body_that_is_announced_as_too_large(service, patch) -> None:
    with service.connect() as link:
        link.sendall(f"{POST}Content-Type: image/png\r\nContent-Length: {10**10}\r\n\r\n".encode())
        found = answer_of(link)  # before a byte of the body
        assert found.status == 413 and found.code == "body_too_large"
        assert found.headers["connection"] == "close" and link.recv(1) == b""


@row("SRV02")
def a_body_in_chunks_that_grows(service, patch) -> None:
    read: list[int] = []
    receive = connections.Patient.data_received

    def counted(self: connections.Patient, data: bytes) -> None:
        read.append(len(data))
        receive(self, data)

    patch.setattr(connections.Patient, "data_received", counted)
    with service.connect() as link:
        head = f"{POST}Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        link.sendall(head.encode())
        link.settimeout(60)
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 * MIB:
                link.sendall(b"10000\r\n" + bytes(2**16) + b"\r\n")
                sent += 2**16
        assert sent < 32 * MIB  # what the kernel took, beside the megabyte that was read
        found = answer_of(link)
        assert found.status == 413 and found.code == "body_too_large"
    # Above the limit: what waits in the server's buffer, and one read of the event loop.
    assert MIB < sum(read) <= MIB + HIGH_WATER_LIMIT + max(read)
    wait_for(lambda: service.app.service.held == 0)


@row("SRV03")
def a_content_length_that_lies(service, patch) -> None:
    for length in ("-1", "x", "1, 2", "0x10", "9" * 100):
        head = f"{POST}Content-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
        assert service.raw(head.encode()).status in (400, 413), length
    body, kind = form([png()])
    head = f"{POST}Content-Type: {kind['content-type']}\r\nContent-Length: {len(body) - 9}\r\n\r\n"
    assert service.raw(head.encode() + body).status == 422  # the form has no end
    patch.setattr(connections, "GRACE", 0.1)
    patch.setattr(connections, "LOOK", 0.05)
    head = f"{POST}Content-Type: image/png\r\nContent-Length: {len(body) + 9}\r\n\r\n"
    found = service.raw(head.encode() + body)
    assert found.status == 408 and found.code == "too_slow"


@row("SRV04")
def slow_heads_slow_bodies_and_silence(service, patch) -> None:
    patch.setattr(connections, "HEAD", 0.3)
    patch.setattr(connections, "GRACE", 0.3)
    patch.setattr(connections, "LOOK", 0.05)
    half = f"{POST}X: y"
    body = f"{POST}Content-Type: image/png\r\nContent-Length: 1000\r\n\r\nabc"
    for sent in ("", "P", half, body):
        found = service.raw(sent.encode())
        assert (found.status, found.code) == (408, "too_slow"), sent
        assert found.headers["x-request-id"] == found.json["request_id"]
    for begun in (f"{POST}X: ", body):  # a byte now and then does not begin the time again
        with service.connect() as link:
            link.sendall(begun.encode())
            while not select.select([link], [], [], 0.02)[0]:
                link.sendall(b"y")
            assert answer_of(link).code == "too_slow"
    patch.setattr(service.server.config, "timeout_keep_alive", 0.1)
    with service.connect() as link:
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_of(link).status == 200 and link.recv(1) == b""


@row("SRV05")
def two_thousand_connections_that_say_nothing(service, patch) -> None:
    links: list[socket.socket] = []
    try:
        for _ in range(2000):
            links.append(service.connect())
        for _ in range(20):
            assert service.ask("GET", "/healthz").status == 200
    finally:
        for link in links:
            link.close()
    assert len(links) == 2000


@row("SRV06")
def no_images_by_their_type(service, patch) -> None:
    for kind in ({}, {"content-type": "application/json"}, {"content-type": "text/html"},
                 {"content-type": "application/x-www-form-urlencoded"},
                 {"content-type": "x" * 10_000}):  # fmt: skip
        found = service.ask("POST", "/v1/predict", b'{"a": 1}', kind)
        assert (found.status, found.code) == (415, "content_type"), kind
    found = service.ask("POST", "/v1/predict", b"{}", {"content-type": "image/png"})
    assert (found.status, found.code) == (415, "image_unsupported")


@row("SRV07")
def damaged_forms(service, patch) -> None:
    def form_of(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--b--\r\n") -> Answer:
        body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end
        kind = b"multipart/form-data; boundary=" + boundary
        return service.ask("POST", "/v1/predict", body, {"content-type": kind.decode("latin-1")})

    part = b'Content-Disposition: form-data; name="images"\r\n\r\n' + png()
    text = b'Content-Disposition: form-data; name="%s"\r\n\r\n%s'
    assert form_of(part).status == 200
    assert form_of(part, part).status == 200
    assert form_of(text % (b"tta", b"true")).code == "no_inputs"
    assert form_of().status == 422
    assert form_of(part, end=b"").code == "multipart"  # no end
    assert form_of(*[part] * 33).code == "too_many_images"
    assert form_of(*[text % (b"f%d" % k, b"") for k in range(10_000)]).code == "multipart"
    assert form_of(text % (b"subject", b"x" * 10**5), part).code == "multipart"
    assert form_of(b"X-Y: " + b"z" * 10**5 + b"\r\n" + part).code == "multipart"
    assert form_of(b"Content-Disposition: form-data\r\n\r\nx").code == "multipart"
    assert form_of(text % (b"tta", b"true"), text % (b"tta", b"true"), part).code == "option"
    misnamed = form_of(part.replace(b'"images"', b'"image"; filename="a.png"'))
    assert misnamed.code == "multipart" and misnamed.json["errors"][0]["field"] == "image"
    assert "parts named 'images', got one named 'image'." in misnamed.json["detail"]
    assert form_of(b"Content-Encoding: gzip\r\n" + part).code == "content_encoding"
    assert form_of(b"no head").status == 422
    for boundary in ("", ";", "x" * 71, "\x7f", '"'):
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        assert service.ask("POST", "/v1/predict", b"x", kind).status == 422, boundary
    for ask in (
        lambda: form_of(*[text % (b"f%d" % k, b"") for k in range(10_000)]),
        lambda: form_of(text % (b"subject", b"x" * 10**6), part),
        lambda: form_of(b"X-Y: " + b"z" * 10**6 + b"\r\n" + part),
    ):
        assert processor_time(ask) < 0.1
    quotes = "a=" + '\\"' * 20_000
    slow = {"content-type": f"multipart/form-data; {quotes}; boundary=b"}
    assert service.ask("POST", "/v1/predict", b"x", slow).status == 415
    assert processor_time(lambda: service.ask("POST", "/v1/predict", b"x", slow)) < 0.1
    slow = {"content-type": "multipart/form-data; " + ";" * 200 + " boundary=b"}
    assert service.ask("POST", "/v1/predict", b"x", slow).status == 422
    assert processor_time(lambda: service.ask("POST", "/v1/predict", b"x", slow)) < 0.1


def processor_time(ask: Callable[[], object]) -> float:
    """Seconds of the processor for a request, its client's own included; the best of fifty."""
    found = []
    for _ in range(50):
        before = time.process_time()
        ask()
        found.append(time.process_time() - before)
    return min(found)


def forged_png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@row("SRV08")
def images_that_explode(service, patch) -> None:
    huge = forged_png(50_000, 50_000, zlib.compress(bytes(10**6)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        assert service.predict(huge).status == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB, of 7 GiB
    assert labels(service.predict(png(), huge, png("blue"))) == ["red", "image_too_large", "blue"]
    assert service.predict(forged_png(2**31 - 1, 2**31 - 1)).status in (413, 422)
    wide = service.predict(png(size=(3000, 40)))
    assert wide.status == 415 and wide.code == "image_unsupported"


@row("SRV09")
def encoded_bodies(service, patch) -> None:
    body, headers = form([png()])
    for kind in ("gzip", "br", "deflate", "gzip, identity", "x"):
        found = service.ask(
            "POST", "/v1/predict", gzip.compress(body), headers | {"content-encoding": kind}
        )
        assert (found.status, found.code) == (415, "content_encoding"), kind
    assert (
        service.ask("POST", "/v1/predict", body, headers | {"content-encoding": "identity"}).status
        == 200
    )


@row("SRV10")
def archives(service, patch) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/passwd", bytes(10**6))
    found = service.predict(data.getvalue())
    assert (found.status, found.code) == (415, "image_unsupported")
    kind = {"content-type": "application/zip"}
    assert service.ask("POST", "/v1/predict", data.getvalue(), kind).code == "content_type"


@row("SRV11")
def file_names_are_not_looked_at(service, patch) -> None:
    for name in ("../../etc/passwd", "a\\r\\nX-Evil: 1", "<script>alert(1)</script>", "\u202e.png"):
        head = f'Content-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'
        body = b"--b\r\n" + head.encode() + png() + b"\r\n--b--\r\n"
        kind = {"content-type": "multipart/form-data; boundary=b"}
        found = service.ask("POST", "/v1/predict", body, kind)
        assert found.status == 200 and found.json["results"][0]["source"] == "image 0"
        assert "passwd" not in found.body.decode() and "script" not in found.body.decode()
        assert "x-evil" not in found.headers


@row("SRV12")
def paths_that_lead_elsewhere(service, patch) -> None:
    for path in ("/static/..%2f..%2fetc/passwd", "/%00", "/..%5c", "//", "/v1/predict/", "/docs",
                 "/redoc", "/v1/../healthz", "/" + "a" * 5000):  # fmt: skip
        found = service.ask("GET", path)
        assert found.status == 404 and found.code == "not_found", path
    ranges = {"range": "bytes=" + ",".join(f"{k}-{k + 1}" for k in range(10_000))}
    assert service.ask("GET", "/healthz", headers=ranges).status in (200, 400)
    few = {"range": "bytes=" + ",".join(f"{k}-{k + 1}" for k in range(1000))}
    assert service.ask("GET", "/healthz", headers=few).status == 200


@row("SRV13")
def other_sites(service, patch) -> None:
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


@row("SRV14")
def methods_and_routes_that_there_are_not(service, patch) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "BREW"):
        found = service.ask(method, "/v1/predict")
        assert found.status == 405, method
        assert method == "HEAD" or found.code == "method_not_allowed"
        assert found.headers["allow"] == "POST"
    assert service.ask("POST", "/healthz").status == 405
    assert service.ask("POST", "/v9").status == 404


@row("SRV15")
def two_framings_at_once(service, patch) -> None:
    body = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"{POST}Content-Length: {len(body)}\r\nTransfer-Encoding: chunked\r\n\r\n"
    with service.connect() as link:
        link.sendall(head.encode() + body)
        found = answer_of(link)
        assert (found.status, found.code) == (400, "framing")
        assert link.recv(1) == b""  # the second request is not answered
    for bad in ("Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, chunked",
                "Content-Length: 5\r\nContent-Length: 6", "Content-Length : 5",
                "X\x00: y"):  # fmt: skip
        found = service.raw(f"{POST}{bad}\r\n\r\n".encode())
        assert found.status in (400, 501) and found.headers["connection"] == "close", bad


@row("SRV16")
def fields_outside_their_rules(service, patch) -> None:
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


@row("SRV17")
def a_bad_image_at_each_place_of_a_batch(service, patch) -> None:
    """Its neighbours are answered bit for bit as in a clean batch of the same size."""
    good, yellow = [noise(seed) for seed in range(32)], png((250, 250, 40))
    with gated(max_batch=32, max_images=32, deadline=600) as (other, gate):
        gate.go.set()
        sizes: list[int] = []

        def spoil(images: torch.Tensor) -> None:
            red, green, blue = images.mean(dim=(2, 3)).T
            images[(red > 1) & (green > 1) & (blue < 0)] = torch.nan

        def asked(*images: bytes) -> list[dict]:
            return other.predict(*images).json["results"]

        gate.network.disturb = spoil
        patch.setattr(other.batcher, "_tell", lambda batch: sizes.append(batch.images))
        whole = [each["probabilities"] for each in asked(*good)]
        for place in range(32):
            before, after = good[:place], good[place + 1 :]
            clean = [each["probabilities"] for each in asked(*before, *after)]
            for bad, status, wanted in (
                (b"junk", 415, clean), (yellow, 500, whole[:place] + whole[place + 1 :]),
            ):  # fmt: skip
                found = asked(*before, bad, *after)
                assert found.pop(place)["error"]["status"] == status
                assert [each["probabilities"] for each in found] == wanted, (place, status)
        wait_for(lambda: len(sizes) == 97)
        assert sizes == [32] + 32 * [31, 31, 32]  # the junk came to no model


@row("SRV18")
def a_model_that_raises_for_a_whole_batch(service, patch) -> None:
    with gated() as (other, gate):
        gate.go.set()
        poison = png((250, 250, 40))
        gate.network.disturb = blamed = Blame()
        found = other.predict(png("red"), png("green"), poison, png("blue"), png("red"))
        assert labels(found) == ["red", "green", "internal", "blue", "red"]
        assert found.json["results"][2]["error"]["status"] == 500
        assert "secret" not in found.body.decode()
        assert len(blamed.sizes) > 4 and min(blamed.sizes) == 1  # halves of halves
        assert other.predict(poison).status == 500 and other.predict(png()).status == 200


class Blame:
    """A network's disturbance that raises where one of the images is bright yellow."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: torch.Tensor) -> None:
        self.sizes.append(len(images))
        red, green, blue = images.mean(dim=(2, 3)).T
        if bool(((red > 1) & (green > 1) & (blue < 0)).any()):
            raise RuntimeError("secret words of a network")


@row("SRV19")
def an_answer_that_is_not_finite(service, patch) -> None:
    with gated() as (other, gate):
        gate.go.set()

        def spoil(images: torch.Tensor) -> None:
            red, green, blue = images.mean(dim=(2, 3)).T
            images[(red > 1) & (green > 1) & (blue < 0)] = torch.nan

        gate.network.disturb = spoil
        found = other.predict(png("red"), png((250, 250, 40)), png("blue"))
        assert labels(found) == ["red", "non_finite_output", "blue"]
        assert found.json["results"][1]["error"]["status"] == 500


@row("SRV20")
def clients_that_leave(service, patch) -> None:
    with gated(max_batch=1) as (other, gate):
        body, kind = form([png()])
        head = f"{POST}Content-Type: {kind['content-type']}\r\nContent-Length: {len(body)}\r\n\r\n"
        with other.connect() as during:
            during.sendall(head.encode() + body)
            assert gate.begun.acquire(timeout=600)
            with other.connect() as waiting:
                waiting.sendall(head.encode() + body)
                wait_for(lambda: len(other.batcher) == 1)
            wait_for(lambda: len(other.batcher) == 0)  # it left before its turn
        wait_for(lambda: other.app.service.images == 0)
        with other.connect() as early:
            early.sendall(head.encode() + body[:50])
        wait_for(lambda: other.app.service.held == 0)
        gate.go.set()
        assert labels(other.predict(png("green"))) == ["green"]
        assert gate.sizes == [1, 1]  # the one that left before its turn was never computed


@row("SRV21")
def a_deadline_that_passes_in_the_queue(service, patch) -> None:
    with gated(deadline=0.3, max_batch=1) as (other, gate), ThreadPoolExecutor(1) as pool:
        first = pool.submit(other.predict, png())
        assert gate.begun.acquire(timeout=600)
        late = other.predict(png("blue"))
        assert (late.status, late.code) == (504, "deadline")
        assert "not computed" in late.json["detail"] and late.headers["retry-after"] == "1"
        assert len(other.batcher) == 0 and gate.sizes == [1]
        assert first.result().status == 504  # the model hangs
        gate.go.set()
        wait_for(lambda: other.predict(png("blue")).status == 200)
        assert "not computed" not in first.result().json["detail"]


@row("SRV22")
def a_full_queue(service, patch) -> None:
    with gated(queue=3, max_images=2, max_batch=1) as (other, gate), ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(other.predict, png(name)) for name in COLOURS]
        wait_for(lambda: other.app.service.images == 3)
        refused = other.predict(png())
        assert (refused.status, refused.code) == (503, "queue_full")
        assert refused.headers["retry-after"] == "1"
        assert other.ask("GET", "/readyz").status == 200
        assert not any(each.done() for each in asked) and gate.sizes == [1]  # nobody waited
        gate.go.set()
        assert [labels(each.result()) for each in asked] == [[name] for name in COLOURS]
        assert other.predict(png()).status == 200
        assert sum(gate.sizes) == 4


@row("SRV23")
def a_client_that_asks_too_often(service, patch) -> None:
    with running(rate=0.001) as other:
        assert other.predict(png()).status == 200
        refused = other.predict(png())
        assert (refused.status, refused.code) == (429, "rate")
        assert 900 < int(refused.headers["retry-after"]) <= 1000
        assert other.ask("GET", "/healthz").status == 200
        with other.connect("127.0.0.2") as link:  # another client
            link.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer_of(link).status == 200


@row("SRV24")
def an_end_under_load(service, patch) -> None:
    with gated(max_batch=2) as (other, gate), ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(other.predict, png(name)) for name in [*COLOURS, *COLOURS]]
        wait_for(lambda: len(other.batcher) == 4 or other.app.service.images == 6)
        other.server.handle_exit(signal.SIGTERM, None)
        ready = other.ask("GET", "/readyz")
        assert (ready.status, ready.code) == (503, "shutdown")
        assert other.ask("GET", "/healthz").status == 200
        refused = other.predict(png())
        assert (refused.status, refused.code) == (503, "shutdown")
        assert refused.headers["connection"] == "close" and "retry-after" in refused.headers
        gate.go.set()
        assert [labels(each.result()) for each in asked] == [[n] for n in [*COLOURS, *COLOURS]]
    with (
        process("held", "0") as (told, port),
        socket.create_connection(("127.0.0.1", port)) as link,
    ):
        wait_for(lambda: status(port) == 200)
        body, kind = form([png()])
        length = f"Content-Length: {len(body)}\r\n\r\n"
        link.sendall(f"{POST}Content-Type: {kind['content-type']}\r\n{length}".encode() + body)
        wait_for(lambda: b"skinxai_queue_images 1.0" in page(port))
        told.send_signal(signal.SIGTERM)
        wait_for(lambda: status(port) == 503)
        assert told.poll() is None  # the model holds what was accepted
        told.send_signal(signal.SIGTERM)
        assert told.wait(600) in (0, -signal.SIGTERM)


PROGRAM = """
import sys, threading
from skinxai.serving import server, app
from skinxai.serving.service_settings import ServiceSettings
from skinxai.testing.networks import ColourNetwork, of_network
network = ColourNetwork().requires_grad_(False)
made, go = app.create_app, threading.Event()
class Slow(list):
    def __iter__(self):
        go.wait(30 if "slow" in sys.argv else 0)
        return super().__iter__()
def create(settings, **more):
    found = made(settings, classifiers=Slow([of_network(network)]), **more)
    load = found.load
    def loaded():
        load()
        if "held" in sys.argv:
            network.disturb = lambda images: threading.Event().wait()
    found.load = loaded
    return found
server.create_app = create
server.serve(ServiceSettings(port=int(sys.argv[-1]) if sys.argv[1:] else 0))
"""


@contextlib.contextmanager
def process(*words: str, **more) -> Iterator[tuple[subprocess.Popen, int]]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True,
        env=environment, **more,
    )  # fmt: skip
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        yield started, int(line.partition(";")[0].rpartition(":")[2])
    finally:
        started.kill()
        started.wait()
        started.stdout.close()


def status(port: int, path: str = "/readyz") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def page(port: int) -> bytes:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as link:
        link.request("GET", "/metrics")
        return link.getresponse().read()


@row("SRV25")
def ends_at_any_time(service, patch) -> None:
    with process() as (first, port):
        wait_for(lambda: status(port) == 200)
        first.send_signal(signal.SIGKILL)
        first.wait()
    with process("slow", str(port)) as (second, port):  # at the same port
        wait_for(lambda: status(port) == 503)
        second.send_signal(signal.SIGTERM)  # while the model is loaded
        assert second.wait(600) == 0
        assert status(port) == 0


@row("SRV26")
def a_worker_that_dies_or_hangs(service, patch) -> None:
    with gated(hang=0.2, deadline=0.1) as (other, gate):
        assert other.ask("GET", "/healthz").status == 200
        hanging = other.predict(png())
        assert hanging.status == 504
        wait_for(lambda: other.ask("GET", "/healthz").status == 503)
        assert other.ask("GET", "/readyz").code == "worker_ended"
        gate.go.set()
        wait_for(lambda: other.ask("GET", "/healthz").status == 200)
    with gated() as (other, gate):
        gate.go.set()

        def die(images: torch.Tensor) -> None:
            raise SystemExit

        gate.network.disturb = die
        found = other.predict(png())
        assert (found.status, found.code) == (503, "worker_ended")
        assert other.ask("GET", "/healthz").status == 503
        assert other.predict(png()).status == 503


@row("SRV28")
def nothing_is_spooled_to_the_disk(service, patch) -> None:
    """A full disk cannot harm it: bodies stay in memory."""
    opened: list[str] = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    opened.clear()
    large = noise(1) + bytes(900_000)
    assert service.predict(png(), large).status == 200
    assert not [each for each in opened if each.startswith(("/tmp", "/var"))]
    full = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))}
    with process(stderr=subprocess.DEVNULL, **full) as (_, port):  # no file takes a byte more
        wait_for(lambda: status(port) == 200)
        body, kind = form([png(), large])
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as link:
            link.request("POST", "/v1/predict", body, kind)
            assert link.getresponse().status == 200


@row("SRV29")
def no_file_descriptors_left(service, patch) -> None:
    limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*limited, sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True,
        env=environment, stderr=subprocess.DEVNULL,
    ) as started:  # fmt: skip
        try:
            port = int(started.stdout.readline().partition(";")[0].rpartition(":")[2])
            wait_for(lambda: status(port) == 200)
            links = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
            for link in links:
                link.close()
            wait_for(lambda: status(port) == 200)
            assert started.poll() is None
        finally:
            started.kill()


@row("SRV30")
def what_is_in_the_log(service, patch) -> None:
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


@row("SRV31")
def what_is_open_by_default(service, patch) -> None:
    assert ServiceSettings().host == "127.0.0.1"
    assert service.ask("GET", "/docs").status == 404


@row("SRV32")
def eight_at_once_are_answered_as_one_by_one(service, patch) -> None:
    images = [noise(seed) for seed in range(8)]

    def ask(number: int) -> object:
        image = images[number % 8]
        if number % 4 == 0:
            body, kind = form([image], {"method": "saliency", "map": "true"})
            found = service.ask("POST", "/v1/explain", body, kind)
            return base64.b64decode(found.json["map"]["data"])
        (only,) = service.predict(image).json["results"]
        return {code: round(value, 6) for code, value in only["probabilities"].items()}

    serial = [ask(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(24))) == serial * 3


@row("SRV33")
def what_each_answer_says(service, patch) -> None:
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


OTHERS = {"SRV27", "SRV34"}  # of test_fleet and of the demo


def test_each_case_has_a_row() -> None:
    assert set(ROWS) | OTHERS == {f"SRV{number:02d}" for number in range(1, 35)}


@pytest.mark.parametrize("name", sorted(ROWS))
def test_bad_requests(name: str, service: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    ROWS[name](service, monkeypatch)
