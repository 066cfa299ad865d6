"""``POST /v1/predict``."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from skinxai.results import DISCLAIMER
from skinxai.serving.answer_examples import PREDICTED
from skinxai.serving.arriving import unless_gone
from skinxai.serving.asking import PredictFields, asked
from skinxai.serving.bodies import read_form
from skinxai.serving.describing import answered, problems, with_images
from skinxai.serving.gate import visit_of
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
        visit.images = len(form.images)
        served, rows = await unless_gone(
            visit.arriving,
            service.predict(form.images, fields.how, route_key=fields.key, since=visit.since),
        )
        if len(rows) == 1 and rows[0].problem is not None:
            raise rows[0].problem
        visit.model = served.model
        return JSONResponse(
            {
                "results": await service.told(rows, form.images, fields.subject, fields.lesion),
                "model": served.model,
                "request_id": visit.id,
                "disclaimer": DISCLAIMER,
            }
        )

    return router
