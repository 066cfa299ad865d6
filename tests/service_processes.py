"""A service in a process of its own, and what it says over HTTP."""

import contextlib
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator

import warm
from places import ROOT

PROGRAM = """
import sys, threading
from skinxai.serving import server, app
from skinxai.serving.service_settings import ServiceSettings
from skinxai.testing.networks import ColourNetwork, of_network
network = ColourNetwork().requires_grad_(False)
made, go = app.create_app, threading.Event()
class Slow(list):
    def __iter__(self):
        go.wait(30 if "slow" in sys.argv else 0)
        return super().__iter__()
def create(settings, **more):
    found = made(settings, classifiers=Slow([of_network(network)]), **more)
    load = found.load
    def loaded():
        load()
        if "held" in sys.argv:
            network.disturb = lambda images: threading.Event().wait()
    found.load = loaded
    return found
server.create_app = create
server.serve(ServiceSettings(port=int(sys.argv[-1]) if sys.argv[1:] else 0))
"""


@contextlib.contextmanager
def process(*words: str, **more) -> Iterator[tuple[subprocess.Popen, int]]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    started = warm.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True,
        env=environment, **more,
    )  # fmt: skip
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        yield started, int(line.partition(";")[0].rpartition(":")[2])
    finally:
        started.kill()
        started.wait()
        started.stdout.close()


def status(port: int, path: str = "/readyz") -> int:
    """Of an answer; 0 where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def page(port: int) -> bytes:
    """What the service tells Prometheus."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as link:
        link.request("GET", "/metrics")
        return link.getresponse().read()
