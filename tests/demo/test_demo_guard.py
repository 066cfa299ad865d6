"""What stands in front of the demo's framework: headers, hosts, origins, methods and room."""

import asyncio
import re
from types import SimpleNamespace

import pytest

pytest.importorskip("streamlit")
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string

from skinxai.demo import rooms
from skinxai.demo.middleware import Guard, headers
from skinxai.demo.rooms import Room
from skinxai.demo.uploads import MAX_ZIP, MIB

COOKIE = "_streamlit_xsrf"


class Demo:
    """A guard before a small application that keeps what it is sent, as the framework does.

    Args:
        visitors: of each session its browser's cookie.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, address: str = "localhost") -> None:
        self.files = MemoryUploadedFileManager("/x")
        self.cookies: dict[str, str] = {}
        self.reached: list[str] = []
        runtime = SimpleNamespace(uploaded_file_mgr=self.files, get_client=self.client)
        monkeypatch.setattr(rooms, "_runtime", lambda: runtime)
        self.room = Room()
        self.guard = Guard(self.framework, headers(False), address, self.room)

    def visitor(self, session: str) -> str:
        self.cookies[session] = generate_xsrf_token_string(None, None)
        return session

    def client(self, session: str):
        if session not in self.cookies:
            return None
        return SimpleNamespace(
            client_context=SimpleNamespace(cookies={COOKIE: self.cookies[session]})
        )

    async def framework(self, scope, receive, send) -> None:
        self.reached.append(scope["path"])
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        body = await Request(scope, receive).body()
        if scope["method"] == "PUT":
            session, file = scope["path"].split("/")[-2:]
            self.files.add_file(session, UploadedFileRec(file, "x.png", "image/png", body))
        await PlainTextResponse("reached")(scope, receive, send)

    def ask(self, path="/", method="GET", kind="http", body=(b"",), **given: str):
        """The messages of the answer."""
        named = {"host": "localhost:8501"} | {k.replace("_", "-"): v for k, v in given.items()}
        scope = {
            "type": kind, "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in named.items()], "method": method,
        }  # fmt: skip
        parts = [
            {"type": "http.request", "body": part, "more_body": k + 1 < len(body)}
            for k, part in enumerate(body)
        ]
        sent: list[dict] = []

        async def receive():
            return parts.pop(0) if parts else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        return sent

    def put(self, session: str, file: str, *body: bytes, cookie: str | None = None, **given: str):
        """Status and sentence of the answer to an upload."""
        own = self.cookies.get(session, "") if cookie is None else cookie
        given = {"content_length": str(sum(map(len, body))), "cookie": f"{COOKIE}={own}"} | given
        path = f"/_stcore/upload_file/{session}/{file}"
        return answer(self.ask(path, "PUT", body=body or (b"",), **given))


def answer(sent: list[dict]) -> tuple[int, str]:
    start, *rest = sent
    return start["status"], b"".join(each.get("body", b"") for each in rest).decode()


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Demo:
    return Demo(monkeypatch)


def test_every_answer_has_the_headers(demo: Demo) -> None:
    asked = [
        demo.ask(), demo.ask("/_stcore/metrics"), demo.ask(method="POST"), demo.ask(host="a.b"),
        demo.ask("/_stcore/stream", kind="websocket"), demo.ask("/_stcore/upload_file/a/b", "PUT"),
    ]  # fmt: skip
    for sent in asked:
        found = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        assert {
            name.lower(): value for name, value in headers(False).items()
        }.items() <= found.items()


def test_the_policy_lets_nothing_foreign_in() -> None:
    own, framed = headers(False), headers(True)
    rules = dict(each.split(" ", 1) for each in own["Content-Security-Policy"].split("; "))
    assert rules["default-src"] == "'self'" and rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' data: blob:"
    assert rules["object-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["frame-ancestors"] == "'none'" and own["X-Frame-Options"] == "DENY"
    assert re.fullmatch(r"'self'( 'sha256-[\w+/]{43}=')+", rules["script-src"])
    assert own["X-Content-Type-Options"] == "nosniff" and own["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors https:" in framed["Content-Security-Policy"]
    assert "X-Frame-Options" not in framed


@pytest.mark.parametrize("host", ["localhost:8501", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_a_server_of_this_machine_answers_to_its_names(demo: Demo, host: str) -> None:
    assert answer(demo.ask(host=host)) == (200, "reached")


@pytest.mark.parametrize(
    "host", ["a.example", "localhost.a.example", "a.example:8501", "", "[", "localhost@a.example"]
)
def test_and_to_no_other(demo: Demo, host: str) -> None:
    assert answer(demo.ask(host=host))[0] == 403
    (closed,) = demo.ask("/_stcore/stream", kind="websocket", host=host)
    assert closed["type"] == "websocket.close" and demo.reached == []


def test_a_server_for_other_machines_answers_to_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = Demo(monkeypatch, "0.0.0.0")
    assert answer(demo.ask(host="demo.example")) == (200, "reached")
    assert answer(demo.ask(host="demo.example", origin="https://a.example"))[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://a.example", "null", "http://localhost:8502", "http://localhost", "[", ""]
)
def test_pages_of_other_origins_reach_nothing(demo: Demo, origin: str) -> None:
    (closed,) = demo.ask("/_stcore/stream", kind="websocket", origin=origin)
    assert closed["type"] == "websocket.close"
    session = demo.visitor("a")
    assert answer(demo.ask(origin=origin))[0] == 403
    assert demo.put(session, "1", b"x", origin=origin)[0] == 403
    assert demo.reached == []


def test_the_pages_own_origin_reaches_all(demo: Demo) -> None:
    (accepted,) = demo.ask("/_stcore/stream", kind="websocket", origin="http://localhost:8501")
    assert accepted["type"] == "websocket.accept"
    assert demo.put(demo.visitor("a"), "1", b"x", origin="http://localhost:8501")[0] == 200


@pytest.mark.parametrize(
    "path", ["metrics", "agent/mcp", "", "upload_file/a/b/c", "upload_file/a", "health/x"]
)
def test_what_the_page_does_not_need_is_not_there(demo: Demo, path: str) -> None:
    for method in ("GET", "PUT", "POST"):
        assert answer(demo.ask(f"/_stcore/{path}", method))[0] == 404
    assert demo.reached == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "X"])
def test_other_methods_are_refused(demo: Demo, method: str) -> None:
    assert answer(demo.ask(method=method))[0] == 405 and demo.reached == []


def test_a_session_that_is_unknown_or_anothers_takes_no_file(demo: Demo) -> None:
    a, b = demo.visitor("a"), demo.visitor("b")
    assert demo.put("c", "1", b"x", cookie=demo.cookies[a])[0] == 403
    for cookie in (demo.cookies[b], "", "x"):
        assert demo.put(a, "1", b"x", cookie=cookie)[0] == 403
    for cookie in (demo.cookies[b], ""):
        path = f"/_stcore/upload_file/{a}/1"
        assert answer(demo.ask(path, "DELETE", cookie=f"{COOKIE}={cookie}"))[0] == 403
    assert demo.reached == [] and demo.put(a, "1", b"x")[0] == 200


def sizes(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    for name, value in ({"FRAMING": 0} | limits).items():
        monkeypatch.setattr(rooms, name, value)


def kept(demo: Demo) -> dict[str, int]:
    return {
        f"{session}/{file}": len(record.data)
        for session, files in demo.files.file_storage.items()
        for file, record in files.items()
    }


def test_files_of_one_visitor_have_a_limit(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes(monkeypatch, OF_SESSION=10 * MIB)
    a, b = demo.visitor("a"), demo.visitor("b")
    answers = [demo.put(a, str(k), bytes(3 * MIB)) for k in range(5)]
    assert [status for status, _ in answers] == [200, 200, 200, 413, 413]
    assert answers[3][1] == "The files of one visitor must have at most 10 MiB together."
    assert demo.put(b, "1", bytes(3 * MIB))[0] == 200  # the page of another stays usable
    demo.files.remove_file(a, "0")
    assert demo.put(a, "5", bytes(2 * MIB))[0] == 200


def test_so_has_their_number(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes(monkeypatch, COUNT_OF_SESSION=3)
    a = demo.visitor("a")
    answers = [demo.put(a, str(k)) for k in range(5)]
    assert [status for status, _ in answers] == [200, 200, 200, 413, 413]
    assert answers[3][1] == "A visitor must send at most 3 files."


def test_a_file_that_is_too_large_is_refused_before_it_comes(demo: Demo) -> None:
    a = demo.visitor("a")
    refused = demo.put(a, "1", b"x", content_length=str(MAX_ZIP + MIB))
    assert refused == (413, "A file must have at most 200 MiB.") and demo.reached == []


def test_what_comes_counts_and_not_what_was_declared(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes(monkeypatch, OF_SESSION=10 * MIB)
    monkeypatch.setattr(rooms, "MAX_ZIP", 8 * MIB)
    a = demo.visitor("a")
    for declared in ("", "x", "0", "1"):
        refused = demo.put(a, "1", *[bytes(MIB)] * 20, content_length=declared)
        assert refused == (413, "A file must have at most 8 MiB.")
    assert kept(demo) == {} and demo.room._arriving.total() == demo.room._requests.total() == 0


def test_the_oldest_make_room_and_the_new_stay(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes(monkeypatch, OF_ALL=10 * MIB)
    now = [0.0]
    monkeypatch.setattr(rooms, "time", SimpleNamespace(monotonic=lambda: now[0]))
    a, b, c = (demo.visitor(name) for name in "abc")
    for session, file in ((a, "1"), (a, "2"), (b, "1")):
        assert demo.put(session, file, bytes(3 * MIB))[0] == 200
        now[0] += 10
    refused = demo.put(c, "1", bytes(3 * MIB))
    assert refused == (
        429,
        "Other visitors' files fill this server's memory: try again in a minute.",
    )
    now[0] = 20 + rooms.STAYS
    assert demo.put(c, "1", bytes(3 * MIB))[0] == 200
    assert kept(demo) == {"a/1": 0, "a/2": 3 * MIB, "b/1": 3 * MIB, "c/1": 3 * MIB}


def test_a_visitor_who_goes_leaves_nothing_counted(demo: Demo) -> None:
    a = demo.visitor("a")
    scope = {"type": "http", "path": f"/_stcore/upload_file/{a}/1", "method": "PUT",
             "headers": [(b"host", b"localhost"), (b"content-length", b"9"),
                         (b"cookie", f"{COOKIE}={demo.cookies[a]}".encode())]}  # fmt: skip
    sent: list[dict] = []

    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(demo.guard(scope, gone, send))
    assert sent == [] and demo.room._requests.total() == demo.room._arriving.total() == 0
    with pytest.raises(ClientDisconnect):  # as the framework has it
        asyncio.run(demo.framework(scope, gone, send))
