"""Spans of OpenTelemetry where its package is installed, nothing otherwise. The only file with it.

A request's span is the child of the caller's, if the caller sends one (W3C ``traceparent``). Its
children say how long its images waited; the span of a batch is the child of the first image's and
links to those of the others, and has the model's span in it. Who exports them is the provider that
the process was started with, as ``opentelemetry-instrument`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

NAME = "skinxai.serving"
Attributes = Mapping[str, str | int | float | bool]


class Tracing(Protocol):
    """Where spans begin. A place is what `request` gives, and says whose child a span is."""

    def request(
        self, route: str, method: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[Any]:
        """A span of a request, whose place is entered.

        Args:
            route: template of the route.
            method: of HTTP.
            headers: of the request, names in lower case; only ``traceparent`` and ``tracestate``
                are read.
        """
        ...

    def answered(self, place: Any, status: int, attributes: Attributes) -> None:
        """Note the answer in the span of a request: its status, and what else there is to say."""
        ...

    def waiting(self, place: Any) -> Any:
        """Begin the span of an image that waits for a model; end it with `taken`."""
        ...

    def taken(self, span: Any) -> None:
        """End a span of `waiting`."""
        ...

    def batch(self, waited: Sequence[Any], attributes: Attributes) -> AbstractContextManager[Any]:
        """A span of images that go through a model together, given their spans of `waiting`."""
        ...

    def inference(self, attributes: Attributes) -> AbstractContextManager[Any]:
        """A span of the model alone, within that of its batch."""
        ...


class NoTracing:
    """Where the package is not installed."""

    def request(
        self, route: str, method: str, headers: Mapping[str, str]
    ) -> AbstractContextManager[Any]:
        """Nothing."""
        return nullcontext()

    def answered(self, place: Any, status: int, attributes: Attributes) -> None:
        """Nothing."""

    def waiting(self, place: Any) -> Any:
        """Nothing."""
        return None

    def taken(self, span: Any) -> None:
        """Nothing."""

    def batch(self, waited: Sequence[Any], attributes: Attributes) -> AbstractContextManager[Any]:
        """Nothing."""
        return nullcontext()

    def inference(self, attributes: Attributes) -> AbstractContextManager[Any]:
        """Nothing."""
        return nullcontext()


class OpenTelemetry:
    """Spans of OpenTelemetry.

    Args:
        provider: of tracers; that of the process by default.
    """

    def __init__(self, provider: Any = None) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._tracer = trace.get_tracer(NAME, tracer_provider=provider)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, route: str, method: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """See `Tracing.request`."""
        known = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            context=self._propagator.extract(known),
            kind=self._trace.SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
            record_exception=False,  # its message may quote what came
            set_status_on_exception=False,
        ) as span:
            yield span

    def answered(self, place: Any, status: int, attributes: Attributes) -> None:
        """See `Tracing.answered`."""
        place.set_attribute("http.response.status_code", status)
        place.set_attributes(attributes)
        if status >= 500:
            place.set_status(self._trace.StatusCode.ERROR)

    def waiting(self, place: Any) -> Any:
        """See `Tracing.waiting`."""
        return self._tracer.start_span("queue", context=self._trace.set_span_in_context(place))

    def taken(self, span: Any) -> None:
        """See `Tracing.taken`."""
        span.end()

    @contextmanager
    def batch(self, waited: Sequence[Any], attributes: Attributes) -> Iterator[Any]:
        """See `Tracing.batch`."""
        first, *others = waited
        with self._tracer.start_as_current_span(
            "batch",
            context=self._trace.set_span_in_context(first),
            links=[self._trace.Link(each.get_span_context()) for each in others],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def inference(self, attributes: Attributes) -> AbstractContextManager[Any]:
        """See `Tracing.inference`."""
        return self._tracer.start_as_current_span(
            "inference", attributes=attributes, record_exception=False,
            set_status_on_exception=False,
        )  # fmt: skip


def open_tracing(provider: Any = None) -> Tracing:
    """What traces: OpenTelemetry where its package is installed.

    Args:
        provider: see `OpenTelemetry`.
    """
    try:
        return OpenTelemetry(provider)
    except ImportError:
        return NoTracing()
