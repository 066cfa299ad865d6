"""The Open Inference Protocol, as its specification words it."""

import base64
import functools
import json
import re

import pytest
from serving_clients import GREEN, RED, files, services, value

from skinxai.version import __version__

URL = "/v2/models/colours"


@pytest.fixture(scope="module")
def client():
    with services() as make:
        yield make(max_images=3, cache="off")


def tensor(*images: bytes, **changes) -> dict:
    data = [base64.b64encode(image).decode() for image in images]
    found = {"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}
    return found | changes


def body(*images: bytes, **more) -> dict:
    return {"inputs": [tensor(*images)]} | more


def test_health_and_metadata(client) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    assert client.get("/v2").json() == {
        "name": "skinxai", "version": __version__, "extensions": [],
    }  # fmt: skip
    assert client.get(f"{URL}/ready").json() == {"name": "colours", "ready": True}
    found = client.get(URL).json()
    (version,) = found["versions"]
    assert found["name"] == "colours" and found["platform"] == "torch cpu float32"
    assert found["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    shapes = {each["name"]: (each["datatype"], each["shape"]) for each in found["outputs"]}
    assert shapes["probabilities"] == ("FP64", [-1, 3]) and shapes["label"] == ("BYTES", [-1])
    assert client.get(f"{URL}/versions/{version}").json() == found
    assert client.get(f"{URL}/versions/{version}/ready").json()["ready"] is True


def test_an_answer_has_the_numbers_of_v1(client) -> None:
    plain = client.post("/v1/predict", files=files(RED, GREEN)).json()["results"]
    answer = client.post(f"{URL}/infer", json=body(RED, GREEN, id="42"))
    assert answer.status_code == 200
    assert answer.headers["x-skinxai-model"] == plain[0]["model"]
    found = answer.json()
    assert found["id"] == "42" and found["model_name"] == "colours"
    assert found["model_version"] == plain[0]["model"].partition("@")[2]
    outputs = {each["name"]: each for each in found["outputs"]}
    assert outputs["label"] == {
        "name": "label", "shape": [2], "datatype": "BYTES", "data": ["red", "green"],
    }  # fmt: skip
    assert outputs["probabilities"]["shape"] == [2, 3]
    rows = [list(row["probabilities"].values()) for row in plain]
    assert outputs["probabilities"]["data"] == [p for row in rows for p in row]
    answers = [json.loads(text) for text in outputs["answer"]["data"]]
    assert len({each.pop("id") for each in [*answers, *plain]}) == 4
    assert answers == plain


@pytest.mark.parametrize("path", ["/infer", "/versions/{version}/infer"])
def test_only_the_outputs_that_are_asked_for(client, path) -> None:
    (version,) = client.get(URL).json()["versions"]
    url = URL + path.format(version=version)
    found = client.post(url, json=body(RED, outputs=[{"name": "label"}])).json()
    assert [each["name"] for each in found["outputs"]] == ["label"] and "id" not in found
    nested = {"inputs": [tensor(RED, shape=[1, 1], data=[[base64.b64encode(RED).decode()]])]}
    assert client.post(url, json=nested).json()["outputs"][1]["data"] == ["red"]


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        ({}, 422, "inputs"),
        ({"inputs": []}, 422, "the one tensor 'image'"),
        ({"inputs": [tensor(RED), tensor(RED)]}, 422, "the one tensor"),
        ({"inputs": [tensor(RED, name="x")]}, 422, "the one tensor"),
        ({"inputs": [tensor(RED, datatype="FP32")]}, 422, "must be 'BYTES'"),
        ({"inputs": [tensor(RED, shape=[2])]}, 422, "shape"),
        ({"inputs": [tensor(RED, shape=[-1])]}, 422, "shape"),
        ({"inputs": [tensor(RED, data="text")]}, 422, "must be a list"),
        ({"inputs": [tensor(RED, data=[["a"], "b"], shape=[2])]}, 422, "list of texts"),
        ({"inputs": [tensor(RED, data=[1])]}, 422, "base64"),
        ({"inputs": [tensor(RED, data=["no base64!"])]}, 422, "base64"),
        ({"inputs": [tensor()]}, 422, "from 1 to 3 images"),
        (body(RED, RED, RED, RED), 422, "from 1 to 3 images"),
        (body(RED, outputs=[{"name": "logits"}]), 422, "outputs must be among"),
        (body(RED, parameters={"temperature": 2}), 422, "parameters must be among"),
        (body(RED, parameters={"tta": "perhaps"}), 422, "tta"),
        (body(RED, subject="s-1"), 422, "'subject' must stand in 'parameters' of the request"),
        ({"inputs": [tensor(RED, parameters={"tta": True})]}, 422, "'tta' must stand in"),
        (
            body(RED, outputs=[{"name": "label", "parameters": {"operating_point": "high"}}]),
            422,
            "'operating_point' must stand in",
        ),
        (body(RED, parameters={"operating_point": "none"}), 422, ""),
        (body(RED, b"no image"), 415, "image 1"),
    ],
)
def test_requests_that_are_refused(client, wrong, status, words) -> None:
    answer = client.post(f"{URL}/infer", json=wrong)
    found = answer.json()
    assert answer.status_code == found["status"] == status, found
    assert words in found["error"] == found["detail"] and found["code"] and found["request_id"]


