"""A Hugging Face Hub on the loopback interface, with what the real client needs, and faults."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_tests"
LFS_BYTES = 4096  # larger files go the way of large ones
LICENCES = ("apache-2.0", "cc-by-4.0", "cc-by-nc-4.0", "mit", "other")  # some of those it knows


@dataclass
class Repo:
    """Branches and commits of one repository."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(
        self, files: dict[str, bytes], branch: str = "main", removed: Sequence[str] = ()
    ) -> str:
        """Add files to a branch, remove others, and return the commit."""
        content = {**self.at(branch), **files}
        for name in removed:
            del content[name]
        seed = repr((sorted((k, hashlib.sha1(v).hexdigest()) for k, v in content.items()),
                     len(self.commits)))  # fmt: skip
        sha = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[sha] = content
        self.branches[branch] = sha
        return sha

    def at(self, branch: str) -> dict[str, bytes]:
        """The files of a branch."""
        return self.commits.get(self.branches.get(branch, ""), {})


@dataclass
class Answer:
    """What goes back; faults change it."""

    status: int
    body: bytes
    headers: dict[str, str]
    length: int | None = None  # that is told, where it is not the true one
    stall: float = 0.0  # seconds before the second half of the body


Fault = Callable[[str, str, Answer], Answer | None]
"""(method, path, answer) → another answer, or ``None`` for the same."""


