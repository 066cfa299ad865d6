"""`Observing`: counts, logs and traces each request, where it begins and where it ends."""

import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Scope

from skinxai.serving.batching import Batch
from skinxai.serving.drift_watch import DriftWatch
from skinxai.serving.fleet import Running
from skinxai.serving.guards import PROBES, path_of
from skinxai.serving.logs import RequestLine, log_request
from skinxai.serving.service_metrics import METHODS, REASONS, Metrics
from skinxai.serving.tracing import Tracing, open_tracing

STORE = 1.0
"""Seconds that a look at the metrics waits for the store."""

logger = logging.getLogger("skinxai.serving")


class Observing:
    """What a service tells of itself."""

    def __init__(self, tracing: Tracing | None = None) -> None:
        self.metrics = Metrics()
        self.tracing = open_tracing() if tracing is None else tracing
        self.waiting_cases: Callable[[], int] | None = None
        self._asking: Future[int] | None = None
        self._asker = ThreadPoolExecutor(1, "skinxai-cases")
        self._drift: dict[str, DriftWatch] = {}
        self._lock = threading.Lock()

    @contextmanager
    def request(self, scope: Scope) -> Iterator[None]:
        """The span of a request."""
        with self.tracing.request(_method(scope), Headers(scope=scope)) as span:
            scope["skinxai.span"] = span
            yield

    def ended(self, scope: Scope, visit: Any) -> None:
        """Count and log a request, as its `Visit` says."""
        seconds = time.monotonic() - visit.since
        route = getattr(scope.get("route"), "path", None) or "other"
        method = _method(scope)
        self.metrics.answered(route, method, visit.status, seconds)
        if visit.code is not None:
            self.problem(visit.code, probe=path_of(scope) in PROBES)
        self.tracing.answered(scope.get("skinxai.span"), route, method, visit.status, visit.images)
        log_request(
            RequestLine(
                visit.id, route, method, visit.status, seconds, visit.images, visit.model,
                visit.code,
            )
        )  # fmt: skip

    def problem(self, code: str, *, probe: bool = False) -> None:
        """Count a request that was not answered, by the stable code of its error.

        Args:
            code: of its error.
            probe: whether it only asked if the service is ready: then nothing was refused.
        """
        self.metrics.errors.labels(code).inc()
        if not probe:
            self._refused({code})

    def answers(
        self, model: str, rows: Iterable[tuple[Mapping[str, Any] | None, Any]], *, whole: bool
    ) -> None:
        """Count the images of a request: each one's error, and the refusal of some as one of it.

        Args:
            model: the configured name.
            rows: of each image its answer, or its problem.
            whole: whether a problem of one image is that of the whole request: then nobody is told
                the other answers, and the first problem is counted with the request.
        """
        found = list(rows)
        problems = [problem for answer, problem in found if answer is None]
        fails = whole and bool(problems)
        answers = [] if fails else [answer for answer, _ in found if answer is not None]
        for answer in answers:
            self.metrics.predicted(model, answer)
        self.metrics.refused(len(found) - len(answers))
        for problem in problems[int(fails) :]:
            self.metrics.errors.labels(problem.code).inc()
        if not fails:
            self._refused({problem.code for problem in problems})

    def _refused(self, codes: Collection[str]) -> None:
        """Count a request that was refused, once for each reason."""
        for reason in {REASONS[code] for code in codes if code in REASONS}:
            self.metrics.refusals.labels(reason).inc()

    def batch(self, model: str, batch: Batch) -> None:
        """Count and trace a batch."""
        for seconds in batch.waited:
            self.metrics.queue_seconds.observe(seconds)
        self.metrics.batch_images.observe(batch.images)
        self.metrics.inference_seconds.labels(model).observe(batch.seconds)
        self.tracing.batch(batch.places, batch.waited, batch.seconds, model)

    def agreed(self, model: str, agrees: bool) -> None:
        """Count an answer of a shadow."""
        self.metrics.shadow.labels(model, "yes" if agrees else "no").inc()

    def left_out(self, model: str) -> None:
        """Count an image that a shadow did not see, or could not answer."""
        self.metrics.shadow_left_out.labels(model).inc()

    def unheard(self, request_id: str, status: int, code: str, *, alone: bool) -> None:
        """Count an answer that the server gave by itself, such as to a request that came slowly.

        Args:
            request_id: of the answer.
            status: of HTTP.
            code: of the problem.
            alone: whether the application never heard of the request; else it counts and logs it
                too, as one whose client left.
        """
        self.problem(code)
        if alone:
            self.metrics.requests.labels("other", "other", str(status)).inc()
            log_request(RequestLine(request_id, "other", "other", status, 0.0, code=code))

    def changed(self, new: Running, old: Running | None) -> None:
        """Note a model that answers from now on."""
        before = None if old is None or old.revision == new.revision else old.revision
        self.metrics.in_use(
            new.name, new.revision, new.member.role, labels=new.classifier.labels,
            instead_of=before,
        )  # fmt: skip
        with self._lock:
            drift = getattr(new.worker, "drift", None)
            self._drift.pop(new.name, None)
            if drift is not None:
                self._drift[new.name] = drift

    def text(self) -> bytes:
        """All values, for Prometheus; those of drift are of now."""
        self._count_cases()
        metrics = self.metrics
        with self._lock:
            metrics.forget_drift()  # what a model before them left there
            for name, watch in self._drift.items():
                report = watch.report()
                metrics.drift_window_images.labels(name).set(report.window_images)
                for row in report.rows:
                    metrics.drift_statistic.labels(name, row.test).set(row.statistic)
                    metrics.drift_alarm.labels(name, row.test).set(row.alarm)
                if report.estimated_accuracy is not None:
                    metrics.estimated_accuracy.labels(name).set(report.estimated_accuracy)
            return metrics.text()

    def _count_cases(self) -> None:
        """Ask the store how many cases wait; one that does not answer leaves the last number."""
        if self.waiting_cases is None:
            return
        self._asking = self._asking or self._asker.submit(self.waiting_cases)
        try:
            self.metrics.review_open_cases.set(self._asking.result(STORE))
        except concurrent.futures.TimeoutError:
            return
        except Exception:
            logger.exception("the store does not say how many cases wait")
        self._asking = None


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "other"
