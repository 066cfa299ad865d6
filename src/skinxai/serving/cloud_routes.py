"""The routes that clouds call: SageMaker's, Vertex AI's by another path, and Azure ML's."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from skinxai.results import DISCLAIMER
from skinxai.serving.answer_examples import PREDICTED
from skinxai.serving.asking import PredictFields, asked
from skinxai.serving.bodies import content_type, read_form
from skinxai.serving.cloud_contracts import InstancesRequest, instances_of
from skinxai.serving.describing import answered, problems, with_images, with_json
from skinxai.serving.gate import visit_of
from skinxai.serving.json_bodies import asked_by, read_json
from skinxai.serving.predicting_routes import answered_images
from skinxai.serving.problems import Problem, told
from skinxai.serving.service import Service

PING, INVOCATIONS, SCORE = "/ping", "/invocations", "/score"
ANSWERED = {
    **{name: PREDICTED[name] for name in ("request_id", "disclaimer")},
    "predictions": PREDICTED["results"],
    "deployedModelId": PREDICTED["model"],
}


def clouds(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.get(PING, summary="Whether the service answers requests now (SageMaker).")
    async def ping() -> Response:
        if not service.ready:
            raise Problem(503, "loading", "The service answers no requests now.", retry=2)
        return JSONResponse({"status": "ready", "disclaimer": DISCLAIMER})

    bodies = with_images(PredictFields, many=True)
    bodies["requestBody"]["content"] |= with_json(
        InstancesRequest, {"instances": [{"b64": "iVBORw0K…"}], "parameters": {"tta": True}}
    )["requestBody"]["content"]
    described: dict[str, Any] = {
        "openapi_extra": bodies,
        "responses": answered(ANSWERED) | problems(413, 415, 422, 504),
    }

    @router.post(SCORE, summary="Predict images (Azure ML).", **described)
    @router.post(INVOCATIONS, summary="Predict images (SageMaker).", **described)
    async def invocations(request: Request) -> Response:
        """An encoded image as it is, a form as of ``/v1/predict``, or JSON with ``instances``."""
        service.check_open()
        visit = visit_of(request.scope)
        if content_type(request.headers)[0] == "application/json":
            body = await read_json(visit.arriving, request.headers, InstancesRequest)
            images = instances_of(body, service.settings.max_images)
            fields = asked_by(request, body.parameters)
        else:
            form = await read_form(visit.arriving, request.headers, service.settings.max_images)
            images, fields = list(form.images), asked(PredictFields, request, form.fields)
        results = await answered_images(service, visit, images, fields)
        return told(visit.id, {"predictions": results, "deployedModelId": visit.model})

    return router
