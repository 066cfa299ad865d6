"""The service counts, logs, traces and remembers each request, where it begins and ends."""

import io
import json
import sys
import threading

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis_server import RedisServer, needs_redis
from serving_clients import GREEN, RED, files, services, value
from waiting import wait_for

from skinxai.serving.api_keys import new_key
from skinxai.serving.caching import AnswerCache, MemoryStore
from skinxai.serving.logs import json_logs
from skinxai.serving.tracing import OpenTelemetry
from skinxai.testing import colour_classifier
from skinxai.testing.networks import ColourNetwork, of_network


@pytest.fixture
def open_service():
    with services() as make:
        yield make


def test_an_answer_is_counted_logged_and_traced(open_service) -> None:
    exporter, stream = InMemorySpanExporter(), io.StringIO()
    client = open_service()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    client.app.service.observing.tracing = OpenTelemetry(provider)
    key = {"Authorization": "Bearer very-secret", "X-Request-ID": "case-7"}
    with json_logs(stream):
        answer = client.post(
            "/v1/predict?subject=Mustermann", files=files(RED, GREEN, b"no image"), headers=key
        )
        assert answer.status_code == 200 and answer.headers["x-skinxai-model"].startswith("colours")
        wait_for(lambda: len(exporter.get_finished_spans()) == 5)
    (line,) = [json.loads(row) for row in stream.getvalue().splitlines()]
    assert line | {"time": 0, "seconds": 0} == {
        "time": 0, "level": "info", "request_id": "case-7", "route": "/v1/predict",
        "method": "POST", "status": 200, "seconds": 0, "images": 3,
        "model": answer.headers["x-skinxai-model"], "code": None,
    }  # fmt: skip
    assert {span.name for span in exporter.get_finished_spans()} == {
        "POST /v1/predict", "queue", "batch", "inference",
    }  # fmt: skip
    told = stream.getvalue() + client.get("/metrics").text
    told += "".join(span.to_json() for span in exporter.get_finished_spans())
    for secret in ("Mustermann", "very-secret", "subject", "png"):
        assert secret not in told, secret
    one = 'method="POST",route="/v1/predict",status="200"'
    assert value(client, f"skinxai_requests_total{{{one}}}") == 1
    assert value(client, 'skinxai_request_seconds_count{route="/v1/predict",status="2xx"}') == 1
    assert value(client, 'skinxai_images_total{outcome="answered"}') == 2
    assert value(client, 'skinxai_images_total{outcome="refused"}') == 1
    assert value(client, 'skinxai_predictions_total{label="red",model="colours"}') == 1
    assert value(client, 'skinxai_confidence_count{model="colours"}') == 2
    assert value(client, "skinxai_queue_seconds_count") == 2
    wait_for(lambda: value(client, "skinxai_batch_images_sum") == 2)
    assert value(client, 'skinxai_inference_seconds_count{model="colours"}') >= 1
    assert value(client, 'skinxai_cache_requests_total{result="miss"}') == 3
    assert value(client, "skinxai_ready") == 1 and value(client, "skinxai_queue_images") == 0
    code = json.loads(answer.text)["results"][2]["error"]["code"]
    assert value(client, f'skinxai_errors_total{{code="{code}"}}') == 1


def test_a_first_fault_is_an_increase(open_service) -> None:
    """A series that began with it would be none for a rate: the dashboard would say 0."""
    client = open_service()
    rows = client.get("/metrics").text.splitlines()
    faults = [row for row in rows if 'status="500"' in row]
    assert 'skinxai_requests_total{method="POST",route="/v1/predict",status="500"} 0.0' in faults
    infer = 'method="POST",route="/v2/models/{name}/infer",status="500"'
    assert f"skinxai_requests_total{{{infer}}} 0.0" in faults
    assert len(faults) > 20 and all(row.endswith(" 0.0") for row in faults)
    for label in colour_classifier().labels:
        assert value(client, f'skinxai_predictions_total{{label="{label}",model="colours"}}') == 0


