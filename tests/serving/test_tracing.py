"""Spans, as the in-memory exporter of OpenTelemetry's own SDK sees them."""

import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from skinxai.serving.tracing import OpenTelemetry, open_tracing

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter) -> OpenTelemetry:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetry(provider)


def two_requests_in_a_batch(tracing) -> None:
    places = []
    for headers in ({"traceparent": CALLER, "authorization": "Bearer secret"}, {}):
        with tracing.request("POST", headers) as span:
            places.append(tracing.place())
            tracing.answered(span, "/v1/predict", "POST", 200, 1)
    tracing.batch(places, [0.25, 0.125], 0.5, "lite1")


def test_request_queue_batch_inference(tracing, exporter) -> None:
    two_requests_in_a_batch(tracing)
    spans = exporter.get_finished_spans()
    first, second, queue, other_queue, inference, batch = spans
    assert [span.name for span in spans] == [
        "POST /v1/predict", "POST /v1/predict", "queue", "queue", "inference", "batch",
    ]  # fmt: skip
    assert f"{first.context.trace_id:032x}" == CALLER.split("-")[1]
    assert f"{first.parent.span_id:016x}" == CALLER.split("-")[2]
    assert second.parent is None and second.context.trace_id != first.context.trace_id
    assert queue.parent.span_id == first.context.span_id
    assert other_queue.parent.span_id == second.context.span_id
    assert batch.parent.span_id == queue.context.span_id
    assert [link.context.span_id for link in batch.links] == [other_queue.context.span_id]
    assert inference.parent.span_id == batch.context.span_id
    assert [span.end_time - span.start_time for span in spans[2:]] == [
        250_000_000, 125_000_000, 500_000_000, 500_000_000,
    ]  # fmt: skip
    assert queue.end_time == other_queue.end_time == batch.start_time == inference.start_time
    assert dict(first.attributes) == {
        "http.request.method": "POST", "http.route": "/v1/predict", "skinxai.images": 1,
        "http.response.status_code": 200,
    }  # fmt: skip
    assert dict(batch.attributes) == {"skinxai.images": 2}
    assert dict(inference.attributes) == {"skinxai.model": "lite1"}
    assert "secret" not in "".join(span.to_json() for span in spans)


def test_errors_are_marked_without_their_words(tracing, exporter) -> None:
    with pytest.raises(ValueError), tracing.request("POST", {}) as span:
        tracing.answered(span, "other", "POST", 500, 0)
        raise ValueError("patient_0042.jpg")
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok and "patient" not in span.to_json()


def test_a_damaged_parent_begins_a_new_trace(tracing, exporter) -> None:
    with tracing.request("POST", {"traceparent": "00-zz"}):
        pass
    assert exporter.get_finished_spans()[0].parent is None


def test_nothing_without_the_package(monkeypatch) -> None:
    assert isinstance(open_tracing(), OpenTelemetry)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    found = open_tracing()
    assert not isinstance(found, OpenTelemetry)
    two_requests_in_a_batch(found)
