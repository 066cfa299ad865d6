"""`Problem`: what the service refuses or fails at, as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from skinxai.errors import (
    ExplainError,
    ExplainTimeoutError,
    ImageTooLargeError,
    InputError,
    IntegrityError,
    ModelError,
    NonFiniteOutputError,
    OptionError,
    OutOfMemoryError,
    SkinxaiError,
    StoreError,
    StoreFullError,
    UnknownCaseError,
    UnknownNameError,
    UnsupportedImageError,
)
from skinxai.results import DISCLAIMER

TYPE = "application/problem+json"
STATUSES: tuple[tuple[type[SkinxaiError], int], ...] = (
    (ImageTooLargeError, 413),
    (UnsupportedImageError, 415),
    (InputError, 422),
    (OptionError, 422),
    (UnknownNameError, 422),
    (ExplainTimeoutError, 504),
    (ExplainError, 422),
    (UnknownCaseError, 404),
    (StoreFullError, 507),
    (StoreError, 503),
    (OutOfMemoryError, 503),
    (NonFiniteOutputError, 500),
    (IntegrityError, 500),
    (ModelError, 422),
)
"""HTTP status of each kind of error, the first that fits; 500 for all others."""


class Problem(Exception):
    """Why a request, or one image of it, gets no answer.

    Args:
        status: of HTTP.
        code: stable, for programs.
        detail: a sentence.
        fields: what is wrong in which field, for people.
        retry: seconds after which the same request may be answered; 1 with status 503 unless
            another number is given.
        close: end the connection, because the rest of the request is not read.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, fields: Sequence[Mapping[str, str]] = (),
        retry: int | None = None, close: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.fields, self.close = tuple(fields), close
        self.retry = 1 if retry is None and status == 503 else retry

    @classmethod
    def of(cls, error: Exception) -> Problem:
        """Of any error; the words of one that skinxai did not raise are not shown."""
        if isinstance(error, Problem):
            return error
        if not isinstance(error, SkinxaiError):
            return cls(500, "internal", "The service failed to answer; its log says more.")
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
        detail = re.sub(r" or pass max_pixels=\d+", "", str(error))
        return cls(status, error.code, detail)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        found: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        return found | ({"errors": [dict(each) for each in self.fields]} if self.fields else {})

    def body(self, request_id: str) -> bytes:
        """The whole answer."""
        return json.dumps(
            self.to_dict() | {"request_id": request_id, "disclaimer": DISCLAIMER}
        ).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Of the whole answer."""
        found = [(b"content-type", TYPE.encode())]
        if self.retry is not None:
            found.append((b"retry-after", b"%d" % self.retry))
        if self.close:
            found.append((b"connection", b"close"))
        if self.status == 401:
            found.append((b"www-authenticate", b"Bearer"))
        return found
