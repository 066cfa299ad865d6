"""Visitors who mean harm, at a running demo: does it stay up, and within its memory?

Usage: python benchmarks/hostile_visitors.py [--count 200]     (needs Chromium: sh scripts/debian)

The real server on a free loopback port, and a browser. Each kind of attack is made ``count`` times
or with ``count`` connections, with a fixed seed; whatever the count, at least 60 uploads of 20 MiB
come from one visitor and 50 from others, one zip has a million entries and one forty pictures of
39.7 megapixels, and one address holds all connections. In the end all attackers go, the server's
memory must be within 300 MB of what it was, and a visitor must get the classifier's own answer.
Writes results/hostile_visitors.json, with the most memory during each attack.
"""

import argparse
import io
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import requests
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from skinxai import Classifier, samples

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from demo_server import DEMO, LIMIT, address_of, chromium  # noqa: E402
from demo_zips import changed, million, zipped  # noqa: E402

from skinxai.web.connections import MOST  # noqa: E402

MIB = 1024**2
PATHS = (
    "/../../etc/passwd", "/static/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd",
    "/static/..%2f..%2f..%2fetc/passwd", "/..%5c..%5cetc/passwd", "//etc/passwd", "/%00",
    "/app/static/../app.py", "/component/x/../../etc/passwd", "/media/../../etc/passwd",
    "/_stcore/metrics", "/_stcore/agent/mcp", "/_stcore/bidi-components/x/../../y", "/%ff%fe",
    "/" + "a" * 9000, "/_stcore/upload_file/../x",
)  # fmt: skip


class Visitor:
    """A session without a browser.

    Args:
        address: of the demo.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.http = requests.Session()
        self.http.get(f"{address}/_stcore/health", timeout=LIMIT)
        self.token = self.http.cookies.get("_streamlit_xsrf") or ""
        self.socket: ClientConnection = connect(
            address.replace("http", "ws") + "/_stcore/stream", origin=address,
            subprotocols=["streamlit", self.token],
            additional_headers={"Cookie": f"_streamlit_xsrf={self.token}"},
            max_size=None, open_timeout=LIMIT, ping_interval=None, close_timeout=0.1,
        ).__enter__()  # fmt: skip
        started = BackMsg()
        started.rerun_script.SetInParent()
        self.socket.send(started.SerializeToString())
        self.session = ""
        while not self.session:
            message = ForwardMsg.FromString(self.socket.recv(LIMIT))
            self.session = message.new_session.initialize.session_id

    def put(self, data: bytes, session: str = "", number: int = 0) -> str:
        """Status of an upload under a new id."""
        place = f"{self.address}/_stcore/upload_file/{session or self.session}/f{number}"
        try:
            answer = self.http.put(
                place, files={"f": ("x.png", data)}, headers={"X-Xsrftoken": self.token},
                timeout=LIMIT,
            )  # fmt: skip
        except requests.RequestException as error:
            return type(error).__name__
        return f"{answer.status_code} {'' if answer.ok else answer.text}".strip()


class Server:
    """The running demo."""

    def __init__(self, process: subprocess.Popen, address: str) -> None:
        self.process, self.address = process, address
        self.place = (urlsplit(address).hostname, urlsplit(address).port)

    def memory(self) -> int:
        """MB that are resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1000


@contextmanager
def running() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*DEMO, "--no-browser", "--port", "0"], stdout=subprocess.PIPE, stderr=errors,
                stdin=subprocess.DEVNULL, text=True, cwd=folder,
                env=os.environ | {"HF_HUB_OFFLINE": "1"},
            )  # fmt: skip
        try:
            yield Server(process, address_of(process, log))
        finally:
            process.kill()
            process.communicate()


