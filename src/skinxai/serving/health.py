"""``GET /healthz`` and ``/readyz``."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from skinxai.results import DISCLAIMER
from skinxai.serving.problems import Problem
from skinxai.serving.service import Service


def health(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.get("/healthz", summary="Whether the service works, or has to be started again.")
    async def healthz() -> JSONResponse:
        if not service.alive:
            raise Problem(503, "worker_ended", "A model's worker is dead or hangs.")
        return JSONResponse({"status": "alive", "disclaimer": DISCLAIMER})

    @router.get("/readyz", summary="Whether the service answers requests now.")
    async def readyz() -> JSONResponse:
        if service.draining:
            raise Problem(503, "shutdown", "The service is shutting down.", retry=5)
        if not service.loaded:
            raise Problem(503, "loading", "The service is loading its models.", retry=2)
        if not service.alive:
            raise Problem(503, "worker_ended", "A model's worker is dead or hangs.")
        return JSONResponse({"status": "ready", "disclaimer": DISCLAIMER})

    return router