class Hub:
    """A running server; `faults` are asked about each answer."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.faults: list[Fault] = []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def paths(self, method: str = "GET") -> list[str]:
        """Paths that were asked for."""
        return [path for verb, path in self.requests if verb == method]

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        """The answer of a Hub without faults."""
        allowed = headers.get("Authorization") == f"Bearer {TOKEN}"
        if method in ("POST", "PUT") and not allowed and not path.startswith("/_lfs/"):
            return _json({"error": "a token that may write is needed"}, 401)
        for verb, pattern, name in ROUTES:
            if verb == method.replace("HEAD", "GET") and (found := re.fullmatch(pattern, path)):
                parts = found.groupdict()
                if parts.get("revision"):
                    parts["revision"] = unquote(parts["revision"])
                answer: Answer = getattr(self, name)(allowed, body, **parts)
                return answer
        return _json({"error": "not here"}, 404)

    def _known(self, allowed: bool, repo: str) -> Repo | Answer:
        found = self.repos.get(repo)
        if found is None or (found.private and not allowed):
            status, kind = (404, "RepoNotFound") if allowed else (401, "RepoNotFound")
            return _json({"error": "Repository not found"}, status, {"X-Error-Code": kind})
        if found.gated and not allowed:
            return _json({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo"})
        return found

    def validate(self, allowed: bool, body: bytes) -> Answer:
        """As the Hub, which refuses data sets named in prose and licences that it does not know."""
        card = json.loads(body)["content"]
        found = re.match(r"\s*---\r?\n(.*?)\r?\n---", card, re.DOTALL)
        values = yaml.safe_load(found[1]) if found else {}
        errors = [
            f'"datasets[{place}]" with value "{name}" is not valid.'
            for place, name in enumerate(values.get("datasets", []))
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)
        ]
        if values.get("license", "other") not in LICENCES:
            errors.append('"license" must be one of [apache-2.0, mit, …]')
        told = {"errors": [{"message": each} for each in errors], "warnings": []}
        return _json(told, 400 if errors else 200)

    def create(self, allowed: bool, body: bytes) -> Answer:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else None
        name = name or f"tester/{asked['name']}"
        fresh = name not in self.repos
        if fresh:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.repos[name] = Repo(private=bool(private))
            self.repos[name].commit({})
        return _json({"url": f"{self.url}/{name}"}, 200 if fresh else 409)

    def branch(self, allowed: bool, body: bytes, repo: str, revision: str) -> Answer:
        known = self.repos[repo]
        if revision in known.branches:
            return _json({"error": "it exists"}, 409)
        known.branches[revision] = known.branches["main"]
        return _json({})

    def info(self, allowed: bool, body: bytes, repo: str, revision: str | None = None) -> Answer:
        known, branch = self._known(allowed, repo), revision or "main"
        if isinstance(known, Answer):
            return known
        files = [{"rfilename": name} for name in known.at(branch)]
        return _json({"id": repo, "sha": known.branches[branch], "private": known.private,
                      "siblings": files})  # fmt: skip

    def preupload(self, allowed: bool, body: bytes, repo: str, revision: str) -> Answer:
        there, asked = self.repos[repo].at(revision), json.loads(body)
        ignored = asked.get("gitIgnore", there.get(".gitignore", b"").decode()).splitlines()
        files = [
            {"path": f["path"], "shouldIgnore": any(fnmatch(f["path"], each) for each in ignored),
             "uploadMode": "lfs" if f["size"] > LFS_BYTES else "regular"}
            | ({"oid": _oid(there[f["path"]])} if f["path"] in there else {})
            for f in asked["files"]
        ]  # fmt: skip
        return _json({"files": files})

    def batch(self, allowed: bool, body: bytes, repo: str) -> Answer:
        objects = []
        for each in json.loads(body)["objects"]:
            actions = {"upload": {"href": f"{self.url}/_lfs/{each['oid']}", "header": {}}}
            known = each["oid"] in self.objects
            objects.append({**each, **({} if known else {"actions": actions})})
        return _json({"transfer": "basic", "objects": objects})

    def put(self, allowed: bool, body: bytes, oid: str) -> Answer:
        assert hashlib.sha256(body).hexdigest() == oid
        self.objects[oid] = body
        return _json({})

    def commit(self, allowed: bool, body: bytes, repo: str, revision: str) -> Answer:
        files, removed = {}, []
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                below = value.get("parentCommit")
                if below not in (None, self.repos[repo].branches[revision]):
                    return _json({"error": "the branch has another commit"}, 412)
            elif entry["key"] == "deletedFile":
                removed.append(value["path"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
        sha = self.repos[repo].commit(files, revision, removed)
        return _json({"commitOid": sha, "commitUrl": f"{self.url}/{repo}/commit/{sha}",
                      "pullRequestUrl": None, "success": True})  # fmt: skip

    def resolve(
        self, allowed: bool, body: bytes, repo: str, revision: str, path: str, prefix: str = ""
    ) -> Answer:
        known = self._known(allowed or bool(prefix), repo)  # links to large files are signed
        if isinstance(known, Answer):
            return known
        sha = known.branches.get(revision, revision)
        if sha not in known.commits:
            return _json({"error": "no"}, 404, {"X-Error-Code": "RevisionNotFound"})
        data = known.commits[sha].get(unquote(path))
        headers = {"X-Repo-Commit": sha}
        if data is None:
            return _json({"error": "no"}, 404, headers | {"X-Error-Code": "EntryNotFound"})
        headers |= {"Accept-Ranges": "bytes", "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
        if len(data) > LFS_BYTES and not prefix:
            etag = hashlib.sha256(data).hexdigest()
            place = f"http://localhost:{self.port}/_cdn/{repo}/resolve/{sha}/{path}"
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data)),
                        "Location": place}  # fmt: skip
            return Answer(302, b"", headers)
        return Answer(200, data, headers)


ROUTES = (
    ("POST", r"/api/validate-yaml", "validate"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/branch/(?P<revision>.+)", "branch"),
    ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<revision>.+)", "preupload"),
    ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    ("PUT", r"/_lfs/(?P<oid>[0-9a-f]{64})", "put"),
    ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<revision>.+)", "commit"),
    ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<revision>.+))?", "info"),
    ("GET", r"(?P<prefix>/_cdn|)/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)",
     "resolve"),
)  # fmt: skip


def _oid(data: bytes) -> str:
    """By which the client sees that a file is there already."""
    if len(data) > LFS_BYTES:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    kind = {"Content-Type": "application/json"}
    return Answer(status, json.dumps(value).encode(), kind | (headers or {}))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_hub: Hub

    def _do(self) -> None:
        hub, path = self.server_hub, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.requests.append((self.command, path))
        answer = hub.answer(self.command, path, self.headers, body)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted and answer.status == 200:
            first, last = int(wanted[1]), int(wanted[2] or len(answer.body) - 1)
            span = f"bytes {first}-{last}/{len(answer.body)}"
            answer = Answer(206, answer.body[first : last + 1],
                            answer.headers | {"Content-Range": span})  # fmt: skip
        for fault in hub.faults:
            answer = fault(self.command, path, answer) or answer
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        told = len(answer.body) if answer.length is None else answer.length
        self.send_header("Content-Length", str(told))
        self.end_headers()
        if self.command != "HEAD":
            half = len(answer.body) // 2 if answer.stall else len(answer.body)
            self.wfile.write(answer.body[:half])
            if answer.stall:
                self.wfile.flush()
                time.sleep(answer.stall)
                self.wfile.write(answer.body[half:])
            if told != len(answer.body):  # else the client would wait for the rest
                self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = _do

    def log_message(self, *_: Any) -> None:
        pass
