"""What it costs the service to refuse a request, in its own processor time.

    PYTHONPATH=src python benchmarks/refusals.py [--requests 2000] [--profile FILE]

The service runs in a process of its own with as many images waiting as it takes; each request is a
photograph that gets 503 with `queue_full`. Where clients open a connection for each request, and
where they keep one.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from service.running import family

from skinxai import samples

PROGRAM = """
import sys, threading
from skinxai.serving import app, server
from skinxai.serving.service_settings import ServiceSettings
from skinxai.testing import colour_classifier
made = app.create_app
def full(settings, **more):
    found = made(settings, classifiers=[colour_classifier()], **more)
    load = found.load
    def loaded():
        load()
        found.service.images = 10**9
    found.load = loaded
    return found
server.create_app = full
server.serve(ServiceSettings(port=0))
"""


def processor(pid: int) -> float:
    """Seconds of a processor that a process has used, to the nanosecond."""
    text = [Path(f"/proc/{each}/task").glob("*/schedstat") for each in family(pid)]
    return sum(int(path.read_text().split()[0]) for paths in text for path in paths) / 1e9


def request(body: bytes) -> bytes:
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nUser-Agent: a-client/1.0\r\n"
        f"Accept: */*\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask(link: socket.socket, sent: bytes) -> bytes:
    """One answer, whole."""
    link.sendall(sent)
    found = b""
    while b"\r\n\r\n" not in found:
        if not (more := link.recv(65536)):
            return found
        found += more
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length and (more := link.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body


def measured(port: int, pid: int, sent: bytes, count: int, keep: bool) -> float:
    """Milliseconds of the server's processor for one refusal."""
    before, link = processor(pid), None
    for _ in range(count):
        if link is None:
            link = socket.create_connection(("127.0.0.1", port))
        found = ask(link, sent)
        if not found.startswith(b"HTTP/1.1 503") or b'"queue_full"' not in found:
            raise SystemExit(f"not refused: {found[:500]!r}")
        if not keep or b"connection: close" in found.lower():
            link.close()
            link = None
    if link is not None:
        link.close()
    return 1000 * (processor(pid) - before) / count


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=2000)
    options.add_argument("--profile", help="file for the stacks that py-spy sees, as raw text")
    chosen = options.parse_args()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as server:  # fmt: skip
        try:
            port = int(server.stdout.readline().partition(";")[0].rpartition(":")[2])
            body = samples.paths()[0].read_bytes()
            sent = request(body)
            for _ in range(10_000):  # until its model is loaded
                with closing(socket.create_connection(("127.0.0.1", port))) as link:
                    if b'"queue_full"' in ask(link, sent):
                        break
            spy = None
            if chosen.profile:
                beside = Path(sys.executable).with_name("py-spy")
                words = [beside, "record", "-d", "8", "-r", "500", "-f", "raw"]
                spy = subprocess.Popen([*words, "-o", chosen.profile, "--pid", str(server.pid)])
            ways = {"new_connection": False, "kept_connection": True}
            found = {
                name: [
                    round(measured(port, server.pid, sent, chosen.requests, keep), 3)
                    for _ in range(3)
                ]
                for name, keep in ways.items()
            }
            if spy is not None:
                spy.wait()
        finally:
            server.kill()
    best = {name: min(rounds) for name, rounds in found.items()}
    print(json.dumps({"bytes": len(body), "milliseconds": found, "best": best}))


if __name__ == "__main__":
    main()
