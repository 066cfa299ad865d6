"""The requests of the page on serving, and their fields, are those of the service."""

import re

import pytest
from places import ROOT

from skinxai.serving.app import create_app
from skinxai.serving.service_settings import ServiceSettings

PAGE = (ROOT / "docs/how-to/serve.md").read_text()
ELSEWHERE = (ROOT / "docs/how-to/cloud.md").read_text()


@pytest.fixture(scope="module")
def page() -> dict:
    return create_app(ServiceSettings()).openapi()


def test_every_request_is_on_a_page(page: dict) -> None:
    rows = re.findall(r"(?m)^\| (`(?:GET|POST) .+?) \|", PAGE)
    named = {tuple(each.split()) for row in rows for each in re.findall(r"`(.+?)`", row)}
    named -= {("GET", "/openapi.json")}
    own = {(verb.upper(), path) for path, each in page["paths"].items() for verb in each}
    others = {(verb, path) for verb, path in own if (verb, path) not in named}
    assert named <= own
    for verb, path in others:
        assert path.startswith("/v2") or f"`{verb} {path}`" in ELSEWHERE


def test_the_fields_are_those_of_the_service(page: dict) -> None:
    rows = re.findall(r"(?m)^\| `POST (\S+)` \| .+ \| (.+) \|$", PAGE)
    assert len(rows) == 5
    for path, fields in rows:
        content = page["paths"][path]["post"]["requestBody"]["content"]
        kind = content.get("multipart/form-data") or content["application/json"]
        assert re.findall(r"`(\w+)`", fields), path
        assert set(re.findall(r"`(\w+)`", fields)) == set(kind["schema"]["properties"]) - {"images"}
