"""``POST /v1/feedback``: what a reviewer says of an answer."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from skinxai.serving.answer_examples import PREDICTED
from skinxai.serving.asking import Name
from skinxai.serving.describing import problems, with_json
from skinxai.serving.gate import visit_of
from skinxai.serving.json_bodies import read_json
from skinxai.serving.problems import Problem, told
from skinxai.serving.service import Service

MAX_BODY = 64 * 1024
"""Bytes of a request."""


class Feedback(BaseModel):
    """Body of ``/v1/feedback``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[Name, Field(description="Of the answer, as /v1/predict gave it.")]
    label: Annotated[Name, Field(description="A label of the model, or 'unsure'.")]
    reviewer: Annotated[Name, Field(description="Pseudonym of who says so.")]
    comment: Annotated[str, Field(max_length=2000)] = ""


def feedback(service: Service) -> APIRouter:
    """The route."""
    router = APIRouter()

    @router.post(
        "/v1/feedback", summary="Say what a reviewer thinks of an answer.",
        openapi_extra=with_json(
            Feedback, {"id": PREDICTED["results"][0]["id"], "label": "mel", "reviewer": "r-17"}
        ),
        responses=problems(413, 415, 422, 501, 507),
    )  # fmt: skip
    async def give(request: Request) -> JSONResponse:
        service.check_loaded()
        if service.store is None:
            raise Problem(
                501, "no_store", "The service keeps no answers; start it with --review.", close=True
            )
        visit = visit_of(request.scope)
        said = await read_json(visit.arriving, request.headers, Feedback, MAX_BODY)
        await asyncio.to_thread(
            service.store.label, said.id, said.label, said.reviewer, said.comment
        )
        return told(visit.id, {"id": said.id, "kept": True})

    return router
