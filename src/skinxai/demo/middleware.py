"""What stands in front of the framework: who may ask what, and the headers of every answer."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from skinxai.demo.rooms import Room, TooMuch
from skinxai.web.visitors import against, own_hosts

UPLOAD = re.compile(r"/_stcore/upload_file/([^/]{1,64})/([^/]{1,64})")
"""Path of a file that is sent: its session, and the id that the page gave it."""
OWN = ("health", "host-config", "stream")
"""What the page asks of the framework besides its files, below ``/_stcore/``."""


def headers(framed: bool) -> dict[str, str]:
    """Of every answer: nothing foreign is fetched, framed, guessed or told.

    Args:
        framed: pages of other sites, over HTTPS, may show the demo in a frame.
    """
    index = Path(st.__file__).with_name("static") / "index.html"
    scripts = re.findall(r"<script>(.*?)</script>", index.read_text("utf-8"), re.DOTALL)
    hashes = (hashlib.sha256(each.encode()).digest() for each in scripts)
    own = " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in hashes)
    rules = {
        "default-src": "'self'",
        "script-src": f"'self' {own}",
        "style-src": "'self' 'unsafe-inline'",  # the framework's own are made in the page
        "img-src": "'self' data: blob:",
        "media-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "frame-src": "'none'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "https:" if framed else "'none'",
    }
    found = {
        "Content-Security-Policy": "; ".join(f"{name} {rule}" for name, rule in rules.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return found if framed else found | {"X-Frame-Options": "DENY"}


class Guarded(st.App):
    """The framework's application behind a `Guard`."""

    failure: Exception | None = None
    """Why the application did not start."""

    def __init__(self, script: Path, address: str, framed: bool, lifespan: Any) -> None:
        super().__init__(script, lifespan=lifespan)
        self._guard = Guard(super().__call__, headers(framed), address, Room())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, through the guard; or start, serve and end."""
        if scope["type"] != "lifespan":
            await self._guard(scope, receive, send)
            return
        started = False

        async def told(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "lifespan.startup.complete"
            if started:  # why it did not start is said below
                await send(message)

        try:
            await super().__call__(scope, receive, told)
        except Exception as error:
            if started:
                raise
            # The server takes an error alone for an application without a start, and listens.
            self.failure = error
            await send({"type": "lifespan.startup.failed"})


class Guard:
    """An application in front of another."""

    def __init__(self, app: ASGIApp, answers: dict[str, str], address: str, room: Room) -> None:
        self._app, self._headers, self._room = app, answers, room
        self._hosts = own_hosts(address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                message.setdefault("headers", [])
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refused = self._against(scope)
        if refused is not None and scope["type"] == "websocket":
            await sent({"type": "websocket.close", "code": 1008})
        elif refused is not None:
            await refused(scope, receive, sent)
        elif scope["type"] == "http" and scope["method"] == "PUT":
            await self._upload(scope, receive, sent)
        else:
            await self._app(scope, receive, sent)

    def _against(self, scope: Scope) -> PlainTextResponse | None:
        """The answer to a request that goes no further."""
        given = Headers(scope=scope)
        if words := against(given.get("host", ""), given.get("origin"), self._hosts):
            return _says(403, words)
        path = scope["path"]
        found = UPLOAD.fullmatch(path)
        if path.startswith("/_stcore/") and not found and path[9:] not in OWN:
            return _says(404, "There is nothing here.")
        if scope["type"] == "websocket":
            return None
        if scope["method"] in ("PUT", "DELETE") and found:
            if not self._room.knows(found[1], given.get("cookie", "")):
                return _says(403, "The server does not know this page any more: load it again.")
        elif scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            return _says(405, "This server does not take such a request here.")
        return None

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = UPLOAD.fullmatch(scope["path"])[1]  # type: ignore[index]
        declared = Headers(scope=scope).get("content-length", "0")
        refused: TooMuch | None = None

        async def counted() -> Message:
            nonlocal refused
            message = await receive()
            try:
                arriving.add(len(message.get("body", b"")))
            except TooMuch as error:
                refused = error
                return {"type": "http.disconnect"}
            return message

        async def unless_refused(message: Message) -> None:
            if refused is None:
                await send(message)

        try:
            with self._room.arriving(
                session, int(declared) if declared.isdigit() else 0
            ) as arriving:
                await self._app(scope, counted, unless_refused)
        except TooMuch as error:
            refused = error
        except ClientDisconnect:  # the visitor went, or was refused above
            pass
        if refused is not None:
            await _says(refused.status, str(refused))(scope, receive, send)


def _says(status: int, words: str) -> PlainTextResponse:
    return PlainTextResponse(words, status, {"Retry-After": "60"} if status == 429 else None)
