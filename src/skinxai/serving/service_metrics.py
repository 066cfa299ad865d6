"""`Metrics`: what the service measures, for Prometheus. The only file with prometheus_client."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from skinxai.serving.problems import KNOWN_CODES

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64)
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
REASONS = {
    "queue_full": "queue_full", "deadline": "deadline", "rate": "rate", "shutdown": "shutdown",
    "loading": "loading", "body_too_large": "body", "too_many_images": "body", "framing": "body",
    "key": "key", "host": "host",
}  # fmt: skip
"""Codes of problems by which the service protects itself → what the metric calls it."""
CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Of what `Metrics.text` returns."""
_CREATED = re.compile(rb"(?m)^(# (HELP|TYPE) )?skinxai_\w+_created[ {].*\n")
"""When each series began, which nobody asks for and which would double them."""


class Metrics:
    """Everything that one service measures, in a registry of its own.

    No label comes from a request: a route is its template, a method one of seven, a model the name
    that it was configured with.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answers", "route", "method", "status")
        self.request_seconds = self._histogram(
            "request_seconds", "Seconds from a request to its answer", SECONDS, "route", "status"
        )
        self.queue_images = self._gauge("queue_images", "Images that wait or are computed")
        self.queue_seconds = self._histogram(
            "queue_seconds", "Seconds that images waited for a model", SECONDS
        )
        self.batch_images = self._histogram(
            "batch_images", "Images that went through a model together", IMAGES
        )
        self.inference_seconds = self._histogram(
            "inference_seconds", "Seconds of a model for a batch", SECONDS, "model"
        )
        self.images = self._counter("images", "Images that came, by their outcome", "outcome")
        self.predictions = self._counter(
            "predictions", "Answers by the most probable class", "model", "label"
        )
        self.confidence = self._histogram(
            "confidence", "Probabilities of the most probable class", SHARES, "model"
        )
        self.decisions = self._counter(
            "decisions", "Answers by decision: refer, routine or abstain", "model", "decision"
        )
        self.cache_requests = self._counter(
            "cache_requests", "Looks into the cache, by how they ended", "result"
        )
        self.errors = self._counter("errors", "Errors by their stable code", "code")
        self.refusals = self._counter(
            "refusals", "Requests that were refused to protect the service", "reason"
        )
        self.drift_statistic = self._gauge(
            "drift_statistic", "Statistic of a drift test", "model", "test"
        )
        self.drift_alarm = self._gauge(
            "drift_alarm", "Whether a drift test raises an alarm", "model", "test"
        )
        self.drift_window_images = self._gauge(
            "drift_window_images", "Images in the window of the drift tests", "model"
        )
        self.estimated_accuracy = self._gauge(
            "estimated_accuracy", "Accuracy in the window, estimated without labels", "model"
        )
        self.shadow = self._counter(
            "shadow", "Answers of a shadow, by whether it agrees with the live one", "model",
            "agrees",
        )  # fmt: skip
        self.shadow_left_out = self._counter(
            "shadow_left_out", "Images that a shadow did not see or could not answer", "model"
        )
        self.model_info = self._gauge("model_info", "Models in use", "model", "revision", "role")
        self.ready = self._gauge("ready", "Whether the service takes requests")
        self.store_errors = self._counter(
            "store_errors", "Answers that could not be recorded for review"
        )
        self.review_open_cases = self._gauge("review_open_cases", "Cases that wait for a reviewer")
        for code in KNOWN_CODES:
            self.errors.labels(code)
        for result in ("hit", "miss", "error"):
            self.cache_requests.labels(result)
        for reason in REASONS.values():
            self.refusals.labels(reason)
        for outcome in ("answered", "refused"):
            self.images.labels(outcome)

    def answered(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """Count an answer.

        Args:
            route: the template of the route, such as ``"/v2/models/{name}/infer"``; ``None`` where
                there is no such route.
            method: of HTTP, as it came.
            status: of HTTP.
            seconds: from the request to its answer.
        """
        route = route or "other"
        method = method if method in METHODS else "other"
        self.requests.labels(route, method, str(status)).inc()
        self.request_seconds.labels(route, f"{status // 100}xx").observe(seconds)

    def predicted(self, model: str, answer: Mapping[str, Any]) -> None:
        """Count an answer for an image, as `Prediction.to_dict` gives it."""
        self.images.labels("answered").inc()
        self.predictions.labels(model, answer["label"]).inc()
        self.confidence.labels(model).observe(answer["probability"])
        if answer["decision"] is not None:
            self.decisions.labels(model, answer["decision"]).inc()

    def refused(self, images: int) -> None:
        """Count images that were not answered; errors are counted by their code, beside."""
        self.images.labels("refused").inc(images)

    def looked(self, result: str) -> None:
        """Count a look into the cache: ``"hit"``, ``"miss"`` or ``"error"``."""
        self.cache_requests.labels(result).inc()

    def in_use(
        self, model: str, revision: str, role: str, *, labels: Iterable[str] = (),
        instead_of: str | None = None,
    ) -> None:  # fmt: skip
        """Note a model that answers; its counters begin at 0, for rates do not see a first value.

        Args:
            model: its configured name.
            revision: the short digest of its files.
            role: ``"live"`` or ``"shadow"``.
            labels: of its classes.
            instead_of: the revision that it takes the place of.
        """
        if instead_of is not None:
            self.model_info.remove(model, instead_of, role)
        self.model_info.labels(model, revision, role).set(1)
        if role == "shadow":
            self.shadow_left_out.labels(model)
            for agrees in ("yes", "no"):
                self.shadow.labels(model, agrees)
            return
        self.inference_seconds.labels(model)
        self.confidence.labels(model)
        for label in labels:
            self.predictions.labels(model, label)
        for decision in ("refer", "routine", "abstain"):
            self.decisions.labels(model, decision)

    def serves(self, route: str, methods: Iterable[str]) -> None:
        """Note a route, by its template; its faults begin at 0, as each error does."""
        for method in methods:
            self.requests.labels(route, method, "500")

    def forget_drift(self) -> None:
        """Drop what drift monitors said before."""
        for each in (
            self.drift_statistic, self.drift_alarm, self.drift_window_images,
            self.estimated_accuracy,
        ):  # fmt: skip
            each.clear()

    def text(self) -> bytes:
        """All values, as Prometheus reads them."""
        return _CREATED.sub(b"", generate_latest(self.registry))

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"skinxai_{name}", f"{words}.", labels, registry=self.registry)

    def _gauge(self, name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"skinxai_{name}", f"{words}.", labels, registry=self.registry)

    def _histogram(
        self, name: str, words: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"skinxai_{name}", f"{words}.", labels, registry=self.registry, buckets=buckets
        )
