"""More than a service can do: full queues, deadlines, clients that leave, ends under load."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

pytest.importorskip("fastapi")
from gated_service import gated, labels
from places import ROOT
from running_service import COLOURS, POST, form, png
from service_processes import PROGRAM, page, process, status
from waiting import wait_for


def test_srv20_clients_that_leave() -> None:
    with gated(max_batch=1) as (other, gate):
        body, kind = form([png()])
        head = f"{POST}Content-Type: {kind['content-type']}\r\nContent-Length: {len(body)}\r\n\r\n"
        with other.connect() as during:
            during.sendall(head.encode() + body)
            assert gate.begun.acquire(timeout=600)
            with other.connect() as waiting:
                waiting.sendall(head.encode() + body)
                wait_for(lambda: len(other.batcher) == 1)
            wait_for(lambda: len(other.batcher) == 0)  # it left before its turn
        wait_for(lambda: other.app.service.images == 0)
        with other.connect() as early:
            early.sendall(head.encode() + body[:50])
        wait_for(lambda: other.app.service.held == 0)
        gate.go.set()
        assert labels(other.predict(png("green"))) == ["green"]
        assert gate.sizes == [1, 1]  # the one that left before its turn was never computed


def test_srv21_a_deadline_that_passes_in_the_queue() -> None:
    with gated(deadline=0.3, max_batch=1) as (other, gate), ThreadPoolExecutor(1) as pool:
        first = pool.submit(other.predict, png())
        assert gate.begun.acquire(timeout=600)
        late = other.predict(png("blue"))
        assert (late.status, late.code) == (504, "deadline")
        assert "not computed" in late.json["detail"] and late.headers["retry-after"] == "1"
        assert len(other.batcher) == 0 and gate.sizes == [1]
        assert first.result().status == 504  # the model hangs
        gate.go.set()
        wait_for(lambda: other.predict(png("blue")).status == 200)
        assert "not computed" not in first.result().json["detail"]


def test_a_request_that_is_refused_for_several_images_is_one_refusal() -> None:
    late = [png("blue"), png("green"), png("red")]
    tensor = [base64.b64encode(each).decode() for each in late]
    inputs = [{"name": "image", "shape": [3], "datatype": "BYTES", "data": tensor}]
    path, kind = "/v2/models/colours/infer", {"content-type": "application/json"}
    with gated(deadline=0.3, max_batch=1) as (other, _):

        def are_counted(refusals: int, errors: int) -> bool:
            text = other.ask("GET", "/metrics").body.decode()
            return (
                f'skinxai_refusals_total{{reason="deadline"}} {refusals}.0' in text
                and f'skinxai_errors_total{{code="deadline"}} {errors}.0' in text
            )

        assert other.predict(png()).status == 504  # the model hangs with it from now on
        assert are_counted(refusals=1, errors=1)
        assert labels(other.predict(*late)) == 3 * ["deadline"]
        assert are_counted(refusals=2, errors=4)
        answer = other.ask("POST", path, json.dumps({"inputs": inputs}), kind)
        assert answer.status == 504
        assert are_counted(refusals=3, errors=7)


def test_srv22_a_full_queue() -> None:
    with gated(queue=3, max_images=2, max_batch=1) as (other, gate), ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(other.predict, png(name)) for name in COLOURS]
        wait_for(lambda: other.app.service.images == 3)
        assert gate.begun.acquire(timeout=600)
        refused = other.predict(png())
        assert (refused.status, refused.code) == (503, "queue_full")
        assert refused.headers["retry-after"] == "1"
        assert other.ask("GET", "/readyz").status == 200
        assert not any(each.done() for each in asked) and gate.sizes == [1]  # nobody waited
        gate.go.set()
        assert [labels(each.result()) for each in asked] == [[name] for name in COLOURS]
        assert other.predict(png()).status == 200
        assert sum(gate.sizes) == 4


def test_srv24_an_end_under_load() -> None:
    with gated(max_batch=2) as (other, gate), ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(other.predict, png(name)) for name in [*COLOURS, *COLOURS]]
        wait_for(lambda: other.app.service.images == 6)
        other.server.handle_exit(signal.SIGTERM, None)
        ready = other.ask("GET", "/readyz")
        assert (ready.status, ready.code) == (503, "shutdown")
        assert other.ask("GET", "/healthz").status == 200
        refused = other.predict(png())
        assert (refused.status, refused.code) == (503, "shutdown")
        assert refused.headers["connection"] == "close" and "retry-after" in refused.headers
        gate.go.set()
        assert [labels(each.result()) for each in asked] == [[n] for n in [*COLOURS, *COLOURS]]
    with (
        process("held", "0") as (told, port),
        socket.create_connection(("127.0.0.1", port)) as link,
    ):
        wait_for(lambda: status(port) == 200)
        body, kind = form([png()])
        length = f"Content-Length: {len(body)}\r\n\r\n"
        link.sendall(f"{POST}Content-Type: {kind['content-type']}\r\n{length}".encode() + body)
        wait_for(lambda: b"skinxai_queue_images 1.0" in page(port))
        told.send_signal(signal.SIGTERM)
        wait_for(lambda: status(port) == 503)
        assert told.poll() is None  # the model holds what was accepted
        told.send_signal(signal.SIGTERM)
        assert told.wait(600) in (0, -signal.SIGTERM)


def test_srv26_a_worker_that_dies_or_hangs() -> None:
    with gated(hang=0.2, deadline=0.1) as (other, gate):
        assert other.ask("GET", "/healthz").status == 200
        hanging = other.predict(png())
        assert hanging.status == 504
        wait_for(lambda: other.ask("GET", "/healthz").status == 503)
        assert other.ask("GET", "/readyz").code == "worker_ended"
        gate.go.set()
        wait_for(lambda: other.ask("GET", "/healthz").status == 200)
    with gated() as (other, gate):
        gate.go.set()

        def die(images: torch.Tensor) -> None:
            raise SystemExit

        gate.network.disturb = die
        found = other.predict(png())
        assert (found.status, found.code) == (503, "worker_ended")
        assert found.headers["retry-after"] == "1"
        assert other.ask("GET", "/healthz").status == 503
        assert other.predict(png()).status == 503


def test_srv25_ends_at_any_time() -> None:
    with process() as (first, port):
        wait_for(lambda: status(port) == 200)
        first.send_signal(signal.SIGKILL)
        first.wait()
    with process("slow", str(port)) as (second, port):  # at the same port
        wait_for(lambda: status(port) == 503)
        second.send_signal(signal.SIGTERM)  # while the model is loaded
        assert second.wait(600) == 0
        assert status(port) == 0


def test_srv29_no_file_descriptors_left() -> None:
    limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*limited, sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True,
        env=environment, stderr=subprocess.DEVNULL,
    ) as started:  # fmt: skip
        try:
            port = int(started.stdout.readline().partition(";")[0].rpartition(":")[2])
            wait_for(lambda: status(port) == 200)
            links = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
            for link in links:
                link.close()
            wait_for(lambda: status(port) == 200)
            assert started.poll() is None
        finally:
            started.kill()
