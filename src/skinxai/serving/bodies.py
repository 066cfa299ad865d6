"""What a request brings: images and fields, read in memory."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers

from skinxai.serving.arriving import Arriving
from skinxai.serving.problems import Problem

MAX_FIELD = 4 * 1024
"""Bytes of a text field."""
MAX_FIELDS = 16
"""Text fields of a request."""
MAX_HEAD = 4 * 1024
"""Bytes of the headers of a part."""
IMAGES = "images"
"""Name of the parts that are images."""


@dataclass(frozen=True)
class Form:
    """A request's content.

    Args:
        images: encoded, in order; their file names are not looked at.
        fields: text, by name.
    """

    images: tuple[bytes, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)


async def read_form(arriving: Arriving, headers: Headers, max_images: int) -> Form:
    """Images and fields of a form, or the one image that is the whole body.

    Args:
        arriving: the body.
        headers: of the request.
        max_images: most images.

    Raises:
        Problem: 413, 415 or 422.
    """
    kind, options = content_type(headers)
    if kind == "multipart/form-data":
        return await _multipart(arriving, options.get("boundary", ""), max_images)
    if kind.startswith("image/") or kind == "application/octet-stream":
        whole = b"".join([chunk async for chunk in arriving.chunks()])
        if not whole:
            raise Problem(422, "no_inputs", "the body must be an image, but it is empty.")
        return Form((whole,))
    raise Problem(
        415, "content_type", "content-type must be multipart/form-data with parts named 'images', "
        "or an image's own such as image/jpeg.", close=True,
    )  # fmt: skip


def content_type(headers: Headers) -> tuple[str, dict[str, str]]:
    """A request's type and its parameters."""
    given = headers.get("content-type", "")
    if len(given) > 300:
        return "", {}
    kind, options = parse_options_header(given)
    return kind.decode("latin-1").strip().lower(), {
        name.decode("latin-1"): value.decode("latin-1") for name, value in options.items()
    }


async def _multipart(arriving: Arriving, boundary: str, max_images: int) -> Form:
    if not re.fullmatch(r"[\w'()+,./:=? -]{1,70}", boundary, re.ASCII):
        raise Problem(
            422, "multipart", "content-type must name a boundary of 1 to 70 characters.", close=True
        )
    parts = _Parts(max_images)
    parser = MultipartParser(boundary.encode(), parts.callbacks())
    try:
        async for chunk in arriving.chunks():
            parser.write(chunk)
        parser.finalize()
    except MultipartParseError as error:
        raise Problem(
            422, "multipart", "the body must be multipart/form-data as RFC 7578 says.", close=True
        ) from error
    if not parts.ended:
        raise Problem(422, "multipart", "the form must end with its closing boundary.")
    if not parts.images:
        raise Problem(
            422, "no_inputs", "the form must have at least one part named 'images'.",
            fields=[{"field": IMAGES, "message": "missing"}],
        )  # fmt: skip
    return Form(tuple(parts.images), parts.fields)


class _Parts:
    """Collects what the parser finds."""

    def __init__(self, max_images: int) -> None:
        self.images: list[bytes] = []
        self.fields: dict[str, str] = {}
        self.ended = False
        self._max_images = max_images
        self._head, self._name, self._value = 0, b"", b""
        self._disposition = b""
        self._part, self._data = "", bytearray()

    def callbacks(self) -> Any:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._head, self._name, self._value, self._disposition = 0, b"", b"", b""
        self._part, self._data = "", bytearray()

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            raise Problem(
                422, "multipart", f"the headers of a part must have at most {MAX_HEAD} bytes.",
                close=True,
            )  # fmt: skip

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _header_end(self) -> None:
        name = self._name.lower()
        if name == b"content-disposition":
            self._disposition = self._value
        elif name in (b"content-encoding", b"content-transfer-encoding") and (
            self._value.lower() not in (b"identity", b"binary", b"8bit", b"7bit")
        ):
            raise Problem(415, "content_encoding", "parts must not be encoded.", close=True)
        self._name, self._value = b"", b""

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition)
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or not self._part:
            raise Problem(422, "multipart", "each part must have a name.", close=True)
        if self._part != IMAGES and b"filename" in options:
            raise Problem(
                422, "multipart", f"files must be parts named {IMAGES!r}, got one named "
                f"{self._part!r:.60}.", close=True,
                fields=[{"field": self._part[:100], "message": "not a part for files"}],
            )  # fmt: skip
        if self._part == IMAGES and len(self.images) >= self._max_images:
            raise Problem(
                413, "too_many_images", f"a request must have at most {self._max_images} images; "
                f"send the others in another request.", close=True,
            )  # fmt: skip
        if self._part != IMAGES and len(self.fields) >= MAX_FIELDS:
            raise Problem(
                422, "multipart", f"a form must have at most {MAX_FIELDS} fields.", close=True
            )

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        self._data += memoryview(data)[start:end]
        if self._part != IMAGES and len(self._data) > MAX_FIELD:
            raise Problem(
                422, "multipart", f"a text field must have at most {MAX_FIELD} bytes.", close=True
            )

    def _part_end(self) -> None:
        if self._part == IMAGES:
            self.images.append(bytes(self._data))
        elif self._part in self.fields:
            raise Problem(
                422, "option", f"{self._part!r} must be given once.", close=True,
                fields=[{"field": self._part, "message": "given twice"}],
            )  # fmt: skip
        else:
            self.fields[self._part] = self._data.decode("utf-8", "replace")
        self._data = bytearray()

    def _end(self) -> None:
        self.ended = True
