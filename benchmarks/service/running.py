"""A server of this machine, started, watched and ended; and a sender, in a process of its own."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from service.sender import wrapped

HERE = Path(__file__).parent
CORES = sorted(os.sched_getaffinity(0))
SERVER, CLIENT = ({CORES[0]}, {CORES[-1]}) if len(CORES) > 1 else (set(CORES), set(CORES))
"""Servers have the first processor and the sender the last: neither takes from the other."""
PATIENCE = 300.0


class Server:
    """A running server.

    Args:
        process: of the server.
        port: on loopback.
        log: what it wrote.
    """

    def __init__(self, process: subprocess.Popen, port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.json = False

    def get(self, path: str, timeout: float = 10.0) -> tuple[int, bytes]:
        return self.ask("GET", path, timeout=timeout)

    def predict(self, image: bytes, path: str = "/v1/predict") -> tuple[int, Any]:
        kind, sent = ("application/json", wrapped(image)) if self.json else ("image/jpeg", image)
        status, body = self.ask("POST", path, sent, {"Content-Type": kind}, 60.0)
        return status, json.loads(body)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def memory(self) -> float:
        """MiB that the process and its children keep in memory."""
        return sum(_resident(pid) for pid in family(self.process.pid)) / 1024

    def processor(self) -> float:
        """Seconds of a processor that the process and its children have used."""
        return sum(_used(pid) for pid in family(self.process.pid))

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def family(pid: int) -> list[int]:
    """A process and its children."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                found += family(int(child))
    return found


def _resident(pid: int) -> int:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    return 0


def _used(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def running(
    command: list[str],
    folder: Path,
    port: int,
    ready: str = "/readyz",
    cores: set[int] | None = None,
    **environment: str,
) -> Iterator[Server]:
    """A server that answers, until the block ends."""
    log = folder / f"server-{time.time_ns()}.log"
    use = SERVER if cores is None else cores
    own = os.environ | {"OMP_NUM_THREADS": str(len(use))} | environment
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            env=own,
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, use),
        )
    server = Server(process, port, log)
    try:
        wait_until(lambda: _answers(server, ready))
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(server: Server, path: str) -> bool:
    if server.process.poll() is not None:
        raise SystemExit(f"the server ended: {server.log.read_text()[-2000:]}")
    with suppress(OSError, http.client.HTTPException):
        return server.get(path)[0] == 200
    return False


def wait_until(shown: Any, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not shown():
        if time.monotonic() > end:
            raise SystemExit(f"not shown within {patience:.0f} s")
        time.sleep(0.1)


def service(
    folder: Path,
    *options: str,
    cores: set[int] | None = None,
    prefix: tuple[str, ...] = (),
    **more: str,
) -> Any:
    """`skinxai serve` with options."""
    port = free_port()
    own = [sys.executable, "-c", "from skinxai.cli import main; main()", "serve"]
    command = [*prefix, *own, "--port", str(port), *options]
    return running(command, folder, port, cores=cores, **more)


def by_hand(folder: Path, backend: str) -> Any:
    port = free_port()
    command = [sys.executable, str(HERE / "by_hand.py"), str(port), backend]
    return running(command, folder, port, "/healthz")


@contextmanager
def by_litserve(folder: Path, backend: str, python: str) -> Iterator[Server]:
    """LitServe takes images in JSON, as base64."""
    port = free_port()
    command = [python, str(HERE / "by_litserve.py"), str(port), backend]
    with running(command, folder, port, "/healthz") as server:
        server.json = True
        yield server


class Sending:
    """A sender at work; `result` waits for its end."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "sender.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, CLIENT),
        )
        self._found: bytes = b""
        self._thread = threading.Thread(target=self._talk, args=(json.dumps(plan).encode(),))
        self._thread.start()

    def _talk(self, plan: bytes) -> None:
        self._found, _ = self._process.communicate(plan)

    def result(self) -> dict[str, Any]:
        self._thread.join()
        return json.loads(self._found)


def send(server: Server, images: list[Path], seconds: float, **plan: Any) -> dict[str, Any]:
    """What a sender got."""
    base = {"port": server.port, "path": "/v1/predict", "images": [str(p) for p in images]}
    base["json"] = server.json
    return Sending({**base, "seconds": seconds, **plan}).result()


class Watching(threading.Thread):
    """Asks for /healthz ten times a second, and looks at the memory."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server, self._ends = server, threading.Event()
        self.seconds: list[float] = []
        self.memory: list[float] = []
        self.failed = 0

    def run(self) -> None:
        os.sched_setaffinity(0, CLIENT)
        while not self._ends.wait(0.1):
            start = time.perf_counter()
            try:
                status, _ = self._server.get("/healthz", 10.0)
            except (OSError, http.client.HTTPException):
                status = 0
            if status == 200:
                self.seconds.append(time.perf_counter() - start)
            else:
                self.failed += 1
            self.memory.append(self._server.memory())

    def end(self) -> None:
        self._ends.set()
        self.join()


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def busy() -> dict[str, float]:
    """How busy the machine is, by others too, over two seconds."""

    def looked() -> tuple[int, int]:
        numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(numbers), numbers[3] + numbers[4]

    (all_before, idle_before), _ = looked(), time.sleep(2)
    everything, idle = looked()
    share = 1 - (idle - idle_before) / max(1, everything - all_before)
    return {"before": round(share, 2), "load": round(os.getloadavg()[0], 1)}
