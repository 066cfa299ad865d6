"""Bodies that hold no image, a damaged one, or something else: refused, and cheap to refuse."""

import contextlib
import gzip
import http.client
import io
import re
import resource
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable

import pytest

pytest.importorskip("fastapi")
from gated_service import labels
from refused_pictures import REFUSED
from running_service import Answer, form, noise, png
from service_processes import process, status
from waiting import wait_for


def test_srv06_no_images_by_their_type(service) -> None:
    for kind in ({}, {"content-type": "application/json"}, {"content-type": "text/html"},
                 {"content-type": "application/x-www-form-urlencoded"},
                 {"content-type": "x" * 10_000}):  # fmt: skip
        found = service.ask("POST", "/v1/predict", b'{"a": 1}', kind)
        assert (found.status, found.code) == (415, "content_type"), kind
    found = service.ask("POST", "/v1/predict", b"{}", {"content-type": "image/png"})
    assert (found.status, found.code) == (415, "image_unsupported")


def test_srv07_damaged_forms(service) -> None:
    def form_of(*parts: bytes, boundary: bytes = b"b", end: bytes = b"--b--\r\n") -> Answer:
        body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end
        kind = b"multipart/form-data; boundary=" + boundary
        return service.ask("POST", "/v1/predict", body, {"content-type": kind.decode("latin-1")})

    part = b'Content-Disposition: form-data; name="images"\r\n\r\n' + png()
    text = b'Content-Disposition: form-data; name="%s"\r\n\r\n%s'
    assert form_of(part).status == 200
    assert form_of(part, part).status == 200
    assert form_of(text % (b"tta", b"true")).code == "no_inputs"
    assert form_of().status == 422
    assert form_of(part, end=b"").code == "multipart"  # no end
    assert form_of(*[part] * 33).code == "too_many_images"
    assert form_of(*[text % (b"f%d" % k, b"") for k in range(10_000)]).code == "multipart"
    assert form_of(text % (b"subject", b"x" * 10**5), part).code == "multipart"
    assert form_of(b"X-Y: " + b"z" * 10**5 + b"\r\n" + part).code == "multipart"
    assert form_of(b"Content-Disposition: form-data\r\n\r\nx").code == "multipart"
    assert form_of(text % (b"tta", b"true"), text % (b"tta", b"true"), part).code == "option"
    misnamed = form_of(part.replace(b'"images"', b'"image"; filename="a.png"'))
    assert misnamed.code == "multipart" and misnamed.json["errors"][0]["field"] == "image"
    assert "parts named 'images', got one named 'image'." in misnamed.json["detail"]
    assert form_of(b"Content-Encoding: gzip\r\n" + part).code == "content_encoding"
    assert form_of(b"no head").status == 422
    for boundary in ("", ";", "x" * 71, "\x7f", '"'):
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        assert service.ask("POST", "/v1/predict", b"x", kind).status == 422, boundary
    for ask in (
        lambda: form_of(*[text % (b"f%d" % k, b"") for k in range(10_000)]),
        lambda: form_of(text % (b"subject", b"x" * 10**6), part),
        lambda: form_of(b"X-Y: " + b"z" * 10**6 + b"\r\n" + part),
    ):
        assert processor_time(ask) < 0.1
    quotes = "a=" + '\\"' * 20_000
    slow = {"content-type": f"multipart/form-data; {quotes}; boundary=b"}
    assert service.ask("POST", "/v1/predict", b"x", slow).status == 415
    assert processor_time(lambda: service.ask("POST", "/v1/predict", b"x", slow)) < 0.1
    slow = {"content-type": "multipart/form-data; " + ";" * 200 + " boundary=b"}
    assert service.ask("POST", "/v1/predict", b"x", slow).status == 422
    assert processor_time(lambda: service.ask("POST", "/v1/predict", b"x", slow)) < 0.1


def processor_time(ask: Callable[[], object]) -> float:
    """Seconds of the processor for a request, its client's own included; the best of fifty."""
    found = []
    for _ in range(50):
        before = time.process_time()
        ask()
        found.append(time.process_time() - before)
    return min(found)


def forged_png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_srv08_images_that_explode(service) -> None:
    huge = forged_png(50_000, 50_000, zlib.compress(bytes(10**6)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        assert service.predict(huge).status == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB, of 7 GiB
    assert labels(service.predict(png(), huge, png("blue"))) == ["red", "image_too_large", "blue"]
    assert service.predict(forged_png(2**31 - 1, 2**31 - 1)).status in (413, 422)
    wide = service.predict(png(size=(3000, 40)))
    assert wide.status == 415 and wide.code == "image_unsupported"


@pytest.mark.parametrize("case", REFUSED)
def test_refused_images_name_no_keyword_of_python(service, case: str) -> None:
    data, error, words = REFUSED[case]
    row = service.predict(png(), data).json["results"][1]["error"]
    assert row["code"] == error.code and re.search(words, row["detail"])
    alone = service.predict(data)
    assert alone.code in (error.code, "no_inputs")
    assert not re.search(r"\w=", row["detail"] + alone.json["detail"])


def test_srv09_encoded_bodies(service) -> None:
    body, headers = form([png()])
    for kind in ("gzip", "br", "deflate", "gzip, identity", "x"):
        found = service.ask(
            "POST", "/v1/predict", gzip.compress(body), headers | {"content-encoding": kind}
        )
        assert (found.status, found.code) == (415, "content_encoding"), kind
    assert (
        service.ask("POST", "/v1/predict", body, headers | {"content-encoding": "identity"}).status
        == 200
    )


def test_srv10_archives(service) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/passwd", bytes(10**6))
    found = service.predict(data.getvalue())
    assert (found.status, found.code) == (415, "image_unsupported")
    kind = {"content-type": "application/zip"}
    assert service.ask("POST", "/v1/predict", data.getvalue(), kind).code == "content_type"


def test_srv11_file_names_are_not_looked_at(service) -> None:
    for name in ("../../etc/passwd", "a\\r\\nX-Evil: 1", "<script>alert(1)</script>", "\u202e.png"):
        head = f'Content-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'
        body = b"--b\r\n" + head.encode() + png() + b"\r\n--b--\r\n"
        kind = {"content-type": "multipart/form-data; boundary=b"}
        found = service.ask("POST", "/v1/predict", body, kind)
        assert found.status == 200 and found.json["results"][0]["source"] == "image 0"
        assert "passwd" not in found.body.decode() and "script" not in found.body.decode()
        assert "x-evil" not in found.headers


def test_srv28_nothing_is_spooled_to_the_disk(service) -> None:
    """A full disk cannot harm it: bodies stay in memory."""
    opened: list[str] = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    opened.clear()
    large = noise(1) + bytes(900_000)
    assert service.predict(png(), large).status == 200
    assert not [each for each in opened if each.startswith(("/tmp", "/var"))]
    full = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))}
    with process(stderr=subprocess.DEVNULL, **full) as (_, port):  # no file takes a byte more
        wait_for(lambda: status(port) == 200)
        body, kind = form([png(), large])
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as link:
            link.request("POST", "/v1/predict", body, kind)
            assert link.getresponse().status == 200
