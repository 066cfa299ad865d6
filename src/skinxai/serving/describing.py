"""What the OpenAPI page says of requests with images, and of problems."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from skinxai.serving.bodies import IMAGES
from skinxai.serving.problems import TYPE

BINARY = {"type": "string", "format": "binary"}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "request_id", "disclaimer"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable, for programs."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "request_id": {"type": "string"},
        "disclaimer": {"type": "string"},
    },
}
WORDS = {
    400: "Not HTTP as it should be.",
    401: "No valid key.",
    403: "A host or an origin that is not answered.",
    404: "Nothing of this name.",
    405: "Another method.",
    406: "No form of answer that the client takes.",
    408: "The request came too slowly.",
    413: "Too many bytes, images or pixels.",
    415: "A kind of content or of image that is not read.",
    422: "An image or a field that cannot be used.",
    429: "The client asks too often.",
    500: "The model failed.",
    501: "The service is not set up for this.",
    503: "The queue is full, or the service is loading or shutting down.",
    504: "The deadline passed.",
    507: "The disk is full.",
}


def problems(*more: int) -> dict[int | str, dict[str, Any]]:
    """The problems that any route answers, and more."""
    return {
        status: {
            "description": WORDS[status],
            "content": {TYPE: {"schema": PROBLEM}},
        }
        for status in sorted({400, 401, 403, 404, 405, 408, 429, 500, 503, *more})
    }


def with_images(fields: type[BaseModel], *, many: bool = False) -> dict[str, Any]:
    """Of a route that takes images in a form, or one as the whole body.

    Args:
        fields: text fields of the form, which may also be in the query.
        many: whether it takes several images.
    """
    schema = fields.model_json_schema()
    properties: dict[str, Any] = schema["properties"]
    several = {"type": "array", "items": BINARY, "minItems": 1} if many else BINARY
    form = {
        "type": "object",
        "required": [IMAGES],
        "additionalProperties": False,
        "properties": {IMAGES: several} | properties,
    }
    kinds = ("image/jpeg", "image/png", "image/webp", "image/tiff", "application/octet-stream")
    return {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}}
            | {kind: {"schema": BINARY} for kind in kinds},
        },
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": rule}
            for name, rule in properties.items()
        ],
    }


def with_json(body: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """Of a route that takes JSON."""
    content = {"application/json": {"schema": body.model_json_schema(), "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def answered(
    example: Any, kind: str = "application/json", others: Sequence[str] = ()
) -> dict[int | str, dict[str, Any]]:
    """What a request that is answered gets, and as which other kinds where it asks for one."""
    content = {kind: {"example": example}} | {other: {"schema": BINARY} for other in others}
    return {200: {"description": "The answer.", "content": content}}
