"""What the service measures, as a real Prometheus reads it."""

import http.server
import re
import threading

import pytest
from prometheus_server import lint, needs_prometheus, needs_promtool, scraping
from waiting import wait_for

from skinxai.serving.service_metrics import CONTENT_TYPE, Metrics

TABLE = """
skinxai_requests_total{route,method,status} skinxai_request_seconds{route,status}
skinxai_queue_images skinxai_queue_seconds skinxai_batch_images skinxai_inference_seconds{model}
skinxai_images_total{outcome} skinxai_predictions_total{model,label} skinxai_confidence{model}
skinxai_decisions_total{model,decision} skinxai_cache_requests_total{result}
skinxai_errors_total{code} skinxai_refusals_total{reason} skinxai_drift_statistic{model,test}
skinxai_drift_alarm{model,test} skinxai_drift_window_images{model}
skinxai_estimated_accuracy{model} skinxai_shadow_total{model,agrees}
skinxai_shadow_left_out_total{model}
skinxai_model_info{model,revision,role} skinxai_ready skinxai_store_errors_total
skinxai_review_open_cases
"""


@pytest.fixture
def metrics() -> Metrics:
    """With a value in each."""
    made = Metrics()
    made.answered("/v1/predict", "POST", 200, 0.02)
    made.answered("/v1/predict", "POST", 200, 0.2)
    made.answered(None, "BREW", 404, 0.001)
    answer = {"label": "nv", "probability": 0.7, "decision": "refer"}
    made.predicted("lite1", answer)
    made.predicted("lite1", answer | {"decision": None, "probability": 0.35})
    made.refused(1)
    made.errors.labels("image_decode").inc()
    made.looked("hit")
    made.in_use("lite1", "aaaa", "live")
    made.in_use("lite1", "bbbb", "live", instead_of="aaaa")
    made.refusals.labels("rate").inc(3)
    made.queue_images.set(5)
    made.queue_seconds.observe(0.004)
    made.batch_images.observe(16)
    made.inference_seconds.labels("lite1").observe(0.04)
    made.shadow.labels("lite1", "yes").inc()
    made.shadow_left_out.labels("lite1").inc(2)
    for gauge in (made.drift_statistic, made.drift_alarm):
        gauge.labels("lite1", "mmd").set(1)
    made.drift_window_images.labels("lite1").set(500)
    made.estimated_accuracy.labels("lite1").set(0.8)
    made.ready.set(1)
    made.store_errors.inc()
    made.review_open_cases.set(7)
    return made


@pytest.fixture
def target(metrics):
    """Address of a server whose ``/metrics`` are these."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(metrics.text())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_metric_of_the_table_with_its_labels(metrics) -> None:
    wanted = {}
    for row in TABLE.split():
        name, _, labels = row.rstrip("}").partition("{")
        wanted[name.removesuffix("_total")] = tuple(labels.split(",")) if labels else ()
    found = {each._name: each._labelnames for each in metrics.registry._collector_to_names}
    assert found == wanted


def test_no_label_comes_from_a_request(metrics) -> None:
    text = metrics.text().decode()
    assert "BREW" not in text and "_created" not in text
    assert 'skinxai_requests_total{method="other",route="other",status="404"} 1.0' in text


def test_the_counters_of_a_model_and_of_faults_begin_at_zero() -> None:
    """A first value without one before it is no increase, which rates would count."""
    made = Metrics()
    made.in_use("lite1", "aaaa", "live", labels=["mel", "nv"])
    made.in_use("new", "bbbb", "shadow", labels=["mel", "nv"])
    made.serves("/v1/predict", {"POST"})
    rows = {row for row in made.text().decode().splitlines() if "_total{" in row}
    assert {row for row in rows if not re.search("cache|refusals|errors", row)} == {
        'skinxai_requests_total{method="POST",route="/v1/predict",status="500"} 0.0',
        'skinxai_predictions_total{label="mel",model="lite1"} 0.0',
        'skinxai_predictions_total{label="nv",model="lite1"} 0.0',
        *(
            f'skinxai_decisions_total{{decision="{each}",model="lite1"}} 0.0'
            for each in ("refer", "routine", "abstain")
        ),
        *(f'skinxai_shadow_total{{agrees="{each}",model="new"}} 0.0' for each in ("yes", "no")),
        'skinxai_shadow_left_out_total{model="new"} 0.0',
        'skinxai_images_total{outcome="answered"} 0.0',
        'skinxai_images_total{outcome="refused"} 0.0',
    }  # fmt: skip
    assert 'skinxai_confidence_count{model="lite1"} 0.0' in made.text().decode()
    assert 'skinxai_inference_seconds_count{model="lite1"} 0.0' in made.text().decode()


def test_two_services_in_one_process_do_not_share_them(metrics) -> None:
    assert b"lite1" not in Metrics().text()


@needs_promtool
def test_promtool_finds_nothing(metrics) -> None:
    assert lint(metrics.text()) == ""
    assert lint(b"# TYPE bad counter\nbad 1\n") != ""


@needs_prometheus
def test_a_real_prometheus_reads_every_value(target, tmp_path) -> None:
    with scraping(target, tmp_path) as server:
        wait_for(lambda: server.values("skinxai_ready"))
        value = server.values
        assert value("skinxai_requests_total") == {
            ("POST", "/v1/predict", "200"): 2, ("other", "other", "404"): 1,
        }  # fmt: skip
        assert value("skinxai_request_seconds_count") == {
            ("/v1/predict", "2xx"): 2, ("other", "4xx"): 1,
        }  # fmt: skip
        assert value('skinxai_request_seconds_bucket{route="/v1/predict",le="0.025"}') == {
            ("0.025", "/v1/predict", "2xx"): 1
        }
        assert value("skinxai_request_seconds_sum{route='/v1/predict'}") == pytest.approx(
            {("/v1/predict", "2xx"): 0.22}
        )
        assert value("skinxai_predictions_total") == {("nv", "lite1"): 2}
        assert value("skinxai_decisions_total") == {
            ("refer", "lite1"): 1, ("routine", "lite1"): 0, ("abstain", "lite1"): 0,
        }  # fmt: skip
        assert value("skinxai_confidence_sum") == pytest.approx({("lite1",): 1.05})
        assert value("skinxai_images_total") == {("answered",): 2, ("refused",): 1}
        assert value("skinxai_errors_total > 0") == {("image_decode",): 1}
        assert value("skinxai_cache_requests_total") == {("hit",): 1, ("miss",): 0, ("error",): 0}
        assert value("skinxai_model_info") == {("lite1", "bbbb", "live"): 1}
        assert value("skinxai_refusals_total > 0") == {("rate",): 3}
        assert value("skinxai_queue_images") == {(): 5}
        assert value("skinxai_batch_images_sum") == {(): 16}
        assert value("skinxai_drift_alarm") == {("lite1", "mmd"): 1}
        assert value("skinxai_shadow_total") == {("yes", "lite1"): 1}
        assert value("skinxai_shadow_left_out_total") == {("lite1",): 2}
        assert value("skinxai_review_open_cases") == {(): 7}