def test_what_is_refused_is_counted_with_its_code_and_without_its_path(open_service) -> None:
    stream, client = io.StringIO(), open_service(max_body_mb=1)
    with json_logs(stream):
        assert client.get("/patients/Mustermann?token=very-secret").status_code == 404
        assert client.request("BREW", "/v1/predict").status_code == 405
        assert client.post("/v1/predict", content=bytes(2 * 1024**2)).status_code == 413
        assert client.post("/v1/predict", files=files(b"no image")).status_code in (415, 422)
        assert client.get("/metrics", headers={"Host": "evil.example"}).status_code == 403
    told = stream.getvalue() + client.get("/metrics").text
    for secret in ("Mustermann", "very-secret", "BREW", "evil"):
        assert secret not in told, secret
    rows = [json.loads(row) for row in stream.getvalue().splitlines()]
    assert [row["code"] for row in rows][:3] == [
        "not_found", "method_not_allowed", "body_too_large",
    ]  # fmt: skip
    assert rows[0]["route"] == "other"
    assert client.get("/openapi.json").status_code == 200
    page = 'method="GET",route="/openapi.json",status="200"'
    assert value(client, f"skinxai_requests_total{{{page}}}") == 1
    assert value(client, 'skinxai_refusals_total{reason="body"}') == 1
    assert value(client, 'skinxai_refusals_total{reason="host"}') == 1
    assert value(client, 'skinxai_images_total{outcome="refused"}') == 1
    other = 'method="GET",route="other",status="404"'
    assert value(client, f"skinxai_requests_total{{{other}}}") == 1