def piled_up(server: Server, count: int) -> Counter[str]:
    """Uploads of 20 MiB under new ids, of one visitor and then of many."""
    found: Counter[str] = Counter()
    one = Visitor(server.address)
    for k in range(max(60, count // 4)):
        found[f"one visitor: {one.put(bytes(20 * MIB), number=k)}"] += 1
    others = [Visitor(server.address) for _ in range(5)]
    for k in range(max(10, count // 20)):
        for each in others:
            found[f"five more: {each.put(bytes(20 * MIB), number=k)}"] += 1
    for each in (one, *others):
        each.socket.close()
    return found


def strangers(server: Server, count: int) -> Counter[str]:
    """Uploads to sessions that are unknown or another's."""
    own, other = Visitor(server.address), Visitor(server.address)
    found: Counter[str] = Counter()
    for k in range(count):
        session = other.session if k % 2 else f"{k:08x}-0000-4000-8000-000000000000"
        found["another's" if k % 2 else "unknown", own.put(b"x", session)] += 1
    own.socket.close()
    other.socket.close()
    return Counter({f"{kind}: {said}": n for (kind, said), n in found.items()})


def half_sent(server: Server, count: int, body: bool) -> Counter[str]:
    """Heads, or bodies, that never end; a byte comes each second."""
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "
    if body:
        visitor = Visitor(server.address)
        head = (
            f"PUT /_stcore/upload_file/{visitor.session}/x HTTP/1.1\r\nHost: localhost\r\n"
            f"Cookie: _streamlit_xsrf={visitor.token}\r\nX-Xsrftoken: {visitor.token}\r\n"
            f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {10 * MIB}\r\n\r\n"
        ).encode()
    found: Counter[str] = Counter()
    sockets = [socket.create_connection(server.place) for _ in range(count)]
    for each in sockets:
        each.sendall(head)
        each.setblocking(False)
    started = time.monotonic()
    while sockets and time.monotonic() - started < 120:
        time.sleep(1)
        for each in list(sockets):
            try:
                each.send(b"x")
                closed = each.recv(1) == b""
            except BlockingIOError:
                continue
            except OSError:
                closed = True
            if closed:
                each.close()
                sockets.remove(each)
                found["closed by the server within 40 s"] += time.monotonic() - started < 40
    found["still open"] += len(sockets)
    return +found


def all_connections(server: Server, browser: object) -> Counter[str]:
    """All connections, held by one address while a visitor comes from another."""
    head = f"GET /_stcore/health HTTP/1.1\r\nHost: localhost:{server.place[1]}\r\n\r\n".encode()
    held: list[socket.socket] = []
    found, over = Counter[str](), threading.Event()

    def hold() -> int:
        """Ask over each connection, so that it is not idle; count those that answer; take more."""
        for each in list(held):
            try:
                each.sendall(head)
                if b" 200 " not in each.recv(4096):
                    raise ConnectionError
            except OSError:
                held.remove(each)
        answered = len(held)
        for _ in range(MOST + 20 - len(held)):
            with suppress(OSError):
                held.append(socket.create_connection(server.place, 10, ("127.0.0.2", 0)))
        return answered

    def go_on() -> None:
        while not over.wait(0.2):
            hold()

    hold()
    found["held by one address"] = hold()
    thread = threading.Thread(target=go_on)
    thread.start()
    found["right answers of a visitor from another"] += right_answer(server, browser)
    over.set()
    thread.join()
    for each in held:
        each.close()
    return found


def foreign(server: Server, count: int) -> Counter[str]:
    """Web sockets and requests of other origins, and for other hosts."""
    rng, found = random.Random(1), Counter[str]()
    wrong = ("http://a.example", "null", "http://localhost:1", "http://localhost.a.example", "x")
    for _ in range(count):
        origin = rng.choice(wrong)
        try:
            with connect(server.address.replace("http", "ws") + "/_stcore/stream", origin=origin):
                found["a web socket opened"] += 1
        except WebSocketException:
            found["web socket refused"] += 1
        header = {"Host": "a.example"} if rng.random() < 0.5 else {"Origin": origin}
        found[
            f"request: {requests.get(server.address, headers=header, timeout=LIMIT).status_code}"
        ] += 1
    return found


def paths(server: Server, count: int) -> Counter[str]:
    """Paths out of the folder, as they are and with one character changed."""
    rng, found = random.Random(2), Counter[str]()
    for k in range(count):
        path = PATHS[k % len(PATHS)]
        if k >= len(PATHS):
            place = rng.randrange(1, len(path))
            path = path[:place] + rng.choice("./%\\2ef ") + path[place + 1 :]
        with socket.create_connection(server.place, timeout=LIMIT) as made:
            host = "Host: localhost\r\nConnection: close\r\n\r\n"
            made.sendall(f"GET {path.replace(' ', '%20')} HTTP/1.1\r\n{host}".encode())
            answer = b"".join(iter(lambda: made.recv(65536), b""))
        words = answer.split(maxsplit=2)
        found["a file of the machine" if b"root:" in answer else words[1].decode()] += 1
    return found


def messages(server: Server, count: int) -> Counter[str]:
    """Messages of an open page that are none, or that are changed or too large."""
    rng, found = random.Random(3), Counter[str]()
    good = BackMsg()
    state = good.rerun_script.widget_states.widgets.add()
    state.id, state.string_value = "$$ID-method", "gradcam"
    bytes_of = good.SerializeToString()
    for k in range(max(10, count // 5)):
        visitor = Visitor(server.address)
        with suppress(WebSocketException, OSError):
            if k % 4 == 0:
                visitor.socket.send("text")
            elif k % 4 == 1:
                visitor.socket.send(bytes(5 * MIB))
            else:
                for _ in range(10):
                    copy = bytearray(bytes_of)
                    copy[rng.randrange(len(copy))] = rng.randrange(256)
                    visitor.socket.send(bytes(copy) if k % 4 == 2 else rng.randbytes(50))
        with suppress(WebSocketException, OSError):
            visitor.socket.close()
        found[("text", "too large", "changed", "noise")[k % 4]] += 1
    return found


def blank(width: int, height: int, grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height), grey).save(buffer, "PNG")
    return buffer.getvalue()


def forged_zips(count: int) -> dict[str, bytes]:
    """Zips by what is wrong with them."""
    rng = random.Random(4)
    image = samples.paths()[0].read_bytes()
    bomb = bytearray(zipped({"a.png": bytes(200 * MIB)}, zipfile.ZIP_BZIP2))
    for place in (bomb.find(b"PK\x03\x04") + 22, bomb.find(b"PK\x01\x02") + 24):
        struct.pack_into("<I", bomb, place, 10)
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    small = [bytes(zipped({"a.jpg": image[:3000], "b.txt": b"x" * 99}, m)) for m in methods]
    small.append(million(3))  # in ZIP64
    outer = {f"{k}.zip": changed(small[k % 5], rng) for k in range(count)}
    return {
        "a million entries": million(),
        "an entry that unpacks to more than it says": bytes(bomb),
        "forty pictures of 39.7 megapixels": bytes(
            zipped({f"{k}.png": blank(6300, 6300, k) for k in range(40)}, zipfile.ZIP_DEFLATED)
        ),
        **outer,
    }


def in_the_browser(server: Server, page: object, zips: dict[str, bytes]) -> dict[str, str]:
    """What the batch page says, and after how long."""
    changed_ones = [name for name in zips if name.endswith(".zip")]
    asked = {name: [name] for name in zips if name not in changed_ones}
    asked[f"{len(changed_ones)} changed zips"] = changed_ones
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in zips.items():
            Path(folder, name).write_bytes(data)
        for name, files in asked.items():
            page.goto(f"{server.address}/batch")
            page.get_by_text("Drop many files here").wait_for()
            started = time.monotonic()
            page.locator("input[type=file]").set_input_files([Path(folder, each) for each in files])
            line = page.get_by_text("have an answer").or_(page.get_by_text("Oh no"))
            line.first.wait_for()
            found[name] = f"{line.first.inner_text()} ({time.monotonic() - started:.0f} s)"
            print(name, found[name], flush=True)
    return found


def waits_beside(server: Server, browser: object, count: int) -> str:
    """Seconds until a visitor sees an answer while others ask for slow ones."""
    large = {f"{k}.png": blank(4990, 4990, k) for k in range(20)}
    pages = []
    for k in range(3):
        pages.append(browser.new_context().new_page())
        pages[-1].set_default_timeout(1000 * LIMIT)
        pages[-1].goto(f"{server.address}/batch")
        data = bytes(zipped(large | {"own.png": blank(900, 600, k)}, zipfile.ZIP_DEFLATED))
        pages[-1].locator("input[type=file]").set_input_files(
            {"name": f"{k}.zip", "mimeType": "application/zip", "buffer": data}
        )
    pages[-1].get_by_text("s left").first.wait_for()
    page = browser.new_context().new_page()
    page.set_default_timeout(1000 * LIMIT)
    page.goto(server.address)
    page.locator("table.findings").wait_for()
    own = blank(900, 600, 99)  # a sample's answer is kept from when the server started
    wanted = best_share(own)
    started = time.monotonic()
    page.get_by_role("radio", name="File").or_(page.get_by_text("File", exact=True)).first.click()
    page.locator("input[type=file]").set_input_files(
        {"name": "new.png", "mimeType": "image/png", "buffer": own}
    )
    page.wait_for_function(
        "want => [...document.querySelectorAll('table.findings td')]"
        ".some(cell => cell.innerText == want)",
        arg=wanted,
    )
    seconds = time.monotonic() - started
    for each in (*pages, page):
        each.context.close()
    return (
        f"first answer after {seconds:.0f} s beside three batches of twenty 24.9-megapixel images"
    )


def right_answer(server: Server, browser: object) -> bool:
    """Whether a new visitor gets the classifier's own numbers."""
    page = browser.new_context().new_page()
    page.set_default_timeout(1000 * LIMIT)
    page.goto(server.address)
    page.locator("table.findings").wait_for()
    shown = page.locator("table.findings td").first.inner_text()
    page.context.close()
    return shown == best_share(samples.paths()[0].read_bytes())


def best_share(image: bytes) -> str:
    """The largest probability, as the page shows it."""
    return f"{100 * Classifier.from_pretrained().predict(image).probability:.1f} %"


def main(count: int) -> None:
    report: dict[str, object] = {"count": count}
    with running() as server, chromium() as browser:
        assert right_answer(server, browser)
        start, over = server.memory(), threading.Event()
        most, now = Counter[str](), ["nothing"]

        def watch() -> None:
            while not over.wait(0.1):
                with suppress(OSError, IndexError):
                    most[now[0]] = max(most[now[0]], server.memory())

        threading.Thread(target=watch, daemon=True).start()
        for name, attack in {
            "uploads of 20 MiB": piled_up,
            "uploads to sessions of others": strangers,
            "half-sent heads": lambda s, n: half_sent(s, n, body=False),
            "dripping bodies": lambda s, n: half_sent(s, n // 4, body=True),
            "foreign origins and hosts": foreign,
            "paths": paths,
            "messages of open pages": messages,
            "all connections": lambda s, n: all_connections(s, browser),
        }.items():
            now[0] = name
            report[name] = dict(attack(server, count))
            print(name, json.dumps(report[name], indent=2), flush=True)
        page = browser.new_context().new_page()
        page.set_default_timeout(1000 * LIMIT)
        now[0] = "zips"
        report["zips"] = in_the_browser(server, page, forged_zips(count))
        page.context.close()
        print(json.dumps(report["zips"], indent=2), flush=True)
        now[0] = "beside slow visitors"
        report["beside slow visitors"] = waits_beside(server, browser, count)
        now[0] = "after all went"
        deadline = time.monotonic() + 240  # sessions end a minute after their visitors go
        while server.memory() > start + 150 and time.monotonic() < deadline:
            time.sleep(1)
        over.set()
        end = server.memory()
        report |= {
            "memory at the start, MB": start, "at most, MB": dict(most), "at the end, MB": end,
            "within 300 MB of the start": end <= start + 300,
            "the page is up, and its answer right": right_answer(server, browser),
        }  # fmt: skip
    (HERE / "results" / "hostile_visitors.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    main(parser.parse_args().count)
