"""`Problem`: what the service refuses or fails at, as ``application/problem+json`` (RFC 9457)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from skinxai import errors
from skinxai.errors import SkinxaiError
from skinxai.errors.root import for_visitors
from skinxai.results import DISCLAIMER

TYPE = "application/problem+json"
STATUSES: tuple[tuple[type[SkinxaiError], int], ...] = (
    (errors.ImageTooLargeError, 413),
    (errors.UnsupportedImageError, 415),
    (errors.InputError, 422),
    (errors.OptionError, 422),
    (errors.UnknownNameError, 422),
    (errors.ExplainTimeoutError, 504),
    (errors.ExplainError, 422),
    (errors.UnknownCaseError, 404),
    (errors.StoreFullError, 507),
    (errors.StoreError, 503),
    (errors.OutOfMemoryError, 503),
    (errors.NonFiniteOutputError, 500),
    (errors.IntegrityError, 500),
    (errors.ModelError, 422),
)
"""HTTP status of each kind of error, the first that fits; 500 for all others."""

KNOWN_CODES = sorted(
    {getattr(errors, name).code for name in errors.__all__ if name.endswith("Error")}
    | {"accept", "bad_request", "body_too_large", "content_encoding", "content_type", "deadline",
       "framing", "host", "internal", "key", "loading", "method_not_allowed", "multipart",
       "no_store", "not_found", "queue_full", "rate", "shutdown", "too_many_connections",
       "too_many_images", "too_slow", "worker_ended"}
)  # fmt: skip
"""Codes of all errors but those of plugins."""


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
    def of(cls, error: Exception) -> "Problem":
        """Of any error; the words of one that skinxai did not raise are not shown."""
        if isinstance(error, Problem):
            return error
        if not isinstance(error, SkinxaiError):
            return cls(500, "internal", "The service failed to answer; its log says more.")
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
        return cls(status, error.code, for_visitors(str(error)))

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

    def response(self, request_id: str, **more: str) -> Response:
        """The whole answer, which also says ``more``."""
        headers = {"content-type": TYPE}
        if self.retry is not None:
            headers["retry-after"] = str(self.retry)
        if self.close:
            headers["connection"] = "close"
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return told(request_id, more | self.to_dict(), self.status, headers)


def told(
    request_id: str, content: Mapping[str, Any], status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:  # fmt: skip
    """What a client is told: JSON with the id of its request and the disclaimer."""
    whole = {**content, "request_id": request_id, "disclaimer": DISCLAIMER}
    return JSONResponse(whole, status, headers)
