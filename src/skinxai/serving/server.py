"""`serve`: run the service until it is told to end, and end it without a lost answer."""

import logging
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from skinxai.errors import OptionError
from skinxai.results import DISCLAIMER
from skinxai.serving.app import ServiceApp, create_app
from skinxai.serving.logs import json_logs
from skinxai.serving.problems import Problem
from skinxai.serving.service_settings import ServiceSettings
from skinxai.web.connections import Patient

LINGER = 1.0
"""Seconds that new requests are still refused with an answer, once the service is told to end."""
IDLE = 15
"""Seconds that a connection is kept for its next request."""
CODES = {400: "bad_request", 408: "too_slow", 503: "too_many_connections"}

logger = logging.getLogger("skinxai.serving")


class ServicePatient(Patient):
    """`Patient`, whose own answers are those of the service."""

    makes_room = True

    def content(self, status: int, words: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """A problem."""
        problem, name = Problem(status, CODES[status], words), uuid.uuid4().hex
        alone = self.cycle is None or self.cycle.response_complete
        app = self.config.app
        assert isinstance(app, ServiceApp)
        app.service.observing.unheard(name, status, problem.code, alone=alone)
        answer = problem.response(name)
        del answer.headers["content-length"]  # the connection's own
        answer.headers["x-request-id"] = name
        answer.headers["x-skinxai-disclaimer"] = DISCLAIMER
        return answer.raw_headers, bytes(answer.body)


class Server(uvicorn.Server):
    """uvicorn, which ends when the answers are given.

    Told to end, the service says at once that it is not ready and refuses what is new; told twice,
    it ends now.
    """

    def __init__(self, app: ServiceApp) -> None:
        grace = max(1, round(app.service.settings.grace))
        super().__init__(
            uvicorn.Config(
                app, http=ServicePatient, ws="none", lifespan="on", log_config=None,
                access_log=False, server_header=False, proxy_headers=False,
                timeout_keep_alive=IDLE, timeout_graceful_shutdown=grace,
            )
        )  # fmt: skip
        self._app, self._told = app, 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        if self._told:
            self.force_exit = self.should_exit = True
        self._told = self._told or time.monotonic()
        self._app.service.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to close the door now."""
        lingered = bool(self._told) and time.monotonic() - self._told > LINGER
        return await super().on_tick(counter) or lingered


def serve(settings: ServiceSettings | None = None) -> None:
    """Serve until the process is told to end; the models load while probes are answered.

    Args:
        settings: of the service; the defaults otherwise.

    Raises:
        OptionError: nothing can listen at the address and port, or another setting is wrong.
        ModelError: no such model, or a damaged one.
    """
    settings = settings or ServiceSettings()
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    app = create_app(settings, failed=failed)
    listener = listening(settings.host, settings.port)
    server = Server(app)
    host, port = listener.getsockname()[:2]
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    sys.stdout.write(f"The service is at {place}; Ctrl+C ends it.\n")
    sys.stdout.flush()
    with json_logs(), _reloading(app):
        server.run([listener])
    if server.force_exit:  # work that was begun does not keep the process
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    if failures:
        raise failures[0]


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OptionError: nothing can listen there.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = str(error).rstrip(".")
        raise OptionError(
            f"listening at port {port} of {host!r} failed: {reason}; choose another port or host."
        ) from error
    listener.set_inheritable(False)
    return listener


@contextmanager
def _reloading(app: ServiceApp) -> Iterator[None]:
    """Load all models again whenever the process gets SIGHUP, where there is such a signal."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None:
        yield
        return
    before = signal.signal(hangup, lambda *_: app.service.pool.reload())
    try:
        yield
    finally:
        signal.signal(hangup, before)