def test_what_is_refused_before_its_route_is_counted_and_logged_under_it(
    open_service, tmp_path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(new_key()[1])
    stream, client = io.StringIO(), open_service(max_body_mb=1, api_keys=keys)
    with json_logs(stream):
        for path in ("/v1/predict", "/v2/models/mine/infer", "/v2/models/mine/versions/1/infer"):
            assert client.post(path, files=files(RED)).status_code == 401
        assert client.get("/v1/predict").status_code == 401
        assert client.get("/patients/Mustermann").status_code == 401
    infer = "/v2/models/{name}/infer"
    version = "/v2/models/{name}/versions/{version}/infer"
    rows = [json.loads(row) for row in stream.getvalue().splitlines()]
    assert [row["route"] for row in rows] == [
        "/v1/predict", infer, version, "/v1/predict", "other",
    ]  # fmt: skip
    told = client.app.service.observing.metrics.text().decode()
    for method, route in (("POST", "/v1/predict"), ("POST", infer), ("GET", "other")):
        line = f'skinxai_requests_total{{method="{method}",route="{route}",status="401"}} 1.0'
        assert line in told
    assert "mine" not in told + stream.getvalue()


def test_the_images_of_a_request_that_is_refused_as_a_whole_are_counted(open_service) -> None:
    client = open_service()
    answer = client.post("/v1/predict?operating_point=none", files=files(RED, GREEN))
    code = answer.json()["code"]
    assert answer.status_code == 422
    assert value(client, 'skinxai_images_total{outcome="refused"}') == 2
    assert value(client, f'skinxai_errors_total{{code="{code}"}}') == 1


def test_a_probe_that_hears_no_is_no_refusal_and_loading_is_no_shutdown(open_service) -> None:
    client = open_service()
    service = client.app.service
    service.loaded = False
    assert client.get("/readyz").status_code == client.get("/ping").status_code == 503
    assert value(client, 'skinxai_refusals_total{reason="loading"}') == 0
    assert client.post("/v1/predict", files=files(RED)).json()["code"] == "loading"
    service.loaded, service.draining = True, True
    assert client.get("/readyz").json()["code"] == "shutdown"
    assert value(client, 'skinxai_refusals_total{reason="loading"}') == 1
    assert value(client, 'skinxai_refusals_total{reason="shutdown"}') == 0
    assert client.post("/v1/predict", files=files(RED)).json()["code"] == "shutdown"
    assert value(client, 'skinxai_refusals_total{reason="shutdown"}') == 1


@pytest.fixture
def redis(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("where", ["memory", pytest.param("redis", marks=needs_redis)])
def test_equal_images_are_computed_once(open_service, request, where) -> None:
    cache = where if where == "memory" else request.getfixturevalue("redis").url
    client = open_service(cache=cache)
    first = client.post("/v1/predict", files=files(RED)).json()["results"][0]
    wait_for(lambda: not client.app.service._keeping)
    answer = client.post("/v1/predict", files=files(GREEN, RED, b"no image", RED)).json()
    green, red, bad, again = answer["results"]
    assert green["label"] == "green" and "error" in bad
    assert len({first["id"], red["id"], again["id"]}) == 3
    assert red["source"] == "image 1" and again["source"] == "image 3"
    for row in (red, again):
        assert {k: v for k, v in row.items() if k not in ("id", "index", "source")} == {
            k: v for k, v in first.items() if k not in ("id", "index", "source")
        }
    wait_for(lambda: value(client, "skinxai_batch_images_sum") == 2)
    assert value(client, 'skinxai_cache_requests_total{result="hit"}') == 2
    assert value(client, 'skinxai_predictions_total{label="red",model="colours"}') == 3
    other = client.post("/v1/predict?tta=true", files=files(RED)).json()["results"][0]
    wait_for(lambda: value(client, "skinxai_batch_images_sum") == 3)
    assert other["label"] == "red"


def test_classifiers_that_no_file_tells_apart_share_no_answer(open_service) -> None:
    other = ColourNetwork().requires_grad_(False)
    other.classifier.weight.copy_(other.classifier.weight.roll(1, dims=0))
    given, store, rows = [colour_classifier(), of_network(other)], MemoryStore(), []
    assert given[0].model == given[1].model
    for each in given:
        client = open_service([each])
        client.app.service.cache = AnswerCache(store)
        (row,) = client.post("/v1/predict", files=files(RED)).json()["results"]
        assert row["label"] == each.predict(RED).label
        wait_for(lambda service=client.app.service: not service._keeping)
        rows.append(row["label"])
    assert rows == ["red", "green"]


@needs_redis
def test_the_service_goes_on_while_redis_is_stopped_frozen_and_poisoned(
    open_service, redis
) -> None:
    client = open_service(cache=redis.url)
    store = client.app.service.cache._store
    store._breaker._pause = 0

    def label() -> str:
        answer = client.post("/v1/predict", files=files(RED))
        assert answer.status_code == 200
        wait_for(lambda: not client.app.service._keeping)
        return answer.json()["results"][0]["label"]

    assert label() == "red"
    with redis.client() as known:
        for key in known.scan_iter():
            known.set(key, known.get(key).replace(b'"red"', b'"blu"'))
        assert label() == "red"
        for key in known.scan_iter():
            known.set(key, b'{"label": "blue"}')
        assert label() == "red"
    redis.freeze()
    assert label() == "red"
    redis.thaw()
    redis.stop()
    assert label() == "red"
    redis.start()
    wait_for(lambda: label() == "red" and value(
        client, 'skinxai_cache_requests_total{result="hit"}') >= 1)  # fmt: skip
    assert value(client, 'skinxai_cache_requests_total{result="error"}') >= 4


def test_nothing_is_traced_without_the_package(open_service, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    client = open_service(cache="off")
    assert client.post("/v1/predict", files=files(RED)).status_code == 200
    assert value(client, 'skinxai_cache_requests_total{result="miss"}') == 0


def test_the_cases_that_wait_are_counted_while_the_store_answers(open_service, tmp_path) -> None:
    client = open_service(review=f"sqlite:///{tmp_path / 'cases.db'}")
    assert value(client, "skinxai_review_open_cases") == client.app.service.store.waiting() == 0
    gate = threading.Event()

    def hangs() -> int:
        gate.wait()
        return 7

    told = client.app.service.observing
    told.waiting_cases = hangs
    assert value(client, "skinxai_review_open_cases") == 0
    gate.set()
    wait_for(lambda: value(client, "skinxai_review_open_cases") == 7)
    told.waiting_cases = lambda: 1 // 0
    assert value(client, "skinxai_review_open_cases") == 7


def test_a_subject_keeps_its_model(open_service) -> None:
    client = open_service(cache="off")
    asked = []
    service = client.app.service
    real = service.pool.lease
    service.pool.lease = lambda key, name=None: asked.append(key) or real(key, name)
    for query in ("?subject=s1", "?subject=s1&route_key=k", "?route_key=k", ""):
        assert client.post(f"/v1/predict{query}", files=files(RED)).status_code == 200
    assert asked[:3] == ["s1", "k", "k"] and len(asked[3]) == 64


def test_with_a_provider_of_the_process_there_are_the_services_own_spans_alone(
    open_service, monkeypatch
) -> None:
    """FastAPI would add spans with the path and the query, and logs with what was sent."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    client = open_service(cache="off")
    assert client.post("/v1/predict?subject=Mustermann", files=files(RED)).status_code == 200
    assert client.get("/patients/Mustermann").status_code == 404
    wait_for(lambda: len(exporter.get_finished_spans()) >= 5)
    spans = exporter.get_finished_spans()
    assert sorted(span.name for span in spans) == [
        "GET other", "POST /v1/predict", "batch", "inference", "queue",
    ]  # fmt: skip
    assert "Mustermann" not in "".join(span.to_json() for span in spans)
