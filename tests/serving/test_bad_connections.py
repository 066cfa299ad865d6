"""Connections that lie, that dribble, that say nothing: what others send below HTTP."""

import contextlib
import select
import socket

import pytest
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

pytest.importorskip("fastapi")
from running_service import POST, answer_of, form, png
from waiting import wait_for

from skinxai.serving.service_settings import MIB
from skinxai.web import connections


def test_srv01_a_body_that_is_announced_as_too_large(service) -> None:
    with service.connect() as link:
        link.sendall(f"{POST}Content-Type: image/png\r\nContent-Length: {10**10}\r\n\r\n".encode())
        found = answer_of(link)  # before a byte of the body
        assert found.status == 413 and found.code == "body_too_large"
        assert found.headers["connection"] == "close" and link.recv(1) == b""


def test_srv02_a_body_in_chunks_that_grows(service, monkeypatch) -> None:
    read: list[int] = []
    receive = connections.Patient.data_received

    def counted(self: connections.Patient, data: bytes) -> None:
        read.append(len(data))
        receive(self, data)

    monkeypatch.setattr(connections.Patient, "data_received", counted)
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


def test_srv03_a_content_length_that_lies(service, monkeypatch) -> None:
    for length in ("-1", "x", "1, 2", "0x10", "9" * 100):
        head = f"{POST}Content-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
        assert service.raw(head.encode()).status in (400, 413), length
    body, kind = form([png()])
    head = f"{POST}Content-Type: {kind['content-type']}\r\nContent-Length: {len(body) - 9}\r\n\r\n"
    assert service.raw(head.encode() + body).status == 422  # the form has no end
    monkeypatch.setattr(connections, "GRACE", 0.1)
    monkeypatch.setattr(connections, "LOOK", 0.05)
    head = f"{POST}Content-Type: image/png\r\nContent-Length: {len(body) + 9}\r\n\r\n"
    found = service.raw(head.encode() + body)
    assert found.status == 408 and found.code == "too_slow"


def test_srv04_slow_heads_slow_bodies_and_silence(service, monkeypatch) -> None:
    monkeypatch.setattr(connections, "HEAD", 0.3)
    monkeypatch.setattr(connections, "GRACE", 0.3)
    monkeypatch.setattr(connections, "LOOK", 0.05)
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
    monkeypatch.setattr(service.server.config, "timeout_keep_alive", 0.1)
    with service.connect() as link:
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer_of(link).status == 200 and link.recv(1) == b""


def test_srv05_two_thousand_connections_that_say_nothing(service) -> None:
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


def test_srv15_two_framings_at_once(service) -> None:
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
