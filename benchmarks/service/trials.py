"""What is measured of the service without faults: capacity, batches, overhead, rivals, overload."""

import os
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

from service.running import (
    CORES,
    SERVER,
    Sending,
    Server,
    Watching,
    by_hand,
    by_litserve,
    quantile,
    send,
    service,
    wait_until,
)

from skinxai import Classifier

CLIENTS = 16
SAME = 1e-5
"""Probabilities of one image alone and in a batch differ by rounding alone."""


def warm(server: Server, images: list[Path]) -> dict[int, Any]:
    """The answers of a quiet service, one image at a time."""
    found = {}
    for number, path in enumerate(images):
        status, answer = server.predict(path.read_bytes())
        if status != 200:
            raise SystemExit(f"{path.name}: {status} {answer}")
        row = answer["results"][0] if "results" in answer else answer
        found[number] = [row["label"], row["probabilities"], row["model"]]
    return found


def wrong(expected: dict[int, Any], result: dict[str, Any]) -> tuple[int, float]:
    """How many answers are not those of the quiet run, and how far the others are off."""
    count, most = 0, 0.0
    for _, image, status, _, _, answer in result["rows"]:
        if status == 200:
            label, probabilities, model = expected[image]
            off = max(abs(answer[1][name] - value) for name, value in probabilities.items())
            if answer[0] != label or answer[2] != model or off > SAME:
                count += 1
            else:
                most = max(most, off)
    return count, most


def rate(result: dict[str, Any]) -> float:
    """Good answers a second."""
    return sum(row[2] == 200 for row in result["rows"]) / result["seconds"]


def closed(server: Server, images: list[Path], seconds: float, clients: int = CLIENTS) -> Any:
    expected = warm(server, images)
    before = server.processor()
    result = send(server, images, seconds, clients=clients)
    used = server.processor() - before
    bad, off = wrong(expected, result)
    times = [row[4] for row in result["rows"] if row[2] == 200]
    return {
        "images_a_second": round(rate(result), 2),
        "processor_ms_an_image": round(1000 * used / max(1, len(times)), 1),
        "median_ms": round(1000 * quantile(times, 0.5), 1),
        "p99_ms": round(1000 * quantile(times, 0.99), 1),
        "other_answers": bad,
        "largest_difference": off,
        "statuses": statuses(result),
        "sender_processor": round(result["processor"], 3),
    }


