"""The service, really running on a loopback port, with networks whose answers are known."""

import contextlib
import http.client
import io
import json
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from waiting import wait_for

from skinxai import Classifier
from skinxai.serving.app import ServiceApp, create_app
from skinxai.serving.server import Server, listening
from skinxai.serving.service_settings import ServiceSettings
from skinxai.testing import colour_classifier

COLOURS = {"red": (230, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 230)}
POST = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
"""What a request begins with that is written by hand."""


def png(colour: tuple[int, int, int] | str = "red", size: tuple[int, int] = (80, 48)) -> bytes:
    """A picture of one colour."""
    data = io.BytesIO()
    Image.new("RGB", size, COLOURS.get(colour, colour)).save(data, "png")
    return data.getvalue()


def noise(seed: int) -> bytes:
    """A picture like no other."""
    data = io.BytesIO()
    draws = np.random.default_rng(seed)
    Image.fromarray(draws.integers(0, 255, (48, 80, 3), np.uint8)).save(data, "png")
    return data.getvalue()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/problem+json", self.body
        return self.json["code"]


def form(images: Sequence[bytes], fields: Mapping[str, str] | None = None) -> tuple[bytes, dict]:
    """A form and its header."""
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in (fields or {}).items():
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode())
    head = b'Content-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
    parts += [head + image for image in images]
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in parts)
    kind = f"multipart/form-data; boundary={boundary}"
    return body + b"--%s--\r\n" % boundary.encode(), {"content-type": kind}


class Running:
    """A service, and ways to ask it."""

    def __init__(self, app: ServiceApp, server: Server, port: int) -> None:
        self.app, self.server, self.port = app, server, port

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            found = connection.getresponse()
            names = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, names, found.read())
        finally:
            connection.close()

    def predict(self, *images: bytes, query: str = "", **fields: str) -> Answer:
        body, headers = form(images, fields)
        return self.ask("POST", f"/v1/predict{query}", body, headers)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 60, (source, 0))

    def raw(self, data: bytes) -> Answer:
        """What comes back for some bytes, until the service closes or the answer is whole."""
        with self.connect() as link:
            link.sendall(data)
            return answer_of(link)

    @property
    def batcher(self) -> Any:
        (served,) = self.app.service.pool.served.values()
        return served.batcher


def answer_of(link: socket.socket) -> Answer:
    found = http.client.HTTPResponse(link)
    found.begin()
    names = {name.lower(): value for name, value in found.getheaders()}
    return Answer(found.status, names, found.read())


@contextlib.contextmanager
def running(
    classifier: Classifier | None = None, *, loaded: bool = True, **settings: Any
) -> Iterator[Running]:
    """A service on a free port, until the context ends."""
    chosen = ServiceSettings(port=0, **({"cache": "off"} | settings))
    app = create_app(chosen, classifiers=[classifier or colour_classifier()])
    listener = listening("127.0.0.1", 0)
    server = Server(app)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_for(lambda: server.started and (app.service.loaded or not loaded))
        yield Running(app, server, listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
