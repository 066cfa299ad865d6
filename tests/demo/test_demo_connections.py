"""Slow senders and readers, and too many connections, by a clock that the test sets."""

import asyncio
from collections.abc import Callable

import pytest

pytest.importorskip("streamlit")
from uvicorn.config import Config
from uvicorn.server import ServerState

from skinxai.web import connections
from skinxai.web.connections import GRACE, HEAD, MAX_MESSAGE, PACE, Patient

HEADERS = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n"


class Loop:
    """A clock, and what was put off until later; tasks are begun and never go on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.later: list[Later] = []
        self.tasks = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]):
        self.later.append(Later(self.now + seconds, call))
        return self.later[-1]

    def create_task(self, coroutine, **more):
        coroutine.close()
        return self

    def add_done_callback(self, call) -> None:
        pass

    def pass_by(self, seconds: float) -> None:
        """Let the time go on, and do what is due."""
        end = self.now + seconds
        while due := [each for each in self.later if each.due <= end and not each.cancelled]:
            first = min(due, key=lambda each: each.due)
            self.later.remove(first)
            self.now = first.due
            first.call()
        self.now = end


class Later:
    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due, self.call, self.cancelled = due, call, False

    def cancel(self) -> None:
        self.cancelled = True


class Transport(asyncio.Transport):
    def __init__(self, address: str | None = None) -> None:
        super().__init__({"peername": None if address is None else (address, 1)})
        self.written, self.unread, self.closed, self.aborted = b"", 0, False, False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def application(scope, receive, send) -> None:
    raise AssertionError("is never reached")


class Connection:
    def __init__(self, state: ServerState | None = None, address: str | None = None) -> None:
        self.loop, self.transport = Loop(), Transport(address)
        self.config = Config(application, log_config=None, ws_max_size=10**9)
        self.protocol = Patient(self.config, state or ServerState(), {}, self.loop)
        self.protocol.connection_made(self.transport)

    def drips(self, data: bytes, seconds: float) -> None:
        """Send a byte, or so, each second."""
        for k in range(int(seconds)):
            if self.transport.is_closing():
                return
            self.protocol.data_received(data[k : k + 1] or b"x")
            self.loop.pass_by(1.0)


def test_nothing_sent_is_closed() -> None:
    made = Connection()
    made.loop.pass_by(HEAD - 1)
    assert not made.transport.closed
    made.loop.pass_by(3)
    assert made.transport.closed and made.transport.written.startswith(b"HTTP/1.1 408 ")
    assert made.transport.written.endswith(b"\r\n\r\nThe request came too slowly.")


@pytest.mark.parametrize("head", [HEADERS, b"G", HEADERS + b"X: " + b"y" * 50])
def test_half_a_head_is_closed_however_often_a_byte_comes(head: bytes) -> None:
    made = Connection()
    made.drips(head, HEAD + 3)
    assert made.transport.closed and b" 408 " in made.transport.written


def test_a_body_that_drips_is_closed() -> None:
    made = Connection()
    made.protocol.data_received(BODY)
    made.drips(b"", GRACE - 1)
    assert not made.transport.closed
    made.drips(b"", 4)
    assert made.transport.closed and b" 408 " in made.transport.written


def test_a_body_at_a_fair_pace_is_not() -> None:
    made = Connection()
    made.protocol.data_received(BODY)
    for _ in range(int(3 * GRACE)):
        made.protocol.data_received(bytes(2 * PACE))
        made.protocol.flow.resume_reading()  # the application takes what came
        made.protocol.cycle.body.clear()
        made.loop.pass_by(1.0)
    assert not made.transport.closed


def test_a_body_that_waits_for_the_application_is_not() -> None:
    made = Connection()
    made.protocol.data_received(BODY + bytes(10**5))
    assert made.protocol.flow.read_paused
    made.loop.pass_by(10 * GRACE)
    assert not made.transport.closed


def test_an_answer_may_take_its_time_but_must_be_read() -> None:
    made = Connection()
    made.protocol.data_received(HEADERS + b"\r\n")
    made.loop.pass_by(10 * GRACE)
    assert not made.transport.is_closing()
    for unread in (500, 400, 300):  # slowly
        made.transport.unread = unread
        made.loop.pass_by(GRACE - 1)
        assert not made.transport.is_closing()
    made.loop.pass_by(3)
    assert made.transport.aborted


def test_too_many_connections_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST", 2)
    monkeypatch.setattr(Patient, "answers", ((b"x-frame-options", b"DENY"),))
    state = ServerState()
    first, second, third = (Connection(state) for _ in range(3))
    assert not first.transport.closed and not second.transport.closed and third.transport.closed
    head, _, words = third.transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ") and b"x-frame-options: DENY" in head
    assert words == b"The server has too many visitors: try again."
    first.protocol.connection_lost(None)
    third.protocol.connection_lost(None)
    assert not Connection(state).transport.closed


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST", 6)


def closed(held: list[Connection]) -> list[bool]:
    return [each.transport.is_closing() for each in held]


@pytest.mark.parametrize(
    ("theirs", "own"),
    [
        (["10.0.0.1"], "10.0.0.2"),
        (["::ffff:10.0.0.1", "10.0.0.1"], "::ffff:10.0.0.2"),
        (["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"], "2001:db8:0:1::1"),
        (["10.0.0.1"], None),
    ],
)
def test_who_holds_all_connections_gives_up_one_for_another_address(few, theirs, own) -> None:
    state = ServerState()
    held = [Connection(state, theirs[k % len(theirs)]) for k in range(6)]
    visitor = Connection(state, own)
    assert not visitor.transport.closed and sum(closed(held)) == 1
    for each, gone in zip(held, closed(held), strict=True):
        if gone:
            assert each.transport.aborted
            each.protocol.connection_lost(None)
    refused = Connection(state, theirs[0])
    assert refused.transport.closed and b" 503 " in refused.transport.written
    assert not visitor.transport.is_closing() and sum(closed(held)) == 1


def test_addresses_of_one_network_count_together(few) -> None:
    state = ServerState()
    held = [Connection(state, f"2001:db8::{k}") for k in range(1, 7)]
    visitors = [Connection(state, "2001:db8:0:1::1") for _ in range(3)]
    assert not any(closed(visitors)) and sum(closed(held)) == 3


def test_connections_that_come_at_once_take_one_each_until_all_hold_as_many(few) -> None:
    state = ServerState()
    held = [Connection(state, "10.0.0.1") for _ in range(6)]
    visitors = [Connection(state, "10.0.0.2") for _ in range(4)]  # none is lost yet
    assert closed(visitors) == [False, False, False, True] and sum(closed(held)) == 3


def test_behind_a_proxy_all_have_one_address_and_nobody_is_put_out(few) -> None:
    state = ServerState()
    held = [Connection(state, "10.0.0.1") for _ in range(6)]
    assert Connection(state, "10.0.0.1").transport.closed and not any(closed(held))


def test_where_asked_the_longest_idle_connection_goes_for_a_new_one(few, monkeypatch) -> None:
    monkeypatch.setattr(Patient, "makes_room", True)
    state = ServerState()
    held = [Connection(state, "10.0.0.1") for _ in range(6)]
    for k, each in enumerate(held):
        each.loop.now = each.protocol._since = float(9 - k)
    held[5].protocol.data_received(HEADERS + b"\r\n")  # asks, and waits for its answer
    held[4].protocol.data_received(BODY)
    assert not Connection(state, "10.0.0.1").transport.closed
    assert closed(held) == [False, False, False, True, False, False]
    for each in held[:3]:
        each.protocol.data_received(BODY)
    held[3].protocol.connection_lost(None)
    for _ in range(2):
        busy = Connection(state, "10.0.0.1")
        busy.protocol.data_received(BODY)
    assert busy.transport.closed


class Page:
    client, transport = ("10.0.0.1", 1), Transport("10.0.0.1")


def test_an_open_page_is_the_last_to_go(few) -> None:
    state = ServerState()
    page = Page()
    state.connections.add(page)
    held = [Connection(state, "10.0.0.1") for _ in range(5)]
    visitors = [Connection(state, f"10.0.0.{k}") for k in range(2, 6)]
    assert not any(closed(visitors)) and sum(closed(held)) == 4
    assert not page.transport.is_closing()


def test_what_is_no_http_gets_the_headers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patient, "answers", ((b"x-frame-options", b"DENY"),))
    made = Connection()
    made.protocol.data_received(b"\x16\x03\x01 no HTTP\r\n\r\n")
    assert made.transport.closed and made.transport.written.startswith(b"HTTP/1.1 400 ")
    assert b"x-frame-options: DENY" in made.transport.written


def test_a_head_without_end_is_refused() -> None:
    made = Connection()
    made.protocol.data_received(HEADERS + b"X: " + b"y" * 10**5)
    assert made.transport.closed and made.transport.written.startswith(b"HTTP/1.1 400 ")


def test_messages_of_open_pages_are_bounded_and_they_are_not_watched() -> None:
    made = Connection()
    assert made.config.ws_max_size == MAX_MESSAGE
    made.protocol.connection_lost(None)
    assert all(each.cancelled for each in made.loop.later)