def test_a_request_that_fails_with_an_image_answers_none() -> None:
    """Each image is counted once, and each error."""
    with services() as make:
        own = make()
        answer = own.post(f"{URL}/infer", json=body(b"no image", RED, b"no image"))
        assert value(own, 'skinxai_images_total{outcome="refused"}') == 3
        assert value(own, 'skinxai_images_total{outcome="answered"}') == 0
        assert value(own, f'skinxai_errors_total{{code="{answer.json()["code"]}"}}') == 2


def test_no_model_is_ready_while_the_service_is_not() -> None:
    with services() as make:
        client = make()
        (version,) = client.get(URL).json()["versions"]
        client.app.service.draining = True
        for url in ("/v2/health", URL, f"{URL}/versions/{version}"):
            answer = client.get(f"{url}/ready")
            assert (answer.status_code, answer.json()["ready"]) == (503, False)


def test_nothing_that_is_asked_is_left_out(client) -> None:
    """A query would be: what is asked stands in the body."""
    answer = client.post(f"{URL}/infer?tta=true", json=body(RED))
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "tta"


def test_a_version_stands_in_the_path_alone(client) -> None:
    """As the protocol has it: ``v2/models/NAME[/versions/VERSION]``."""
    (version,) = client.get(URL).json()["versions"]
    get, post = client.get, functools.partial(client.post, json=body(RED))
    for ask, end in ((get, ""), (get, "/ready"), (post, "/infer")):
        assert ask(f"{URL}/versions/{version}{end}").status_code == 200
        assert ask(f"{URL}/versions/1{end}").status_code == 404
        for asked in (version, "1"):
            answer = ask(f"{URL}{end}?version={asked}")
            assert answer.status_code == 422, end
            assert "must stand in the path, /v2/models/{name}/versions/" in answer.json()["error"]
    described = client.get("/openapi.json").json()["paths"]
    for path in (each for each in described if each.startswith("/v2/models/")):
        (about,) = described[path].values()
        told = [(each["name"], each["in"], each["required"]) for each in about["parameters"]]
        named = re.findall(r"{(\w+)}", path)
        assert told == [(name, "path", True) for name in named], path


def test_paths_and_bodies_that_are_refused(client) -> None:
    assert client.post("/v2/models/none/infer", json=body(RED)).status_code == 404
    assert client.get("/v2/models/none/ready").json()["error"]
    assert client.post(f"{URL}/versions/1/infer", json=body(RED)).status_code == 404
    assert client.post(f"{URL}/infer", content=RED).status_code == 415
    binary = {"Inference-Header-Content-Length": "10"}
    assert client.post(f"{URL}/infer", json=body(RED), headers=binary).status_code == 415
    for broken in ("{", "[" * 100_000, '{"inputs": NaN}', "null"):
        headers = {"content-type": "application/json"}
        answer = client.post(f"{URL}/infer", content=broken, headers=headers)
        assert answer.status_code == 422, broken[:20]


def test_what_clients_say_of_their_tensors_is_no_parameter(client) -> None:
    known = {"content_type": "base64"}
    sent = body(RED, outputs=[{"name": "label", "parameters": known}], trace="t-1")
    sent["inputs"][0]["parameters"] = known
    (label,) = client.post(f"{URL}/infer", json=sent).json()["outputs"]
    assert label["data"] == ["red"]
