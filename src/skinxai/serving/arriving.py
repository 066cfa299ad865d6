"""A request's body as it arrives: counted, and given up where its client leaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from starlette.types import Message, Receive

from skinxai.serving.problems import Problem

Value = TypeVar("Value")


class Arriving:
    """The body of one request, counted.

    Args:
        receive: of the server.
        most: bytes that it may have.
        hold: is told of the bytes that are held for it, and raises where there is no room.
    """

    def __init__(self, receive: Receive, most: int, hold: Callable[[int], object]) -> None:
        self._receive, self._most, self._hold = receive, most, hold
        self.bytes = 0
        self.whole = False

    async def __call__(self) -> Message:
        """The next message of the server."""
        message = await self._receive()
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self.bytes += count
            self._hold(count)
            self.whole = not message.get("more_body", False)
            if self.bytes > self._most:
                raise too_large(self._most)
        return message

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body.

        Raises:
            Problem: it is too large.
            Gone: the client left before its end.
        """
        while not self.whole:
            message = await self()
            if message["type"] == "http.disconnect":
                raise Gone
            if body := message.get("body"):
                yield body

    async def gone(self) -> None:
        """Return when the client has left; only after the whole body."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Gone(Exception):
    """The client left."""


def too_large(most: int) -> Problem:
    """Of a body above the limit, whose rest is not read."""
    return Problem(
        413, "body_too_large", f"a request must have at most {most} bytes; send fewer images.",
        close=True,
    )  # fmt: skip


async def unless_gone(arriving: Arriving, answer: Awaitable[Value]) -> Value:
    """An answer, which nobody computes any more once its client has left.

    Args:
        arriving: the request's body, which has come whole.
        answer: what is awaited.

    Raises:
        Gone: the client left.
    """
    task = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(arriving.gone())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
