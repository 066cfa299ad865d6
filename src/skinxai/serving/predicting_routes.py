"""``POST /v1/predict``."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from skinxai.results import DISCLAIMER
from skinxai.serving.answer_examples import PREDICTED
from skinxai.serving.answer_rows import Row
from skinxai.serving.arriving import unless_gone
from skinxai.serving.asking import PredictFields, asked
from skinxai.serving.batching import Asked
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
            service.predict(
                form.images,
                Asked(fields.tta, fields.operating_point),
                route_key=fields.route_key or fields.subject,
                since=visit.since,
            ),
        )
        if len(rows) == 1 and rows[0].problem is not None:
            raise rows[0].problem
        visit.model = served.model
        kept = await asyncio.gather(
            *(
                service.record(row, upload, fields.subject, fields.lesion)
                for row, upload in zip(rows, form.images, strict=True)
            )
        )
        return JSONResponse(
            {
                "results": [row_json(index, row, kept[index]) for index, row in enumerate(rows)],
                "model": served.model,
                "request_id": visit.id,
                "disclaimer": DISCLAIMER,
            }
        )

    return router


def row_json(index: int, row: Row, kept: bool | None = None) -> dict[str, Any]:
    """One row of an answer; with ``recorded`` where the service keeps answers."""
    found: dict[str, Any] = {"id": row.id, "index": index}
    if kept is not None:
        found["recorded"] = kept
    if row.problem is not None:
        return found | {"error": row.problem.to_dict()}
    assert row.prediction is not None
    return found | row.prediction
