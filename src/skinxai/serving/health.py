"""``GET /healthz``, ``/readyz`` and ``/v1/models``."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from skinxai.results import DISCLAIMER
from skinxai.serving.answer_examples import MODELS
from skinxai.serving.describing import answered
from skinxai.serving.gate import visit_of
from skinxai.serving.pool import Served
from skinxai.serving.problems import Problem, told
from skinxai.serving.service import Service
from skinxai.serving.service_metrics import CONTENT_TYPE


def health(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    def check_alive() -> None:
        if not service.alive:
            raise Problem(503, "worker_ended", "A model's worker is dead or hangs.")

    @router.get("/healthz", summary="Whether the service works, or has to be started again.")
    async def healthz() -> JSONResponse:
        check_alive()
        return JSONResponse({"status": "alive", "disclaimer": DISCLAIMER})

    @router.get("/readyz", summary="Whether the service answers requests now.")
    async def readyz() -> JSONResponse:
        service.check_begun()
        check_alive()
        return JSONResponse({"status": "ready", "disclaimer": DISCLAIMER})

    @router.get("/v1/models", summary="The models that answer.", responses=answered(MODELS))
    async def models(request: Request) -> JSONResponse:
        service.check_loaded()
        found = [_described(each) for each in service.pool.served.values()]
        return told(visit_of(request.scope).id, {"models": found})

    @router.get(
        "/metrics", summary="What the service measures, for Prometheus.",
        response_class=PlainTextResponse,
    )  # fmt: skip
    def metrics() -> Response:
        return Response(service.observing.text(), media_type=CONTENT_TYPE)

    return router


def _described(served: Served) -> dict[str, Any]:
    classifier = served.classifier
    calibration, labels = classifier.calibration, classifier.config.labels
    points = calibration.one_view.operating_points if calibration is not None else {}
    return {
        "name": served.name,
        "model": served.model,
        "labels": {code: labels.long_name(code) for code in labels},
        "malignant": sorted(labels.malignant or ()),
        "backend": classifier.backend,
        "calibrated_on": None if calibration is None else calibration.data,
        "operating_points": sorted(points),
        "default_operating_point": None if calibration is None else calibration.default,
    }
