"""`Gate`: where each request begins and ends: who may ask, how much, and what all answers say."""

import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skinxai.results import DISCLAIMER
from skinxai.serving.arriving import Arriving, Gone, too_large
from skinxai.serving.guards import path_of
from skinxai.serving.problems import Problem
from skinxai.serving.service import Service

ASKING = frozenset({"/v1/predict", "/v1/explain", "/v1/report", "/v1/nearest"})
"""Paths whose requests bring images; they are refused before their bodies are read."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

logger = logging.getLogger("skinxai.serving")


@dataclass
class Visit:
    """One request, from its head to the end of its answer.

    Args:
        id: of the request, its own or a new one.
        since: of `time.monotonic`, when its head had come.
        arriving: its body.
        images: how many it brought.
        model: ``name@revision`` that answered.
        code: of the problem that was answered.
        status: of the answer; 499 where the client left before.
    """

    id: str
    since: float
    arriving: Arriving
    images: int = 0
    model: str | None = None
    code: str | None = None
    status: int = 499
    extra: dict[str, str] = field(default_factory=dict)


def visit_of(scope: Scope) -> Visit:
    """The visit of a request that came through the gate."""
    found: Visit = scope["skinxai.visit"]
    return found


class Gate:
    """In front of an application: asks ``check`` before and tells ``ended`` after each request."""

    def __init__(
        self, app: ASGIApp, service: Service, check: Callable[[Scope, Headers], object],
        ended: Callable[[Scope, Visit], object],
    ) -> None:  # fmt: skip
        self._app, self._service, self._guard, self._ended = app, service, check, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        name = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        arriving = Arriving(receive, self._service.settings.max_body, self._service.hold)
        visit = scope["skinxai.visit"] = Visit(name, time.monotonic(), arriving)
        began = False

        async def sent(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began, visit.status = True, message["status"]
                message["headers"] = [*message.get("headers", []), *self._headers(visit)]
            await send(message)

        try:
            problem = None
            try:
                self._check(scope, headers)
                await self._app(scope, arriving, sent)
            except Gone:
                visit.status, visit.code = 499, None  # Starlette has answered 500 to nobody
                return
            except Problem as error:
                problem = error
            except Exception as error:
                logger.error("a request failed", exc_info=error)
                problem = Problem.of(error)
            if problem is not None and not began:
                visit.code = problem.code
                await problem.response(visit.id)(scope, arriving, sent)
        finally:
            self._service.hold(-arriving.bytes)
            self._ended(scope, visit)

    def _check(self, scope: Scope, headers: Headers) -> None:
        if "transfer-encoding" in headers and "content-length" in headers:
            raise Problem(
                400, "framing", "a request must not have both content-length and "
                "transfer-encoding.", close=True,
            )  # fmt: skip
        self._guard(scope, headers)
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "content_encoding", "the body must not be encoded.", close=True)
        declared = headers.get("content-length", "0")
        if int(declared) > self._service.settings.max_body:  # h11 lets digits alone pass
            raise too_large(self._service.settings.max_body)
        if path_of(scope) in ASKING and scope["method"] == "POST":
            self._service.check_open()

    def _headers(self, visit: Visit) -> list[tuple[bytes, bytes]]:
        found = [
            (b"x-request-id", visit.id.encode()),
            (b"x-skinxai-disclaimer", DISCLAIMER.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        if visit.model is not None:
            found.append((b"x-skinxai-model", visit.model.encode()))
        if self._service.draining:
            found.append((b"connection", b"close"))
        return found
