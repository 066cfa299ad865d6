"""What SageMaker, Vertex AI and Azure ML call, called."""

import base64
import json

import pytest
from serving_clients import GREEN, RED, files, services, value
from starlette.testclient import TestClient

from skinxai.errors import OptionError
from skinxai.serving.api_keys import new_key
from skinxai.serving.cloud_contracts import VertexRoutes

PNG = {"content-type": "image/png"}
AIP = {
    "AIP_HTTP_PORT": "8080", "AIP_HEALTH_ROUTE": "/v1/endpoints/7/health",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/7:predict",
}  # fmt: skip


@pytest.fixture
def client():
    with services() as make:
        yield make(max_images=3)


def b64(image: bytes) -> str:
    return base64.b64encode(image).decode()


def test_sagemaker(client) -> None:
    # SageMaker calls a container by an address, not by its name.
    assert client.get("/ping", headers={"Host": "169.254.180.2:8080"}).status_code == 200
    found = client.post("/invocations", content=RED, headers=PNG).json()
    assert [row["label"] for row in found["predictions"]] == ["red"]
    client.app.service.draining = True
    assert client.get("/ping").status_code == 503
    assert client.post("/invocations", content=RED, headers=PNG).status_code == 503


@pytest.mark.parametrize("path", ["/invocations", "/score"])
def test_every_kind_of_body(client, path) -> None:
    answers = [
        client.post(path, content=RED, headers={"content-type": "application/octet-stream"}),
        client.post(path, files=files(RED)),
        client.post(path, json={"instances": [b64(RED)]}),
        client.post(path, json={"instances": [{"b64": b64(RED)}]}),
        client.post(path, json={"instances": [{"image": {"b64": b64(RED)}}]}),
    ]
    for answer in answers:
        assert answer.json()["predictions"][0]["label"] == "red", answer.text
        assert answer.headers["x-skinxai-model"] == answer.json()["deployedModelId"]
    described = client.get("/openapi.json").json()["paths"][path]["post"]
    bodies = described["requestBody"]["content"]
    assert {"application/octet-stream", "multipart/form-data", "image/png"} < set(bodies)
    example = bodies["application/json"]["example"] | {"instances": [b64(RED)]}
    answered = client.post(path, json=example).json()
    assert answered["predictions"][0]["label"] == "red"
    shown = described["responses"]["200"]["content"]["application/json"]["example"]
    assert set(shown) == set(answered)
    many = client.post(path, json={"instances": [b64(RED), b64(b"no image"), b64(GREEN)]}).json()
    assert [row.get("label") for row in many["predictions"]] == ["red", None, "green"]
    assert many["predictions"][1]["error"]["status"] in (415, 422)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"instances": []}, 422), ({"instances": "x"}, 422), ({}, 422),
        ({"instances": [1]}, 422), ({"instances": [{"b64": 1}]}, 422),
        ({"instances": ["%"]}, 422), ({"instances": [b64(RED)] * 4}, 422),
        ({"instances": [b64(RED)], "parameters": {"temperature": 2}}, 422),
        ({"instances": [b64(RED)], "more": 1}, 422), ({"instances": [b64(b"no image")]}, 415),
    ],
)  # fmt: skip
def test_bodies_that_are_refused(client, body, status) -> None:
    answer = client.post("/invocations", json=body)
    assert answer.status_code in (status, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


TWICE = {
    "/invocations": ('{"instances": ["RED"], "instances": ["GREEN"]}', "instances"),
    "/score": ('{"instances": [{"b64": "RED", "b64": "GREEN"}]}', "b64"),
    "/v2/models/colours/infer": (
        '{"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["RED"], '
        '"d\\u0061ta": ["GREEN"]}]}',
        "data",
    ),
    "/v1/feedback": ('{"id": "1", "label": "red", "reviewer": "r", "label": "green"}', "label"),
}


def test_a_key_twice_is_refused_by_each_route_that_takes_json(tmp_path) -> None:
    with services() as make:
        client = make(review=f"sqlite:///{tmp_path}/cases.db")
        for path, (text, key) in TWICE.items():
            text = text.replace("RED", b64(RED)).replace("GREEN", b64(GREEN))
            answer = client.post(path, content=text, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["code"]) == (422, "option"), path
            message = f"it has a key twice: {key!r}"
            assert answer.json()["errors"] == [{"field": "body", "message": message}], path


def told(client) -> list:
    """What each request asks of the service, in order."""
    asked, real = [], client.app.service.predict

    async def predict(images, how, *, route_key, **more):
        asked.append((how.tta, how.operating_point, route_key))
        return await real(images, how, route_key=route_key, **more)

    client.app.service.predict = predict
    return asked


@pytest.mark.parametrize("path", ["/invocations", "/score"])
def test_what_a_form_or_a_query_asks_is_what_v1_understands(client, path) -> None:
    asked = told(client)
    for spelt in ("true", "True", "1", "on"):
        for where in ({"data": {"tta": spelt}}, {"params": {"tta": spelt}}):
            for url in ("/v1/predict", path):
                assert client.post(url, files=files(RED), **where).status_code == 200
    assert asked == [(True, None, None)] * 16
    plain = client.post(f"{path}?tta=1&subject=s", content=RED, headers=PNG)
    assert plain.status_code == 200 and asked[-1] == (True, None, "s")
    for where in ({"data": {"tta": "maybe"}}, {"params": {"tta": "maybe"}},
                  {"params": {"tat": "1"}}, {"params": {"operating_point": "none"}}):  # fmt: skip
        assert client.post(path, files=files(RED), **where).status_code == 422
    answer = client.post(f"{path}?tta=1", json={"instances": [b64(RED)]})
    assert answer.status_code == 422 and "'parameters'" in answer.json()["detail"]


def test_answers_of_every_protocol_are_kept_for_review(tmp_path) -> None:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [b64(RED)]}
    about = {"subject": "s", "lesion": "l"}
    with services() as make:
        client = make(review=f"sqlite:///{tmp_path}/cases.db")
        (one,) = client.post("/v1/predict", files=files(RED), data=about).json()["results"]
        (two,) = client.post("/score", files=files(RED), data=about).json()["predictions"]
        body = {"instances": [b64(RED)], "parameters": about}
        (three,) = client.post("/invocations", json=body).json()["predictions"]
        body = {"inputs": [tensor], "parameters": about, "outputs": [{"name": "answer"}]}
        (found,) = client.post("/v2/models/colours/infer", json=body).json()["outputs"]
        four = json.loads(found["data"][0])
        assert len({each["id"] for each in (one, two, three, four)}) == 4
        for each in (one, two, three, four):
            case = client.app.service.store.case(each["id"]).case
            assert each["recorded"] is True and (case.subject, case.lesion) == ("s", "l")
            assert case.prediction["probabilities"] == each["probabilities"]


