"""Logs as JSON, one line for each request. Nothing of an image, its name, a key or a query."""

import json
import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from skinxai.plain_text import counted, one_line

WAITING = 10_000
"""Lines that wait for who reads them; more are dropped, and counted."""
SOON = 0.02
"""Seconds within which a line is written, so that lines that come together are written at once."""
AT_ONCE = 100
"""Most lines that are written at once."""
PATIENCE = 2.0
"""Seconds that the end of the service waits for lines to be read."""
NAMES = ("skinxai.serving", "uvicorn", "uvicorn.error")
"""Loggers whose lines become JSON. uvicorn's log of requests, which has their queries, is off."""

logger = logging.getLogger("skinxai.serving")


@dataclass(frozen=True)
class RequestLine:
    """What is logged of a request; see `Visit`. A route is its template, or ``"other"``."""

    request_id: str
    route: str
    method: str
    status: int
    seconds: float
    images: int = 0
    model: str | None = None
    code: str | None = None


def log_request(line: RequestLine) -> None:
    """Log a request: an error where the service failed, else an information."""
    level = logging.ERROR if line.status == 500 else logging.INFO
    logger.log(level, "request", extra={"request": line})


class JsonLine(logging.Formatter):
    """A record as one line of JSON.

    An exception is written as its type and the places of the code, without its message: that may
    quote what came in.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": at, "level": record.levelname.lower()}
        request = getattr(record, "request", None)
        if isinstance(request, RequestLine):
            line |= vars(request) | {"seconds": round(request.seconds, 6)}
        else:
            line["message"] = one_line(record.getMessage())
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["exception"] = type(error).__name__
            frames = traceback.extract_tb(error.__traceback__)
            line["places"] = [f"{_module(f.filename)}:{f.lineno} {f.name}" for f in frames[-12:]]
        return json.dumps(line)


class _Behind(logging.Handler):
    """Writes in a thread of its own: a log that nobody reads never stops a request.

    The thread is woken by the first line and writes whatever came within `SOON` at once, because
    each time that it is woken it takes the processor from the requests.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream, self.dropped = stream, 0
        self._lines: deque[str] = deque()
        self._came, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, name="skinxai-logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line over, or drop it."""
        if len(self._lines) >= WAITING:
            self.dropped += 1
            return
        self._lines.append(self.format(record))
        if not self._came.is_set():
            self._came.set()

    def finish(self) -> None:
        """Write what waits, as far as somebody reads it."""
        self._ends.set()
        self._came.set()
        self._thread.join(PATIENCE)

    def _write(self) -> None:
        while not (self._ends.is_set() and not self._lines):
            self._came.wait()
            self._ends.wait(SOON)
            self._came.clear()  # before the lines are taken: one that comes later sets it again
            while self._lines:
                if self.dropped:
                    lost, self.dropped = self.dropped, 0
                    note = {"level": "warning", "message": f"{counted(lost, 'line')} dropped"}
                    self._put([json.dumps(note)])
                self._put([self._lines.popleft() for _ in range(min(len(self._lines), AT_ONCE))])

    def _put(self, lines: list[str]) -> None:
        try:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more
            self.dropped += len(lines)


@contextmanager
def json_logs(stream: TextIO | None = None, level: int = logging.INFO) -> Iterator[None]:
    """Write the service's and the server's log lines as JSON, as long as the context lasts.

    Args:
        stream: where to; standard error by default.
        level: of `logging`.
    """
    handler = _Behind(stream or sys.stderr)
    handler.setFormatter(JsonLine())
    loggers = [logging.getLogger(name) for name in NAMES]
    access = logging.getLogger("uvicorn.access")
    before = [(each, each.handlers, each.propagate, each.level) for each in [*loggers, access]]
    for each in loggers:
        each.handlers, each.propagate = [handler], False
        each.setLevel(level)
    access.handlers, access.propagate = [], False
    try:
        yield
    finally:
        for each, handlers, propagate, old in before:
            each.handlers, each.propagate = handlers, propagate
            each.setLevel(old)
        handler.finish()


def _module(file: str) -> str:
    """A file of the code without the folders that the machine has it in."""
    return file.rpartition("site-packages/")[2].rpartition("src/")[2]
