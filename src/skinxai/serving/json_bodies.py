"""Bodies of JSON, read in memory, checked, and refused with the field's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers

from skinxai.serving.arriving import Arriving
from skinxai.serving.asking import refused
from skinxai.serving.batching import Asked
from skinxai.serving.bodies import content_type
from skinxai.serving.problems import Problem

Body = TypeVar("Body", bound=BaseModel)


class Parameters(BaseModel):
    """What may be asked beside the images."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    operating_point: str | None = Field(None, min_length=1, max_length=128)
    tta: bool = False
    route_key: str | None = Field(None, min_length=1, max_length=128)


async def read_json(arriving: Arriving, headers: Headers, kind: type[Body]) -> Body:
    """The body of a request.

    Raises:
        Problem: 413, 415 or 422.
    """
    if content_type(headers)[0] != "application/json":
        raise Problem(415, "content_type", "content-type must be application/json.", close=True)
    whole = b"".join([chunk async for chunk in arriving.chunks()])
    return _checked(lambda: kind.model_validate_json(whole))


def asked_by(parameters: Mapping[str, Any] | None) -> tuple[Asked, str | None]:
    """How images are to be predicted, and the key that chooses the model.

    Raises:
        Problem: 422.
    """
    found = _checked(lambda: Parameters.model_validate(dict(parameters or {})))
    return Asked(found.tta, found.operating_point), found.route_key


def _checked(read: Callable[[], Body]) -> Body:
    try:
        return read()
    except ValidationError as error:
        raise refused(
            [
                {
                    "field": ".".join(str(part) for part in each["loc"])[:100] or "body",
                    "message": each["msg"][:200],
                }
                for each in error.errors(include_url=False, include_context=False)[:20]
            ]
        ) from None
