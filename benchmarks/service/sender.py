"""Requests to one address on this machine, in a process of its own: closed or open loop.

Usage: python sender.py < plan.json > result.json

A plan has ``port``, ``seconds``, ``path``, ``images`` (paths of JPEG files), ``clients`` (closed
loop: that many send the next request when the last is answered) or ``rate`` (open loop: requests a
second, whatever comes back, with Poisson's gaps of a fixed seed), and shares of ``poison``,
``abort`` and ``oversize`` requests. Requests are made before the clock starts; while it runs, bytes
are written and answers are cut at their Content-Length, nothing more.

Each row of the result is [kind, image, status, start, seconds, answer]: status 0 where the server
closed without an answer, -1 where it could not be reached, -2 for an answer that was cut, -3 where
more came than one answer, and None for one that this side aborted. An answer is [label,
probabilities, model].
"""

import asyncio
import base64
import gc
import json
import random
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

PATIENCE = 60.0


def request(path: str, body: bytes, kind: str = "image/jpeg", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    )
    return head.encode() + body


def wrapped(image: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(image).decode()}).encode()


class Connection(asyncio.Protocol):
    """One request at a time; an answer is its status and body."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.waiting: asyncio.Future | None = None
        self.open = True
        self.strays = 0
        self._received = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, raw: bytes) -> asyncio.Future:
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(raw)
        return self.waiting

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._received[:end]).lower()
        status = int(head[9:12])
        if status == 100:
            del self._received[: end + 4]
            return self.data_received(b"")
        at = head.find(b"content-length:")
        length = int(head[at + 15 : (head + b"\r\n").find(b"\r\n", at)]) if at >= 0 else 0
        if len(self._received) < end + 4 + length:
            return
        body = bytes(self._received[end + 4 : end + 4 + length])
        rest = len(self._received) > end + 4 + length
        self._received.clear()
        if b"connection: close" in head:
            self.open = False
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result((-3 if rest else status, body))
        else:
            self.open, self.strays = False, 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result((-2 if self._received else 0, b""))


class Sender:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.random = random.Random(plan.get("seed", 0))
        bodies = [Path(name).read_bytes() for name in plan["images"]]
        kind = "image/jpeg"
        if plan.get("json"):
            kind, bodies = "application/json", [wrapped(body) for body in bodies]
        self.good = [request(plan["path"], body, kind) for body in bodies]
        # The beginning is that of a JPEG file and the end is missing: only decoding shows it.
        self.poison = [request(plan["path"], body[: len(body) // 3]) for body in bodies]
        self.oversize = request(plan["path"], b"\xff\xd8\xff" + bytes(4096), length=2**30)
        self.idle: deque[Connection] = deque()
        self.rows: list[list[Any]] = []
        self.strays = 0

    async def connection(self) -> Connection | None:
        while self.idle:
            found = self.idle.pop()
            if found.open and not found.transport.is_closing():
                return found
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_connection(Connection, "127.0.0.1", self.plan["port"])
        except OSError:
            return None
        return made

    async def one(self, number: int) -> None:
        kind, image, raw = self.drawn(number)
        begun = time.time()
        start = time.perf_counter()
        connection = await self.connection()
        if connection is None:
            self.rows.append([kind, image, -1, begun, time.perf_counter() - start, None])
            return
        if kind == "abort":
            await self.abort(connection, raw)
            self.rows.append([kind, image, None, begun, time.perf_counter() - start, None])
            return
        try:
            status, body = await asyncio.wait_for(connection.ask(raw), PATIENCE)
        except TimeoutError:
            status, body = 0, b""
            connection.transport.abort()
        took = time.perf_counter() - start
        self.rows.append([kind, image, status, begun, took, body if status == 200 else None])
        self.strays += connection.strays
        if connection.open and status > 0:
            self.idle.append(connection)
        else:
            connection.transport.abort()

    async def abort(self, connection: Connection, raw: bytes) -> None:
        """Leave while the body is on its way, or while the answer is awaited."""
        if self.random.random() < 0.5:
            connection.transport.write(raw[: len(raw) // 2])
        else:
            connection.transport.write(raw)
        await asyncio.sleep(self.random.uniform(0, 0.3))
        connection.transport.abort()

    def drawn(self, number: int) -> tuple[str, int, bytes]:
        image = number % len(self.good)
        share = self.random.random()
        for kind in ("poison", "abort", "oversize"):
            share -= self.plan.get(kind, 0.0)
            if share < 0:
                break
        else:
            kind = "good"
        if kind == "oversize":
            return kind, image, self.oversize
        return kind, image, (self.poison if kind == "poison" else self.good)[image]

    async def closed(self) -> None:
        end = time.perf_counter() + self.plan["seconds"]
        numbers = iter(range(10**9))

        async def client() -> None:
            while time.perf_counter() < end:
                await self.one(next(numbers))

        await asyncio.gather(*(client() for _ in range(self.plan["clients"])))

    async def opened(self) -> None:
        start = time.perf_counter()
        due, number, tasks = start, 0, set()
        while due < start + self.plan["seconds"]:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.ensure_future(self.one(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            due += self.random.expovariate(self.plan["rate"])
        self.behind = time.perf_counter() - due
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE)

    async def slow(self) -> None:
        """Somebody who sends a byte every quarter of a second, and comes again when thrown out."""
        raw = self.good[0]
        while True:
            connection = await self.connection()
            if connection is None:
                await asyncio.sleep(0.2)
                continue
            start = time.perf_counter()
            connection.waiting = asyncio.get_running_loop().create_future()
            sent = 0
            while connection.open and not connection.waiting.done():
                connection.transport.write(raw[sent : sent + 1])
                sent += 1
                await asyncio.sleep(0.25)
            status = connection.waiting.result()[0] if connection.waiting.done() else 0
            self.rows.append(["slow", 0, status, time.time(), time.perf_counter() - start, None])
            connection.transport.abort()

    async def run(self) -> dict[str, Any]:
        gc.disable()
        self.behind = 0.0
        slow = [asyncio.ensure_future(self.slow()) for _ in range(self.plan.get("slow", 0))]
        started, used = time.perf_counter(), time.process_time()
        await (self.closed() if "clients" in self.plan else self.opened())
        seconds = time.perf_counter() - started
        for task in slow:
            task.cancel()
        return {
            "rows": [[*row, answer and self.short(answer)] for *row, answer in self.rows],
            "strays": self.strays,
            "seconds": seconds,
            "processor": (time.process_time() - used) / seconds,
            "behind": self.behind,
        }

    @staticmethod
    def short(body: bytes) -> Any:
        found = json.loads(body)
        row = found["results"][0] if "results" in found else found
        return [row.get("label"), row.get("probabilities"), row.get("model")]


if __name__ == "__main__":
    json.dump(asyncio.run(Sender(json.load(sys.stdin)).run()), sys.stdout)
