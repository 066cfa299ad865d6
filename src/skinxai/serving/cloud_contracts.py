"""What clouds ask of a container: the environment of Vertex AI, and bodies of JSON with images.

SageMaker calls ``GET /ping`` and ``POST /invocations``, Vertex AI the routes and the port that its
environment variables name, Azure ML those of the deployment's ``inference_config``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from skinxai.errors import OptionError
from skinxai.serving.open_inference import decoded

_ROUTE = re.compile(r"/[A-Za-z0-9/_.:-]{0,200}")


@dataclass(frozen=True)
class VertexRoutes:
    """What Vertex AI's environment says; ``None`` elsewhere."""

    port: int | None = None
    health: str | None = None
    predict: str | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "VertexRoutes":
        """What an environment says.

        Raises:
            OptionError: a port that is none, or a route that is no path.
        """
        port = environment.get("AIP_HTTP_PORT")
        if port is not None and not (re.fullmatch(r"\d{1,5}", port) and int(port) < 2**16):
            raise OptionError(f"AIP_HTTP_PORT must be a port, got {port!r}.")
        routes = {
            name: environment.get(f"AIP_{name.upper()}_ROUTE") for name in ("health", "predict")
        }
        for name, route in routes.items():
            if route is not None and not _ROUTE.fullmatch(route):
                raise OptionError(f"AIP_{name.upper()}_ROUTE must be a path, got {route!r}.")
        return cls(None if port is None else int(port), **routes)


class InstancesRequest(BaseModel):
    """Body of Vertex AI's predictions: ``instances``, and ``parameters`` for all of them.

    An instance is a text in base64, or ``{"b64": …}``, or ``{"image": {"b64": …}}``.
    """

    model_config = ConfigDict(extra="forbid")

    instances: Annotated[list[Any], Field(min_length=1)]
    parameters: dict[str, Any] | None = None


def instances_of(request: InstancesRequest, most: int) -> list[bytes]:
    """The encoded images of a request.

    Raises:
        OptionError: too many.
        InputError: an instance that is no image in base64.
    """
    if len(request.instances) > most:
        raise OptionError(f"instances must be at most {most}, got {len(request.instances)}.")
    return [decoded(_text(each)) for each in request.instances]


def _text(instance: Any) -> object:
    for name in ("image", "b64"):
        if isinstance(instance, Mapping) and set(instance) == {name}:
            instance = instance[name]
    return instance