def statuses(result: dict[str, Any]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for row in result["rows"]:
        found.setdefault(row[0], Counter())[str(row[2])] += 1
    return {kind: dict(sorted(counts.items())) for kind, counts in sorted(found.items())}


def rivals(folder: Path, images: list[Path], seconds: float, backend: str, litserve: str) -> Any:
    """The same model four ways, in turns, so that a busy minute meets all of them."""
    own = ("--backend", backend, "--cache", "off", "--no-drift")
    ways: dict[str, Any] = {
        "service": lambda: service(folder, *own),
        "one_by_one": lambda: service(folder, *own, "--max-batch", "1"),
        "by_hand": lambda: by_hand(folder, backend),
    }
    if litserve:
        ways["litserve"] = lambda: by_litserve(folder, backend, litserve)
    rounds: dict[str, list[Any]] = {name: [] for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            with way() as server:
                rounds[name].append(closed(server, images, seconds / 3))
                print(name, rounds[name][-1]["images_a_second"], flush=True)
    best = {name: max(r["images_a_second"] for r in found) for name, found in rounds.items()}
    ratios = {f"service_to_{name}": round(best["service"] / best[name], 2) for name in ways}
    return {"clients": CLIENTS, "rounds": rounds, "best": best, "ratios": ratios}


def overhead(folder: Path, images: list[Path], backend: str) -> Any:
    """A request's time over that of `predict` of the same bytes, on the same processor."""
    bodies = [path.read_bytes() for path in images]
    with service(folder, "--backend", backend, "--cache", "off", "--no-drift") as server:
        warm(server, images)
        os.sched_setaffinity(0, SERVER)
        classifier = Classifier.from_pretrained(backend=backend)
        classifier.predict(bodies[:2])
        alone, asked = [], []
        used, of_service = 0.0, server.processor()
        for body in bodies * 3:  # in turns, so that a busy moment meets both
            start, processor = time.perf_counter(), time.process_time()
            classifier.predict(body)
            alone.append(time.perf_counter() - start)
            used += time.process_time() - processor
            start = time.perf_counter()
            server.predict(body)
            asked.append(time.perf_counter() - start)
        of_service = server.processor() - of_service
        os.sched_setaffinity(0, CORES)
    more = statistics.median(a - b for a, b in zip(asked, alone, strict=True))
    return {
        "predict_ms": round(1000 * statistics.median(alone), 2),
        "request_ms": round(1000 * statistics.median(asked), 2),
        "overhead_ms": round(1000 * more, 2),
        "processor_overhead_ms": round(1000 * (of_service - used) / len(asked), 2),
    }


def overload(folder: Path, images: list[Path], minutes: float, backend: str) -> Any:
    """Ten times the capacity, whatever comes back, with what strangers send."""
    options = ("--backend", backend, "--cache", "off", "--no-drift")
    seconds = 60 * minutes
    with service(folder, *options) as server:
        expected = warm(server, images)
        before = send(server, images, min(20.0, seconds), clients=CLIENTS)
        capacity = rate(before)
        start = statistics.median(server.memory() for _ in range(5))
        watching = Watching(server)
        watching.start()
        plan = {"poison": 0.01, "abort": 0.05, "oversize": 0.01, "slow": 16}
        result = send(server, images, seconds, rate=10 * capacity, **plan)
        watching.end()
        wait_until(lambda: server.get("/readyz")[0] == 200)
        after = send(server, images, min(20.0, seconds), clients=CLIENTS)
        end = server.memory()
        code = server.end()
    bad, off = wrong(expected, result)
    times = [row[4] for row in result["rows"] if row[0] == "good" and row[2] == 200]
    refused = [row[4] for row in result["rows"] if row[0] == "good" and row[2] not in (200, None)]
    found = statuses(result)
    return {
        "minutes": minutes,
        "capacity": round(capacity, 2),
        "capacity_after": round(rate(after), 2),
        "sent_a_second": round(len(result["rows"]) / result["seconds"], 1),
        "behind_seconds": round(result["behind"], 3),
        "sender_processor": round(result["processor"], 3),
        "goodput": round(rate(result), 2),
        "goodput_share": round(rate(result) / statistics.mean([capacity, rate(after)]), 3),
        "accepted_p50_ms": round(1000 * quantile(times, 0.5), 1),
        "accepted_p99_ms": round(1000 * quantile(times, 0.99), 1),
        "refused_p99_ms": round(1000 * quantile(refused, 0.99), 1),
        "health_p50_ms": round(1000 * quantile(watching.seconds, 0.5), 1),
        "health_p99_ms": round(1000 * quantile(watching.seconds, 0.99), 1),
        "health_failed": watching.failed,
        "memory_start_mib": round(start),
        "memory_most_mib": round(max(watching.memory)),
        "memory_end_mib": round(end),
        "statuses": found,
        "faults": sum(counts.get("500", 0) for counts in found.values()),
        "cut_or_doubled": sum(c.get(k, 0) for c in found.values() for k in ("-2", "-3")),
        "without_answer": sum(found.get(k, {}).get("0", 0) for k in ("good", "poison")),
        "not_reached": sum(counts.get("-1", 0) for counts in found.values()),
        "strays": result["strays"],
        "other_answers": bad,
        "largest_difference": off,
        "exit_code": code,
    }


def ending(folder: Path, images: list[Path], backend: str) -> Any:
    """SIGTERM while clients ask: what was accepted is answered."""
    with service(folder, "--backend", backend, "--cache", "off", "--no-drift") as server:
        expected = warm(server, images)
        plan = {"port": server.port, "path": "/v1/predict", "images": [str(p) for p in images]}
        capacity = rate(send(server, images, 5.0, clients=CLIENTS))
        sending = Sending({**plan, "seconds": 8.0, "rate": 2 * capacity})
        time.sleep(4.0)
        told, start = time.time(), time.monotonic()
        code = server.end()
        took = time.monotonic() - start
        result = sending.result()
    bad, _ = wrong(expected, result)
    sides = {"before": [r for r in result["rows"] if r[3] < told - 0.05]}
    sides["after"] = [r for r in result["rows"] if r[3] >= told - 0.05]
    counts = {side: dict(Counter(str(r[2]) for r in rows)) for side, rows in sides.items()}
    lost = sum(counts["before"].get(k, 0) for k in ("0", "-1", "-2", "-3"))
    lost += sum(counts["after"].get(k, 0) for k in ("-2", "-3"))
    return {
        "exit_code": code,
        "seconds": round(took, 2),
        "sent_before_it": counts["before"],
        "sent_after_it": counts["after"],
        "lost": lost,
        "other_answers": bad,
    }
