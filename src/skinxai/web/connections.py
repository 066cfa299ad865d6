"""`Patient`: the server's HTTP protocol, with an end to its patience.

uvicorn has no limit for how long the head of a request, its body, or the reading of an answer may
take, and its limit on connections leaves out those that have sent no whole request.
"""

import asyncio
import ipaddress
from collections import Counter
from functools import lru_cache
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 10.0
"""Seconds within which the head of a request must be there."""
GRACE = 20.0
"""Seconds of a body, or of an answer's reading, before its pace is looked at."""
PACE = 8 * 1024
"""Bytes a second that a body must have on average."""
MOST = 512
"""Connections at once, open pages included.

Where they are all taken and one more comes, the address that holds most of them gives one up,
unless the new one is its own. Behind a proxy all visitors have one address: there the new one is
refused.
"""
MAX_MESSAGE = 4 * 1024**2
"""Bytes of a message of an open page; files come another way."""
LOOK = 1.0
"""Seconds between two looks at a connection."""


class Patient(H11Protocol):
    """Closes connections that are too slow, and those that are too many."""

    answers: tuple[tuple[bytes, bytes], ...] = ()
    """Headers of the answers that are given here, before the application is asked."""
    makes_room = False
    """Where one address has all connections, its longest idle one goes for its next one."""

    def __init__(self, config: Any, *args: Any, **more: Any) -> None:
        super().__init__(config, *args, **more)
        config.ws_max_size = min(config.ws_max_size, MAX_MESSAGE)
        self._looks: asyncio.TimerHandle | None = None
        self._last: tuple[str, object] = ("head", None)
        self._since = self._stuck_since = self.loop.time()
        self._received = self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch, or close at once where there is no room for it."""
        super().connection_made(transport)
        if not self._has_room():
            transport.write(self._refusal(503, "The server has too many visitors: try again."))
            transport.close()
        else:
            self._looks = self.loop.call_later(LOOK, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no longer."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what came."""
        self._received += len(data)
        super().data_received(data)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """An open page has pings of its own."""
        self._rest()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the headers of all other answers."""
        self.transport.write(self._refusal(400, msg))
        self.transport.close()

    def _has_room(self) -> bool:
        """Whether this connection may stay; makes room for it where another address has most."""
        held: list[Any] = [e for e in self.connections if not e.transport.is_closing()]
        if len(held) <= MOST:
            return True
        counts = Counter(address_of(each.client) for each in held)
        most, own = max(counts, key=counts.__getitem__), address_of(self.client)
        if counts[own] >= counts[most]:
            return self.makes_room and _close_idle(held, own, self)
        theirs = [each for each in held if address_of(each.client) == most]
        min(theirs, key=lambda each: not isinstance(each, Patient)).transport.abort()
        return True

    def _rest(self) -> None:
        if self._looks is not None:
            self._looks.cancel()
            self._looks = None

    def _look(self) -> None:
        now = self.loop.time()
        phase = self._phase()
        if phase != self._last or phase[0] == "idle" or self.flow.read_paused:
            self._last, self._since, self._received = phase, now, 0
        unread = self.transport.get_write_buffer_size()
        if not unread or unread != self._unread:
            self._unread, self._stuck_since = unread, now
        if now - self._stuck_since > GRACE:
            self.transport.abort()
        elif self._too_slow(phase[0], now - self._since):
            self.transport.write(self._refusal(408, "The request came too slowly."))
            self.transport.close()
        elif not self.transport.is_closing():
            self._looks = self.loop.call_later(LOOK, self._look)

    def _phase(self) -> tuple[str, object]:
        """What the connection waits for, and in which request."""
        if self.conn.their_state is h11.SEND_BODY:
            return "body", self.cycle
        if self.cycle is not None and not self.cycle.response_complete:
            return "answer", self.cycle
        return ("head" if self.timeout_keep_alive_task is None else "idle"), self.cycle

    def _too_slow(self, phase: str, seconds: float) -> bool:
        if phase == "body":
            return seconds > GRACE and self._received < PACE * seconds
        return phase == "head" and seconds > HEAD

    def content(self, status: int, words: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body of an answer that is given here, besides `answers`."""
        return [(b"content-type", b"text/plain; charset=utf-8")], words.encode()

    def _refusal(self, status: int, words: str) -> bytes:
        reason = {400: b"Bad Request", 408: b"Request Timeout"}.get(status, b"Service Unavailable")
        headers, body = self.content(status, words)
        head = [
            b"HTTP/1.1 %d %s" % (status, reason),
            *(b"%s: %s" % each for each in headers),
            b"content-length: %d" % len(body),
            b"connection: close",
            *(b"%s: %s" % each for each in self.answers),
        ]
        return b"\r\n".join([*head, b"", body])


def _close_idle(held: list[Any], place: str, newcomer: Patient) -> bool:
    """Close that connection of an address which has waited longest for a request, if one does."""
    idle = [
        each
        for each in held
        if isinstance(each, Patient) and each is not newcomer and address_of(each.client) == place
        and each._phase()[0] in ("head", "idle")
    ]  # fmt: skip
    if idle:
        min(idle, key=lambda each: each._since).transport.abort()
    return bool(idle)


@lru_cache(4 * MOST)
def address_of(client: tuple[str, int] | None) -> str:
    """The address that a connection comes from; of IPv6 its network, for one visitor has many."""
    try:
        found = ipaddress.ip_address((client or ("", 0))[0].partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
