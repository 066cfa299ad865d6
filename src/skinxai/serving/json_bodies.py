"""Bodies of JSON, read in memory, checked, and refused with the field's name."""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers

from skinxai.configs import unique_keys
from skinxai.serving.arriving import Arriving
from skinxai.serving.asking import PredictFields, problem_of, refused
from skinxai.serving.bodies import content_type
from skinxai.serving.problems import Problem

Body = TypeVar("Body", bound=BaseModel)


async def read_json(
    arriving: Arriving, headers: Headers, kind: type[Body], most: int | None = None
) -> Body:
    """The body of a request, of at most so many bytes.

    Raises:
        Problem: 413, 415 or 422.
    """
    if content_type(headers)[0] != "application/json":
        raise Problem(415, "content_type", "content-type must be application/json.", close=True)
    whole = bytearray()
    async for chunk in arriving.chunks():
        whole += chunk
        if most is not None and len(whole) > most:
            raise Problem(
                413, "body_too_large", f"the body must have at most {most} bytes.", close=True
            )
    found = _checked(lambda: kind.model_validate_json(bytes(whole)))
    try:
        json.loads(whole, object_pairs_hook=unique_keys)  # pydantic would take the last
    except ValueError as error:
        raise refused([{"field": "body", "message": str(error)}]) from None
    return found


def asked_by(request: Request, parameters: Mapping[str, Any] | None) -> PredictFields:
    """What a body of JSON asks beside its images.

    Args:
        request: it must have no query: what stood there would be left out.
        parameters: of the body.

    Raises:
        Problem: 422.
    """
    if names := sorted(request.query_params):
        message = "must stand in 'parameters' of the body, not in the query"
        raise refused([{"field": name[:100], "message": message} for name in names[:20]])
    return _checked(lambda: PredictFields.model_validate(dict(parameters or {}), strict=True))


def _checked(read: Callable[[], Body]) -> Body:
    try:
        return read()
    except ValidationError as error:
        raise problem_of(error) from None