def test_vertex_ai(monkeypatch) -> None:
    for name, path in AIP.items():
        monkeypatch.setenv(name, path)
    with services() as make:
        client = make()
        health = client.get(AIP["AIP_HEALTH_ROUTE"], headers={"Host": "10.0.0.7:8080"})
        assert health.status_code == 200
        found = client.post(
            AIP["AIP_PREDICT_ROUTE"],
            json={"instances": [{"b64": b64(GREEN)}], "parameters": {"tta": True}},
        ).json()
        assert [row["label"] for row in found["predictions"]] == ["green"]
        assert found["deployedModelId"] == found["predictions"][0]["model"]
        assert client.get("/ping").status_code == 200
        assert client.post("/v1/predict", files=files(RED)).status_code == 200


def test_below_a_path_of_a_proxy(monkeypatch, tmp_path) -> None:
    """Probes need no key there either, and what is refused is refused before its body is read."""
    for name, path in AIP.items():
        monkeypatch.setenv(name, path)
    key, digest = new_key()
    (tmp_path / "keys").write_text(digest)
    other = {"Host": "10.0.0.7:8080"}
    with services() as make:
        app = make(api_keys=tmp_path / "keys").app
        client = TestClient(app, base_url="http://127.0.0.1", root_path="/skin")
        for probe in ("/healthz", "/readyz", "/ping", AIP["AIP_HEALTH_ROUTE"]):
            assert client.get(f"/skin{probe}", headers=other).status_code == 200, probe
        assert client.get("/skin/v1/models").status_code == 401
        client.headers["x-api-key"] = key
        assert client.get("/skin/v1/models").status_code == 200
        body = {"instances": [{"b64": b64(GREEN)}]}
        assert client.post(f"/skin{AIP['AIP_PREDICT_ROUTE']}", json=body).status_code == 200
        app.service.loaded = False
        assert client.get("/skin/readyz").status_code == 503
        assert client.post("/skin/v1/predict", content=b"?").status_code == 503
        client.root_path = ""
        assert value(client, 'skinxai_refusals_total{reason="loading"}') == 1


@pytest.mark.parametrize(
    "environment",
    [{"AIP_HTTP_PORT": "no"}, {"AIP_HTTP_PORT": "70000"}, {"AIP_HEALTH_ROUTE": "health"},
     {"AIP_PREDICT_ROUTE": "/a b"}],
)  # fmt: skip
def test_an_environment_that_is_refused(environment) -> None:
    with pytest.raises(OptionError, match=next(iter(environment))):
        VertexRoutes.of(environment)
    assert VertexRoutes.of(AIP) == VertexRoutes(8080, AIP["AIP_HEALTH_ROUTE"], AIP[
        "AIP_PREDICT_ROUTE"
    ])  # fmt: skip
    assert VertexRoutes.of({}) == VertexRoutes()


def test_azure_ml(client) -> None:
    """The routes that a deployment's ``inference_config`` names."""
    assert client.get("/healthz").status_code == 200  # liveness_route
    assert client.get("/readyz").status_code == 200  # readiness_route
    answer = client.post("/score", json={"instances": [b64(RED)]})  # scoring_route
    assert answer.json()["predictions"][0]["label"] == "red"
