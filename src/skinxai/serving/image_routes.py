"""``POST /v1/explain``, ``/v1/report`` and ``/v1/nearest``: one image each."""

import base64
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field

from skinxai import explainers
from skinxai.classifier import Classifier
from skinxai.errors import ExplainError, ExplainTimeoutError, did_you_mean
from skinxai.reporting import CaseReport
from skinxai.results import Explanation
from skinxai.serving.answer_examples import EXPLAINED, NEAREST
from skinxai.serving.arriving import unless_gone
from skinxai.serving.asking import Asking, Name, asked, refused
from skinxai.serving.bodies import read_form
from skinxai.serving.describing import answered, problems, with_images
from skinxai.serving.gate import visit_of
from skinxai.serving.preparing_uploads import named
from skinxai.serving.problems import Problem, told
from skinxai.serving.service import Service
from skinxai.serving.slow_work import PATIENCE

Value = TypeVar("Value")
QUICK = ("gradcam", "layercam", "saliency")
"""Methods of a report: they need one pass each."""
PAGE_RULES = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


class OneImageFields(Asking):
    """Fields of all of them."""

    route_key: Annotated[Name | None, Field(description="As in /v1/predict.")] = None


Fields = TypeVar("Fields", bound=OneImageFields)


class ExplainFields(OneImageFields):
    """Fields of ``/v1/explain``."""

    method: Annotated[str, Field(max_length=64, description="Name of an explanation method.")] = (
        "gradcam"
    )
    target: Annotated[
        str | None, Field(max_length=64, description="Label; the most probable by default.")
    ] = None
    map: Annotated[bool, Field(description="Also the raw map, float32, row by row.")] = False


class ReportFields(OneImageFields):
    """Fields of ``/v1/report``."""

    operating_point: Annotated[Name | None, Field(description="As in /v1/predict.")] = None
    title: Annotated[Name | None, Field(description="Of the page, such as a case number.")] = None


class NearestFields(OneImageFields):
    """Fields of ``/v1/nearest``."""

    k: Annotated[int, Field(ge=1, le=50, description="How many training lesions.")] = 5


def one_image(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    async def outcome(
        request: Request, kind: type[Fields],
        work: Callable[[Classifier, Any, Fields], Value],
    ) -> tuple[Value, str]:  # fmt: skip
        visit = visit_of(request.scope)
        form = await read_form(visit.arriving, request.headers, 1)
        fields = asked(kind, request, form.fields)
        visit.images = 1
        found: Value
        found, model = await unless_gone(
            visit.arriving,
            service.slowly(
                lambda classifier: work(classifier, named(form.images[0], 0), fields),
                form.images[0],
                route_key=fields.route_key,
                since=visit.since,
            ),
        )
        visit.model = model
        return found, model

    @router.post(
        "/v1/explain", summary="Explain the score of a class of one image.",
        openapi_extra=with_images(ExplainFields),
        responses=answered(EXPLAINED, others=("image/png",)) | problems(406, 413, 415, 422, 504),
    )  # fmt: skip
    async def explain(request: Request) -> Response:
        kind = _accepted(request, ("application/json", "image/png"))

        def work(classifier: Classifier, image: Any, fields: ExplainFields) -> Response:
            _check("method", fields.method, explainers.names())
            if fields.target is not None:
                _check("target", fields.target, classifier.labels)
            found: Explanation = classifier.explain(
                image, fields.method, target=fields.target, progress=False,
                timeout=PATIENCE, max_pixels=service.settings.max_pixels,
            )  # fmt: skip
            if kind == "image/png":
                return Response(found.png(), media_type="image/png")
            return told(visit_of(request.scope).id, _explanation(found, fields.map))

        return (await outcome(request, ExplainFields, work))[0]

    @router.post(
        "/v1/report", summary="All that the model says of one image, on a page.",
        openapi_extra=with_images(ReportFields), response_class=HTMLResponse,
        responses=answered("<!doctype html>…", "text/html", ("application/pdf",))
        | problems(406, 413, 415, 422, 504),
    )  # fmt: skip
    async def report(request: Request) -> Response:
        kind = _accepted(request, ("text/html", "application/pdf"))

        def work(classifier: Classifier, image: Any, fields: ReportFields) -> Response:
            def asked_by(methods: tuple[str, ...] | None) -> CaseReport:
                return classifier.report(
                    image, methods=methods, operating_point=fields.operating_point,
                    title=fields.title or "", progress=False, timeout=PATIENCE,
                    max_pixels=service.settings.max_pixels,
                )  # fmt: skip

            try:
                found = asked_by(QUICK)
            except ExplainTimeoutError:  # others take longer
                raise
            except ExplainError:  # the network does not fit one of them
                image.seek(0)
                found = asked_by(None)
            if kind == "application/pdf":
                return Response(found.pdf(), media_type=kind)
            return Response(
                found.html(), media_type=kind, headers={"content-security-policy": PAGE_RULES}
            )

        return (await outcome(request, ReportFields, work))[0]

    @router.post(
        "/v1/nearest", summary="The training lesions that are most like one image.",
        openapi_extra=with_images(NearestFields),
        responses=answered(NEAREST) | problems(413, 415, 422, 504),
    )  # fmt: skip
    async def nearest(request: Request) -> Response:
        def work(classifier: Classifier, image: Any, fields: NearestFields) -> list[dict[str, Any]]:
            found = classifier.nearest(
                image, fields.k, progress=False, max_pixels=service.settings.max_pixels
            )
            return [
                {name: value for name, value in asdict(each).items() if name != "path"}
                for each in found
            ]

        found, model = await outcome(request, NearestFields, work)
        return told(visit_of(request.scope).id, {"neighbours": found, "model": model})

    return router


def _check(field: str, name: str, known: Any) -> None:
    if name not in known:
        words = f"must be one of {sorted(known)}, got {name!r:.60}.{did_you_mean(name, known)}"
        raise refused([{"field": field, "message": words}])


def _accepted(request: Request, kinds: tuple[str, ...]) -> str:
    """The kind of answer that the client likes best, and names first (RFC 9110, 12.5.1).

    Raises:
        Problem: 406, none.
    """
    weights: dict[str, float] = {}
    given = ",".join(request.headers.getlist("accept")) or "*/*"
    for each in given[:500].lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        weights[name] = float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 1.0
    names = list(weights)

    def liked(kind: str) -> tuple[float, int]:
        closest = (kind, kind.partition("/")[0] + "/*", "*/*")
        name = next((each for each in closest if each in weights), None)
        return (0.0, 0) if name is None else (weights[name], -names.index(name))

    best = max(kinds, key=liked)
    if not liked(best)[0]:
        raise Problem(406, "accept", f"accept must name one of {list(kinds)}.", close=True)
    return best


def _explanation(found: Explanation, raw: bool) -> dict[str, Any]:
    plain = found.to_dict()
    if found.heatmap is None:
        return plain
    plain["overlay_png"] = base64.b64encode(found.png()).decode()
    if raw:
        values = np.ascontiguousarray(found.heatmap, "<f4")
        plain["map"] = {
            "shape": list(values.shape),
            "dtype": "<f4",
            "data": base64.b64encode(values.tobytes()).decode(),
        }
    return plain
