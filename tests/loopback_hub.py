"""The Hub of this machine as the client sees it, with a model and damage to its answers."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub_server import Answer, Hub
from waiting import LIMIT

from skinxai.configs import canonical_json
from skinxai.model_folders import hub_client

NAME = "tester/lesions"


@contextmanager
def on_loopback(monkeypatch, cache: Path) -> Iterator[Hub]:
    """A Hub of this process, which the client asks within it."""
    from huggingface_hub import close_session, constants

    server = Hub()
    point_to(server.url, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub_client, "SECONDS", LIMIT)  # this server may be slow to answer
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield server
    server.close()
    close_session()  # else it would go on with connections that are still open


def point_to(url: str, monkeypatch) -> None:
    """What HF_ENDPOINT does when the client is imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def files_of(content: dict[str, bytes]) -> dict[str, bytes]:
    """A model folder's files with their manifest."""
    listed = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    inside = {"files": listed, "schema_version": 1}
    digest = hashlib.sha256(canonical_json(inside)).hexdigest()
    return content | {"manifest.json": canonical_json(inside | {"digest": digest})}


def flip(answer: Answer) -> Answer:
    place = len(answer.body) // 2
    body = bytearray(answer.body)
    body[place] ^= 1
    return Answer(answer.status, bytes(body), answer.headers)


DAMAGE = {
    "flipped": flip,
    "shorter": lambda a: Answer(a.status, a.body[:-9], a.headers),
    "cut": lambda a: Answer(a.status, a.body[: len(a.body) // 3], a.headers, len(a.body)),
    "longer": lambda a: Answer(a.status, a.body + b"more", a.headers),
    "other": lambda a: Answer(a.status, b"z" * len(a.body), a.headers),
    "a page": lambda a: Answer(200, b"<html>Log in</html>", {"Content-Type": "text/html"}),
}
