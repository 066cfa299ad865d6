"""``POST /v1/predict``."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from skinxai.serving.answer_examples import PREDICTED
from skinxai.serving.arriving import unless_gone
from skinxai.serving.asking import PredictFields, asked
from skinxai.serving.bodies import read_form
from skinxai.serving.describing import answered, problems, with_images
from skinxai.serving.gate import Visit, visit_of
from skinxai.serving.problems import told
from skinxai.serving.service import Service


def predicting(service: Service) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.post(
        "/v1/predict", summary="Predict class probabilities of one or many images.",
        openapi_extra=with_images(PredictFields, many=True),
        responses=answered(PREDICTED) | problems(413, 415, 422, 504),
    )  # fmt: skip
    async def predict(request: Request) -> JSONResponse:
        visit = visit_of(request.scope)
        form = await read_form(visit.arriving, request.headers, service.settings.max_images)
        fields = asked(PredictFields, request, form.fields)
        results = await answered_images(service, visit, form.images, fields)
        return told(visit.id, {"results": results, "model": visit.model})

    return router


async def answered_images(
    service: Service, visit: Visit, images: Sequence[bytes], fields: PredictFields
) -> list[dict[str, Any]]:
    """The answer to each image of a request; an image that came alone may refuse the request.

    Raises:
        Problem: of the request.
    """
    visit.images = len(images)
    served, rows = await unless_gone(
        visit.arriving,
        service.predict(images, fields.how, route_key=fields.key, since=visit.since),
    )
    if len(rows) == 1 and rows[0].problem is not None:
        raise rows[0].problem
    visit.model = served.model
    return await service.told(rows, images, fields.subject, fields.lesion)
