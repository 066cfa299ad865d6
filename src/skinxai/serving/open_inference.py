"""The Open Inference Protocol, version 2, over HTTP: what a request's JSON means, and its answer.

A model takes ``image``, BYTES ``[N]``, encoded images in base64; and gives ``probabilities``, FP64
``[N, K]``, ``label``, ``decision`` (empty of a model that decides nothing) and ``answer``, BYTES
``[N]``; each ``answer`` is the JSON that ``/v1/predict`` gives for an image.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from skinxai.errors import InputError, OptionError
from skinxai.plain_text import one_line
from skinxai.serving.asking import PredictFields

IMAGE = "image"
OUTPUTS = {"probabilities": "FP64", "label": "BYTES", "decision": "BYTES", "answer": "BYTES"}
"""Names of the outputs → datatypes."""
PARAMETERS = frozenset(PredictFields.model_fields)
"""What may stand in a request's ``parameters``."""

Short = Annotated[str, StringConstraints(max_length=200)]


class InputTensor(BaseModel):
    """A tensor of a request."""

    name: Short
    shape: Annotated[list[int], Field(max_length=8)]
    datatype: Short
    parameters: dict[str, Any] = {}
    data: Any


class WantedOutput(BaseModel):
    """An output that is asked for."""

    name: Short
    parameters: dict[str, Any] = {}


class InferenceRequest(BaseModel):
    """Body of ``POST /v2/models/{name}/infer``."""

    model_config = ConfigDict(extra="allow")  # seen, to refuse what would be left out

    id: Short | None = None
    parameters: dict[Short, Any] = {}
    inputs: Annotated[list[InputTensor], Field(max_length=8)]
    outputs: Annotated[list[WantedOutput], Field(max_length=16)] | None = None


def images_of(request: InferenceRequest, most: int) -> list[bytes]:
    """The encoded images of a request.

    Raises:
        OptionError: other tensors than the one that the model takes, unknown outputs or
            parameters, or parameters in another place than the request's own.
        InputError: no base64.
    """
    if [each.name for each in request.inputs] != [IMAGE]:
        raise OptionError(f"inputs must be the one tensor {IMAGE!r}.")
    (tensor,) = request.inputs
    if tensor.datatype != "BYTES":
        raise OptionError(f"datatype of {IMAGE!r} must be 'BYTES': encoded images in base64.")
    data = _flat(tensor.data)
    count = len(data)
    if not 1 <= count <= most:
        raise OptionError(f"{IMAGE!r} must have from 1 to {most} images, got {count}.")
    if tensor.shape not in ([count], [count, 1]):
        raise OptionError(f"shape of {IMAGE!r} must be [{count}], as its data.")
    for wanted in request.outputs or ():
        if wanted.name not in OUTPUTS:
            raise OptionError(
                f"outputs must be among {sorted(OUTPUTS)}, got {one_line(wanted.name)!r:.60}."
            )
    elsewhere = set(request.model_extra or {}) | set(tensor.parameters)
    elsewhere.update(*(wanted.parameters for wanted in request.outputs or ()))
    for name in sorted(PARAMETERS & elsewhere):
        raise OptionError(
            f"{name!r} must stand in 'parameters' of the request: elsewhere it would be left out."
        )
    for name in sorted(set(request.parameters) - PARAMETERS):
        raise OptionError(
            f"parameters must be among {sorted(PARAMETERS)}, got {one_line(name)!r:.60}."
        )
    return [decoded(each) for each in data]


def decoded(text: object) -> bytes:
    """An image from base64.

    Raises:
        InputError: it is none.
    """
    if not isinstance(text, str):
        raise InputError("an image must be a text in base64.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("an image must be a text in base64, without line breaks.") from None


def response(
    request: InferenceRequest, name: str, version: str, answers: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The answer to a request."""
    count = len(answers)
    classes = len(answers[0]["probabilities"])
    data: dict[str, list[Any]] = {
        "probabilities": [p for each in answers for p in each["probabilities"].values()],
        "label": [each["label"] for each in answers],
        "decision": [each["decision"] or "" for each in answers],
        "answer": [json.dumps(each) for each in answers],
    }
    shapes = {"probabilities": [count, classes]}
    wanted = list(OUTPUTS) if request.outputs is None else [each.name for each in request.outputs]
    found: dict[str, Any] = {
        "model_name": name,
        "model_version": version,
        "outputs": [
            {
                "name": output,
                "shape": shapes.get(output, [count]),
                "datatype": OUTPUTS[output],
                "data": data[output],
            }
            for output in wanted
        ],
    }
    return found if request.id is None else found | {"id": request.id}


def metadata(name: str, version: str, platform: str, classes: int) -> dict[str, Any]:
    """What ``GET /v2/models/{name}`` says."""
    shapes = {"probabilities": [-1, classes]}
    return {
        "name": name,
        "versions": [version],
        "platform": platform,
        "inputs": [{"name": IMAGE, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": output, "datatype": kind, "shape": shapes.get(output, [-1])}
            for output, kind in OUTPUTS.items()
        ],
    }


def _flat(data: Any) -> list[Any]:
    """The values of a tensor, which may be nested as its shape or not."""
    if not isinstance(data, list):
        raise OptionError(f"data of {IMAGE!r} must be a list.")
    nested = [each for each in data if isinstance(each, list)]
    if nested and (len(nested) != len(data) or any(len(each) != 1 for each in nested)):
        raise OptionError(f"data of {IMAGE!r} must be a list of texts.")
    return [each[0] for each in data] if nested else data
