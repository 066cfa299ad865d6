"""The routes of the Open Inference Protocol, under ``/v2``."""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from skinxai.errors import SkinxaiError
from skinxai.results import DISCLAIMER
from skinxai.serving.arriving import Gone, unless_gone
from skinxai.serving.asking import refused
from skinxai.serving.describing import problems
from skinxai.serving.gate import visit_of
from skinxai.serving.json_bodies import asked_by, read_json
from skinxai.serving.open_inference import IMAGE, InferenceRequest, images_of, metadata, response
from skinxai.serving.pool import Served
from skinxai.serving.problems import Problem
from skinxai.serving.service import Service
from skinxai.version import __version__

logger = logging.getLogger("skinxai.serving")
MODEL = "/v2/models/{name}"
VERSION = MODEL + "/versions/{version}"
VERSIONED: dict[str, Any] = {
    "parameters": [
        {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    ]
}
"""A version stands in the path: as an argument that may be left out it would be a query."""
IMAGE_TENSOR = {"name": IMAGE, "shape": [1], "datatype": "BYTES", "data": ["iVBORw0K…"]}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "required": ["inputs"]},
                "example": {"inputs": [IMAGE_TENSOR]},
            }
        },
    }
}
REFUSALS = problems(413, 415, 422, 504)
NOT_NOW: dict[int | str, dict[str, Any]] = {
    503: {"description": "It does not answer now.", "content": {"application/json": {}}}
}


def open_inference(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    def found(request: Request) -> Served:
        if "version" in request.query_params:
            message = f"must stand in the path, {VERSION}, not in the query"
            raise refused([{"field": "version", "message": message}])
        service.check_loaded()
        served = service.pool.served.get(request.path_params["name"])
        if served is None or _asked_version(request) not in (None, _version(served)):
            raise Problem(404, "unknown_name", "There is no model of this name and version.")
        return served

    @router.get("/v2", summary="What this server is (Open Inference Protocol).")
    async def server(request: Request) -> Response:
        return JSONResponse({"name": "skinxai", "version": __version__, "extensions": []})

    @router.get("/v2/health/live", summary="Whether the service works.", responses=NOT_NOW)
    async def live(request: Request) -> Response:
        return JSONResponse({"live": service.alive}, 200 if service.alive else 503)

    @router.get("/v2/health/ready", summary="Whether all models answer.", responses=NOT_NOW)
    async def ready(request: Request) -> Response:
        is_ready = service.ready
        return JSONResponse({"live": is_ready, "ready": is_ready}, 200 if is_ready else 503)

    @router.get(
        VERSION + "/ready", summary="Whether a model answers.", openapi_extra=VERSIONED,
        responses=problems(422) | NOT_NOW,
    )  # fmt: skip
    @router.get(
        MODEL + "/ready", summary="Whether a model answers.", responses=problems(422) | NOT_NOW
    )
    @_with_error
    async def model_ready(request: Request, name: str) -> Response:
        if not service.loaded:
            return JSONResponse({"name": name, "ready": False}, 503)
        served, is_ready = found(request), service.ready
        return JSONResponse({"name": served.name, "ready": is_ready}, 200 if is_ready else 503)

    @router.get(
        VERSION, summary="What a model takes and gives.", openapi_extra=VERSIONED,
        responses=problems(422),
    )  # fmt: skip
    @router.get(MODEL, summary="What a model takes and gives.", responses=problems(422))
    @_with_error
    async def model(request: Request, name: str) -> Response:
        served = found(request)
        classifier = served.classifier
        return JSONResponse(
            metadata(name, _version(served), classifier.backend, len(classifier.labels))
        )

    @router.post(
        VERSION + "/infer", summary="Predict images in base64.", openapi_extra=BODY | VERSIONED,
        responses=REFUSALS,
    )  # fmt: skip
    @router.post(
        MODEL + "/infer", summary="Predict images in base64.", openapi_extra=BODY,
        responses=REFUSALS,
    )  # fmt: skip
    @_with_error
    async def infer(request: Request, name: str) -> Response:
        service.check_open()
        found(request)
        visit = visit_of(request.scope)
        if "inference-header-content-length" in request.headers:
            raise Problem(415, "content_type", "Tensors must be JSON, not binary.", close=True)
        body = await read_json(visit.arriving, request.headers, InferenceRequest)
        images = images_of(body, service.settings.max_images)
        visit.images = len(images)
        fields = asked_by(request, body.parameters)
        served, rows = await unless_gone(
            visit.arriving,
            service.predict(
                images, fields.how, route_key=fields.key, since=visit.since, model=name,
                whole=True,
            ),
        )  # fmt: skip
        for row in rows:
            if row.problem is not None:
                raise row.problem
        if _asked_version(request) not in (None, _version(served)):
            raise Problem(404, "unknown_name", "The model was exchanged meanwhile; ask again.")
        visit.model = served.model
        answers = await service.told(rows, images, fields.subject, fields.lesion)
        made = response(body, name, _version(served), answers)
        return JSONResponse(made | {"parameters": {"disclaimer": DISCLAIMER}})

    return router


def _asked_version(request: Request) -> str | None:
    version: str | None = request.path_params.get("version")
    return version


def _version(served: Served) -> str:
    return served.model.rpartition("@")[2]


def _with_error(route: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """A route whose problems also have the protocol's own ``error``."""

    @functools.wraps(route)
    async def answered(request: Request, **path: Any) -> Response:
        try:
            return await route(request, **path)
        except Gone:
            raise
        except Exception as error:
            if not isinstance(error, (Problem, SkinxaiError)):
                logger.error("a request failed", exc_info=error)
            visit, problem = visit_of(request.scope), Problem.of(error)
            visit.code = problem.code
            return problem.response(visit.id, error=problem.detail)

    return answered
