"""`create_app`: the service as an ASGI application."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from skinxai.classifier import Classifier
from skinxai.errors import SkinxaiError
from skinxai.serving.answer_examples import EXPLAINED, MODELS, NEAREST, PREDICTED
from skinxai.serving.cloud_contracts import VertexRoutes
from skinxai.serving.cloud_routes import INVOCATIONS, PING, clouds
from skinxai.serving.describing import problems
from skinxai.serving.feedback_route import feedback
from skinxai.serving.gate import Gate, Visit, visit_of
from skinxai.serving.guards import guard, path_of
from skinxai.serving.health import health
from skinxai.serving.image_routes import one_image
from skinxai.serving.open_inference_routes import open_inference
from skinxai.serving.predicting_routes import predicting
from skinxai.serving.problems import Problem
from skinxai.serving.service import Service
from skinxai.serving.service_settings import ServiceSettings
from skinxai.version import __version__

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig  # versions that have none ignore it

EXAMPLES = (
    ("/v1/predict", "post", PREDICTED), ("/v1/explain", "post", EXPLAINED),
    ("/v1/nearest", "post", NEAREST), ("/v1/models", "get", MODELS),
)  # fmt: skip
PATIENCE = 2.0
"""Seconds that the end of the service waits for models that are still being loaded."""

SILENT: TelemetryConfig = {
    "tracing": False, "metrics": False, "logs": False, "operation_spans": False,
    "auto_configure": False,
}  # fmt: skip
"""FastAPI's own telemetry, whose spans and logs have paths, queries and what was sent, is off."""


class ServiceApp(FastAPI):
    """The routes behind a `Gate`."""

    def __init__(
        self, service: Service, classifiers: Sequence[Classifier] | None = None,
        failed: Callable[[BaseException], object] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            title="skinxai", version=__version__, docs_url=None, redoc_url=None,
            lifespan=_lifespan, redirect_slashes=False, telemetry=SILENT,
        )  # fmt: skip
        self.service, self._classifiers, self._failed = service, classifiers, failed
        self._own: list[BaseRoute] = [*self.routes]  # /openapi.json
        for routes in (health, predicting, one_image, feedback, open_inference, clouds):
            router = routes(service)
            self.include_router(router, responses=problems())
            self._own += router.routes
        for route in self._own:
            if isinstance(route, Route):
                service.observing.metrics.serves(route.path, route.methods or ())
        for kind in (
            Problem,
            SkinxaiError,
            Exception,
        ):  # the last is raised again, to log
            self.add_exception_handler(kind, _problem)
        self.add_exception_handler(HTTPException, _http)
        vertex = VertexRoutes.of(os.environ)
        self._aliases = {vertex.health: PING, vertex.predict: INVOCATIONS}
        self._gate = Gate(self._routed, service, guard(service.settings), self._ended)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, through the gate."""
        if scope["type"] != "http":
            await self._gate(scope, receive, send)
            return
        path = path_of(scope)
        scope["path"] = scope["path"].removesuffix(path) + self._aliases.get(path, path)
        with self.service.observing.request(scope):
            await self._gate(scope, receive, send)

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer HEAD as GET, which FastAPI does not; the server leaves the body out."""
        if scope.get("method") == "HEAD":
            scope = {**scope, "method": "GET"}
        await super().__call__(scope, receive, send)

    def _ended(self, scope: Scope, visit: Visit) -> None:
        """Count and log a request under its route, also one that the gate refused before it."""
        if "route" not in scope:
            found = (each for each in self._own if each.matches(scope)[0] is not Match.NONE)
            scope["route"] = next(found, None)
        self.service.observing.ended(scope, visit)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI page; its examples are whole, with what is ``null`` in them."""
        if self.openapi_schema is None:
            page = super().openapi()
            for path, method, example in EXAMPLES:
                answer = page["paths"][path][method]["responses"]["200"]
                answer["content"]["application/json"]["example"] = example
        return super().openapi()

    def load(self) -> None:
        """Load the models; the service is ready then."""
        service = self.service
        service.open_store()
        service.pool.open(
            service.settings, service.observing, lambda: service.images > 0, self._classifiers
        )
        self.service.loaded = True


def create_app(
    settings: ServiceSettings | None = None, *, classifiers: Sequence[Classifier] | None = None,
    failed: Callable[[BaseException], object] | None = None,
) -> ServiceApp:  # fmt: skip
    """Make the service, for any ASGI server; its models are loaded when the server starts it.

    Args:
        settings: of the service; the defaults otherwise.
        classifiers: models that are loaded already, in the place of those that the settings name.
            Their answers in a Redis are of this service alone.
        failed: is told where a model cannot be loaded.
    """
    return ServiceApp(Service(settings or ServiceSettings()), classifiers, failed)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, ServiceApp)

    def load() -> None:
        try:
            app.load()
        except Exception as error:
            if app._failed is None:
                raise
            app._failed(error)

    loading = threading.Thread(target=load, name="skinxai-load", daemon=True)
    loading.start()
    yield  # where the server is told to end at once, this is cancelled, and nothing is awaited
    app.service.draining = True
    await asyncio.to_thread(loading.join, PATIENCE)
    await asyncio.to_thread(app.service.close)
    if app.service.cache is not None:
        await app.service.cache.close()


async def _problem(request: Request, error: Exception) -> Response:
    visit, problem = visit_of(request.scope), Problem.of(error)
    visit.code = problem.code
    return problem.response(visit.id)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    words = {404: "There is nothing at this path.", 405: "This path does not take this method."}
    code, detail = codes.get(error.status_code, "http"), words.get(error.status_code, "")
    answer = await _problem(
        request, Problem(error.status_code, code, detail or str(error.detail), close=True)
    )
    for name, value in (error.headers or {}).items():
        answer.headers[name] = "GET, HEAD" if (name, value) == ("Allow", "GET") else value
    return answer
