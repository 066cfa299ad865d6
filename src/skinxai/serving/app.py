"""`create_app`: the service as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from skinxai.classifier import Classifier
from skinxai.errors import SkinxaiError
from skinxai.serving.gate import Gate, Visit, visit_of
from skinxai.serving.health import health
from skinxai.serving.pool import Served
from skinxai.serving.predicting_routes import predicting
from skinxai.serving.problems import Problem
from skinxai.serving.service import Service
from skinxai.serving.service_settings import ServiceSettings
from skinxai.version import __version__


class ServiceApp(FastAPI):
    """The routes behind a `Gate`.

    Args:
        service: what answers.
        failed: is told where a model cannot be loaded; then the service is never ready.
        classifiers: models that are loaded already.
    """

    def __init__(
        self, service: Service, classifiers: Sequence[Classifier] | None = None,
        failed: Callable[[BaseException], object] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            title="skinxai", version=__version__, docs_url=None, redoc_url=None,
            lifespan=_lifespan, redirect_slashes=False,
        )  # fmt: skip
        self.service, self._classifiers, self._failed = service, classifiers, failed
        for router in (health(service), predicting(service)):
            self.include_router(router)
        self.add_exception_handler(Problem, _problem)
        self.add_exception_handler(SkinxaiError, _problem)
        self.add_exception_handler(HTTPException, _http)
        self._gate = Gate(super().__call__, service, [], _ended)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, through the gate."""
        await self._gate(scope, receive, send)

    def load(self) -> None:
        """Load the models; the service is ready then."""
        settings = self.service.settings
        for classifier in self._classifiers or [
            Classifier.from_pretrained(name, backend=settings.backend, device=settings.device)
            for name in settings.models
        ]:
            self.service.pool.add(Served.of(classifier, settings))
        self.service.loaded = True


def create_app(
    settings: ServiceSettings | None = None, *, classifiers: Sequence[Classifier] | None = None,
    failed: Callable[[BaseException], object] | None = None,
) -> ServiceApp:  # fmt: skip
    """Make the service, for any ASGI server; its models are loaded when the server starts it.

    Args:
        settings: of the service; the defaults otherwise.
        classifiers: models that are loaded already, in the place of those that the settings name.
        failed: is told where a model cannot be loaded.
    """
    return ServiceApp(Service(settings or ServiceSettings()), classifiers, failed)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, ServiceApp)

    async def load() -> None:
        try:
            await asyncio.to_thread(app.load)
        except Exception as error:
            if app._failed is None:
                raise
            app._failed(error)

    loading = asyncio.create_task(load())
    try:
        yield
    finally:
        app.service.draining = True
        with contextlib.suppress(Exception):
            await loading
        await asyncio.to_thread(app.service.close)


async def _problem(request: Request, error: Exception) -> Response:
    visit, problem = visit_of(request.scope), Problem.of(error)
    visit.code = problem.code
    headers = {name.decode(): value.decode() for name, value in problem.headers()}
    return Response(problem.body(visit.id), problem.status, headers)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    words = {404: "There is nothing at this path.", 405: "This path does not take this method."}
    code, detail = codes.get(error.status_code, "http"), words.get(error.status_code, "")
    answer = await _problem(
        request, Problem(error.status_code, code, detail or str(error.detail), close=True)
    )
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


def _ended(scope: Scope, visit: Visit) -> None:
    """Where what counts and logs requests is told of each."""
    del scope, visit
