"""What the routes answer, beside what is said elsewhere of bad requests."""

import base64
import io
import json
import threading
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("fastapi")
from PIL import Image
from running_service import Running, form, noise, png, running
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from waiting import wait_for

from skinxai import Classifier, samples
from skinxai.errors import OptionError, StoreUnavailableError
from skinxai.review import ReviewStore
from skinxai.serving import answer_examples as examples
from skinxai.serving import image_routes, recording
from skinxai.serving.api_keys import check_key, hashed, new_key, read_hashes
from skinxai.serving.app import create_app
from skinxai.serving.problems import Problem
from skinxai.serving.rates import Rates
from skinxai.serving.service_settings import ServiceSettings
from skinxai.testing import colour_classifier


@pytest.fixture(scope="module")
def shipped():
    with running(Classifier.from_pretrained()) as found:
        yield found


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('review')}/cases.db"
    with running(review=url) as found:
        yield found


def post(service: Running, path: str, data: bytes, accept: str = "*/*", **fields: str):
    body, headers = form([data], fields)
    return service.ask("POST", path, body, headers | {"accept": accept})


def shape(value: object) -> object:
    """The kinds of a value's parts; numbers and texts themselves count for nothing."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value).__name__


def name(model: str) -> str:
    """Without the revision, which each change of a model folder changes."""
    return model.partition("@")[0]


def test_the_examples_are_true_answers(shipped: Running) -> None:
    data = samples.paths()[0].read_bytes()
    for path, fields, example in (
        ("predict", {}, examples.PREDICTED),
        ("nearest", {"k": "2"}, examples.NEAREST),
        ("explain", {}, examples.EXPLAINED),
    ):
        found = post(shipped, f"/v1/{path}", data, **fields).json
        assert shape(found) == shape(example), path
        assert name(found["model"]) == name(example["model"])
    (found,) = post(shipped, "/v1/predict", data).json["results"]
    (example,) = examples.PREDICTED["results"]
    assert found["label"] == example["label"] and found["decision"] == example["decision"]
    for code, value in found["probabilities"].items():
        assert value == pytest.approx(example["probabilities"][code], abs=1e-4)
    (model,) = shipped.ask("GET", "/v1/models").json["models"]
    (example,) = examples.MODELS["models"]
    assert name(model.pop("model")) == name(example["model"])
    assert model == {key: value for key, value in example.items() if key != "model"}
    page = shipped.ask("GET", "/openapi.json").json
    content = page["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"]
    assert content["application/json"]["example"] == examples.PREDICTED


def test_predictions_are_those_of_the_classifier(shipped: Running) -> None:
    classifier = Classifier.from_pretrained()
    paths = samples.paths()
    found = shipped.predict(*(path.read_bytes() for path in paths), operating_point="balanced")
    expected = classifier.predict(list(paths), operating_point="balanced")
    for index, (own, one) in enumerate(zip(found.json["results"], expected, strict=True)):
        plain = json.loads(json.dumps(one.to_dict()))
        assert own.pop("id") and own.pop("index") == index
        assert own.pop("source") == f"image {index}" and plain.pop("source")
        for code, value in own.pop("probabilities").items():
            assert value == pytest.approx(plain["probabilities"][code], abs=1e-6)
        assert (own["decision"], own["label"]) == (plain["decision"], plain["label"])
        assert set(own) | {"probabilities"} == set(plain)
    assert shipped.predict(paths[0].read_bytes(), operating_point="x").code == "unknown_name"
    raw = shipped.ask(
        "POST", "/v1/predict?tta=true", paths[0].read_bytes(), {"content-type": "image/jpeg"}
    ).json["results"][0]
    tta = classifier.predict(paths[0], tta=True)
    assert raw["probability"] == pytest.approx(tta.probability, abs=1e-6)


def test_explanations(service: Running) -> None:
    data = noise(3)
    expected = colour_classifier().explain(data, "saliency", target="blue")
    found = post(service, "/v1/explain", data, method="saliency", target="blue", map="true").json
    assert found["source"] == "image 0" and found["target"] == "blue"
    values = np.frombuffer(base64.b64decode(found["map"]["data"]), found["map"]["dtype"])
    np.testing.assert_allclose(values.reshape(found["map"]["shape"]), expected.heatmap, atol=1e-6)
    picture = post(service, "/v1/explain", data, "image/png", method="saliency", target="blue")
    assert picture.headers["content-type"] == "image/png"
    assert picture.body == base64.b64decode(found["overlay_png"]) == expected.png()
    assert Image.open(io.BytesIO(picture.body)).size == (80, 48)
    for accept in ("text/css", "image/*;q=0, application/json;q=0.000", "*/*;q=0"):
        assert post(service, "/v1/explain", data, accept).code == "accept"
    for accept, kind in (
        ("image/png;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, image/png;q=0.501", "image/png"),
        ("*/*, application/json;q=0", "image/png"), ("image/*, */*;q=0.1", "image/png"),
        ("image/png, application/json", "image/png"), ("image/png;q=x", "image/png"),
        ("application/json, image/png", "application/json"), ("*/*", "application/json"),
    ):  # fmt: skip
        found = post(service, "/v1/explain", data, accept, method="saliency", target="blue")
        assert found.headers["content-type"] == kind, accept
    assert post(service, "/v1/explain", b"junk").status == 415
    body, headers = form([data, data])
    assert service.ask("POST", "/v1/explain", body, headers).code == "too_many_images"


def test_reports_and_neighbours(service: Running, shipped: Running) -> None:
    data = samples.paths()[0].read_bytes()
    page = post(shipped, "/v1/report", data, "text/html", title="Case <17>")
    assert page.status == 200 and "Case &lt;17&gt;" in page.body.decode()
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    paper = post(shipped, "/v1/report", data, "application/pdf")
    assert paper.body.startswith(b"%PDF") and paper.headers["content-type"] == "application/pdf"
    own = Classifier.from_pretrained().nearest(data, 3)
    found = post(shipped, "/v1/nearest", data, k="3").json["neighbours"]
    assert [(each["id"], each["label"]) for each in found] == [(n.id, n.label) for n in own]
    assert post(service, "/v1/nearest", data).code == "model"  # it has no lesions


def test_a_report_that_takes_too_long_is_not_begun_again(shipped: Running, monkeypatch) -> None:
    asked, real = [], Classifier.report
    monkeypatch.setattr(
        Classifier, "report", lambda *args, **more: asked.append(more) or real(*args, **more)
    )
    monkeypatch.setattr(image_routes, "PATIENCE", 1e-9)
    refused = post(shipped, "/v1/report", samples.paths()[0].read_bytes())
    assert (refused.status, refused.code) == (504, "explain_timeout") and len(asked) == 1


def test_answers_are_kept_and_reviewed(service: Running) -> None:
    answer = service.predict(png("red"), b"junk", subject="s-1", lesion="l-1").json["results"]
    assert answer[0]["recorded"] is True and "recorded" not in answer[1]
    store: ReviewStore = service.app.service.store
    case = store.case(answer[0]["id"]).case
    assert (case.subject, case.lesion, case.prediction["label"]) == ("s-1", "l-1", "red")
    assert "source" not in case.prediction and case.image is None

    def say(**said) -> object:
        return service.ask(
            "POST", "/v1/feedback", json.dumps(said), {"content-type": "application/json"}
        )

    good = {"id": answer[0]["id"], "label": "blue", "reviewer": "r-1"}
    assert say(**good).json["kept"] is True
    assert [each.label for each in store.case(answer[0]["id"]).labels] == ["blue"]
    assert say(**good | {"id": "0" * 32}).status == 404
    assert say(**good | {"label": "purple"}).status == 422
    assert say(**good | {"more": 1}).json["errors"][0]["field"] == "more"
    assert say(id=1).status == 422
    assert service.ask("POST", "/v1/feedback", "x", {"content-type": "text/plain"}).status == 415
    long = {"content-type": "application/json"}
    assert service.ask("POST", "/v1/feedback", b" " * 100_000, long).status == 413


def test_names_that_cannot_be_kept_are_refused_before_anything_is_computed(
    service: Running,
) -> None:
    for field in ("subject", "lesion", "route_key", "operating_point"):
        for text in (" ", "a\u200bb", "\u202edesrever", "x" * 129):
            refused = service.predict(png(), **{field: text})
            assert (refused.status, refused.code) == (422, "option"), (field, text)
            assert [each["field"] for each in refused.json["errors"]] == [field]
    row = service.predict(png(), subject=" s-9 ", lesion=" l-9").json["results"][0]
    case = service.app.service.store.case(row["id"]).case
    assert row["recorded"] is True and (case.subject, case.lesion) == ("s-9", "l-9")


@pytest.mark.parametrize("field", ["subject", "lesion", "route_key"])
def test_two_names_in_latin_1_are_refused_and_not_kept_as_one(service: Running, field: str) -> None:
    store: ReviewStore = service.app.service.store
    before = len(store.cases())
    for name in (b"M\xfcller", b"M\xf6ller"):
        body, kind = form([png()], {field: "NAME"})
        in_form = service.ask("POST", "/v1/predict", body.replace(b"NAME", name), kind)
        path = f"/v1/predict?{field}={quote(name)}"
        in_query = service.ask("POST", path, png(), {"content-type": "image/png"})
        for refused in (in_form, in_query):
            assert (refused.status, refused.code) == (422, "option")
            assert refused.json["errors"] == [{"field": field, "message": "must be text in UTF-8"}]
    assert len(store.cases()) == before
    row = service.predict(png(), **{field: "Müller"}).json["results"][0]
    case = store.case(row["id"]).case
    assert field == "route_key" or getattr(case, field) == "Müller"


def test_without_a_store_there_is_no_feedback() -> None:
    with running() as other:
        found = other.ask("POST", "/v1/feedback", "{}", {"content-type": "application/json"})
        assert (found.status, found.code) == (501, "no_store")
        assert "recorded" not in other.predict(png()).json["results"][0]


def test_before_the_models_are_loaded_nothing_is_said_of_them_or_of_the_store(tmp_path) -> None:
    app = create_app(ServiceSettings(review=f"sqlite:///{tmp_path / 'review.db'}"))
    client = TestClient(app, base_url="http://localhost")  # as it is, it never begins to load
    asked = [client.post("/v1/feedback", json={"id": "a", "label": "mel", "reviewer": "r"})]
    paths = ("/v1/models", "/v2/models/skinxai", "/v2/models/skinxai/versions/1")
    asked += [client.get(path) for path in paths]
    assert [(each.status_code, each.json()["code"]) for each in asked] == [(503, "loading")] * 4
    for path in ("/v2/models/skinxai/ready", "/v2/models/skinxai/versions/1/ready"):
        found = client.get(path)
        assert (found.status_code, found.json()) == (503, {"name": "skinxai", "ready": False})


@pytest.mark.parametrize("error", [StoreUnavailableError("gone."), RuntimeError("secret")])
def test_a_store_that_fails_harms_no_answer(service: Running, monkeypatch, error) -> None:
    def broken(case):
        raise error

    monkeypatch.setattr(recording, "PAUSE", 0.0)
    monkeypatch.setattr(service.app.service.store, "record", broken)
    found = service.predict(png("green")).json["results"][0]
    assert found["label"] == "green" and found["recorded"] is False
    monkeypatch.undo()
    wait_for(lambda: service.predict(png()).json["results"][0]["recorded"])


def test_a_store_that_hangs_harms_no_answer(service: Running, monkeypatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(recording, "PATIENCE", 0.05)
    monkeypatch.setattr(service.app.service.store, "record", lambda case: go.wait(600))
    found = service.predict(png("blue")).json["results"][0]
    go.set()
    assert found["label"] == "blue" and found["recorded"] is False


def test_keys(tmp_path) -> None:
    key, own = new_key()
    other, _ = new_key()
    path = tmp_path / "keys"
    path.write_text(f"# clinics\n{own}  # A\n\n{hashed('another')}\n")
    with running(api_keys=path) as found:
        for headers in ({}, {"x-api-key": other}, {"authorization": f"Basic {key}"},
                        {"authorization": f"Bearer {own}"}, {"x-api-key": ""}):  # fmt: skip
            refused = found.ask("GET", "/v1/models", headers=headers)
            assert (refused.status, refused.code) == (401, "key")
            assert refused.headers["www-authenticate"] == "Bearer"
        for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
            assert found.ask("GET", "/v1/models", headers=headers).status == 200
        assert found.ask("GET", "/metrics").status == 401
        assert found.ask("GET", "/healthz", headers={"host": "10.0.0.7"}).status == 200
    assert check_key(Headers({"x-api-key": "another"}), read_hashes(path)) == hashed("another")
    for text in ("", "# none\n", "abc\n", key):
        path.write_text(text)
        with pytest.raises(OptionError, match="api_keys must") as error:
            read_hashes(path)
        assert key not in str(error.value)
    with pytest.raises(OptionError, match="readable"):
        read_hashes(tmp_path / "nowhere")


def test_rates_of_several_clients() -> None:
    now = [0.0]
    rates = Rates(2.0, lambda: now[0])
    for client in ("a", "b"):
        rates.check(client)
        rates.check(client)
        with pytest.raises(Problem) as error:
            rates.check(client)
        assert error.value.retry == 1
    now[0] = 0.4
    with pytest.raises(Problem):
        rates.check("a")
    now[0] = 0.6
    rates.check("a")  # refusals cost nothing


@pytest.mark.parametrize(
    ("name", "value"),
    [("queue", 8), ("max_batch", 0), ("deadline", 0), ("rate", -1), ("port", -1), ("models", ()),
     ("max_wait", float("nan")), ("max_images", True), ("keep_images", "kept"),
     ("keep_days", 30.0)],
)  # fmt: skip
def test_settings_outside_their_rules(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=name):
        ServiceSettings(**{name: value})


def test_a_batch_forms_while_the_model_computes() -> None:
    from gated_service import gated

    with gated(max_batch=4) as (found, gate):
        first = threading.Thread(target=found.predict, args=(png(),))
        first.start()
        assert gate.begun.acquire(timeout=600)
        others = [threading.Thread(target=found.predict, args=(png(),)) for _ in range(4)]
        for each in others:
            each.start()
        wait_for(lambda: len(found.batcher) == 4)
        gate.go.set()
        for each in (first, *others):
            each.join()
        assert gate.sizes[0] == 1 and sum(gate.sizes) == 5

        def batches() -> str:
            return found.app.service.observing.text().decode()

        wait_for(lambda: "skinxai_batch_images_count 2.0" in batches())
        assert 'skinxai_batch_images_bucket{le="1.0"} 1.0' in batches()


def test_no_request_of_the_api_makes_it_fail(tmp_path) -> None:
    """Schemathesis asks what the OpenAPI page allows, and what it does not."""
    import hypothesis  # here: each process of the tests would import both for seconds
    import schemathesis
    from schemathesis import checks
    from schemathesis.specs.openapi import checks as described

    url = f"sqlite:///{tmp_path}/cases.db"
    few = hypothesis.settings(
        max_examples=12, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    kept = [
        checks.not_a_server_error, described.status_code_conformance,
        described.content_type_conformance, described.response_schema_conformance,
    ]  # fmt: skip
    asked: set[str] = set()
    with running(review=url, queue=512, deadline=600.0) as live:
        place = f"http://127.0.0.1:{live.port}"
        schema = schemathesis.openapi.from_url(f"{place}/openapi.json")
        for result in schema.get_all_operations():
            operation = result.ok()

            @few
            @hypothesis.given(case=operation.as_strategy())
            def ask(case) -> None:
                asked.add(case.operation.path)
                answer = case.call(base_url=place)
                case.validate_response(answer, checks=kept)

            ask()
    assert {"/v1/predict", "/v1/explain", "/v1/feedback", "/healthz"} <= asked
