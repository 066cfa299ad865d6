"""Spans of OpenTelemetry where its package is installed, nothing otherwise. The only file with it.

A request's span is the child of the caller's, if the caller sends one (W3C ``traceparent``). Its
children say how long its images waited; the span of a batch is the child of the first image's and
links to those of the others, and has the model's span in it. Who exports them is the provider that
the process was started with, as ``opentelemetry-instrument`` does.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

NAME = "skinxai.serving"


class Tracing:
    """Where spans begin; here none does, as where the package is not installed."""

    def request(self, method: str, headers: Mapping[str, str]) -> AbstractContextManager[Any]:
        """A span of a request, which is entered.

        Args:
            method: of HTTP.
            headers: of the request, names in lower case; only ``traceparent`` and ``tracestate``
                are read.
        """
        return nullcontext()

    def answered(self, span: Any, route: str, method: str, status: int, images: int) -> None:
        """Note the answer in the span of a request.

        Args:
            span: of `request`.
            route: template of the route.
            method: of HTTP.
            status: of the answer.
            images: how many came.
        """

    def place(self) -> Any:
        """The span of the request that is at work here, whose child a batch becomes."""

    def batch(
        self, places: Sequence[Any], waited: Sequence[float], seconds: float, model: str
    ) -> None:
        """Note images that have just gone through a model together.

        Args:
            places: of each image's request.
            waited: seconds that each image waited.
            seconds: that the model took.
            model: its configured name.
        """


class OpenTelemetry(Tracing):
    """Spans of OpenTelemetry.

    Args:
        provider: of tracers; that of the process by default.
    """

    def __init__(self, provider: Any = None) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace, self._given = trace, provider is not None
        self._tracer = trace.get_tracer(NAME, tracer_provider=provider)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """See `Tracing.request`."""
        provider = None if self._given else self._trace.get_tracer_provider()
        if isinstance(provider, self._trace.ProxyTracerProvider):  # nobody exports spans
            yield self._trace.INVALID_SPAN
            return
        known = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        with self._tracer.start_as_current_span(
            method,
            context=self._propagator.extract(known),
            kind=self._trace.SpanKind.SERVER,
            attributes={"http.request.method": method},
            record_exception=False,  # its message may quote what came
            set_status_on_exception=False,
        ) as span:
            yield span

    def answered(self, span: Any, route: str, method: str, status: int, images: int) -> None:
        """See `Tracing.answered`."""
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.route": route,
                "http.response.status_code": status,
                "skinxai.images": images,
            }
        )
        if status >= 500:
            span.set_status(self._trace.StatusCode.ERROR)

    def place(self) -> Any:
        """See `Tracing.place`."""
        return self._trace.get_current_span()

    def batch(
        self, places: Sequence[Any], waited: Sequence[float], seconds: float, model: str
    ) -> None:
        """See `Tracing.batch`."""
        now = time.time_ns()
        began = now - round(seconds * 1e9)
        within = self._trace.set_span_in_context
        queued = [
            self._tracer.start_span(
                "queue", context=within(place), start_time=began - round(each * 1e9)
            )
            for place, each in zip(places, waited, strict=True)
        ]
        for span in queued:
            span.end(began)
        batch = self._tracer.start_span(
            "batch",
            context=within(queued[0]),
            links=[self._trace.Link(each.get_span_context()) for each in queued[1:]],
            attributes={"skinxai.images": len(queued)},
            start_time=began,
        )
        inference = self._tracer.start_span(
            "inference", context=within(batch), attributes={"skinxai.model": model},
            start_time=began,
        )  # fmt: skip
        inference.end(now)
        batch.end(now)


def open_tracing() -> Tracing:
    """What traces: OpenTelemetry where its package is installed."""
    try:
        return OpenTelemetry()
    except ImportError:
        return Tracing()
