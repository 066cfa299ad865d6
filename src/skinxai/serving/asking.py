"""What a request may ask: its fields and their rules, refused with the field's name."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from skinxai.plain_text import broken_rule
from skinxai.serving.batching import Asked
from skinxai.serving.problems import Problem

LONGEST = 128
"""Most characters of a name."""
LOST = "\ufffd"
"""In the place of bytes that were not UTF-8."""


def _printable(text: str) -> str:
    """The rule of the store, so that what is asked for can also be kept."""
    if not (text := text.strip()) or broken_rule("it", text, LONGEST):
        raise PydanticCustomError("name", "must be printable text on one line, and not empty")
    if LOST in text:  # else 'Müller' and 'Möller' in Latin-1 would be one subject
        raise PydanticCustomError("name", "must be text in UTF-8")
    return text


Name = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"),
    AfterValidator(_printable),
]
"""A name, without blanks before and behind it."""


class Asking(BaseModel):
    """Fields of any request."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class PredictFields(Asking):
    """Fields of ``/v1/predict``, and of what other protocols ask in its place."""

    operating_point: Annotated[
        Name | None, Field(description="Name of the operating point that decides.")
    ] = None
    tta: Annotated[bool, Field(description="Average the four flips; four times the time.")] = False
    subject: Annotated[
        Name | None, Field(description="Pseudonym of the person, kept with the case for review.")
    ] = None
    lesion: Annotated[
        Name | None, Field(description="Pseudonym of the lesion, kept with the case for review.")
    ] = None
    route_key: Annotated[
        Name | None,
        Field(description="Its requests get one model; the subject by default."),
    ] = None

    @property
    def how(self) -> Asked:
        """How the images are predicted."""
        return Asked(self.tta, self.operating_point)

    @property
    def key(self) -> str | None:
        """By which the model is chosen; ``None``: by the images."""
        return self.route_key or self.subject


Fields = TypeVar("Fields", bound=Asking)


def asked(kind: type[Fields], request: Request, form: Mapping[str, str] | None = None) -> Fields:
    """The fields of a request, from its query and its form.

    Raises:
        Problem: 422, with the fields that are wrong.
    """
    given: dict[str, str] = {}
    for name, value in [*request.query_params.multi_items(), *(form or {}).items()]:
        if name in given:
            raise refused([{"field": name, "message": "given twice"}])
        given[name] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise problem_of(error) from None


def problem_of(error: ValidationError) -> Problem:
    """Of fields that pydantic refuses; what came in them is not shown."""
    return refused(
        [
            {
                "field": ".".join(str(part) for part in each["loc"])[:100] or "body",
                "message": each["msg"][:200],
            }
            for each in error.errors(include_url=False, include_context=False)[:20]
        ]
    )


def refused(fields: list[dict[str, str]]) -> Problem:
    """Of fields outside their rules."""
    first = fields[0]
    detail = f"{first['field']!r}: {first['message']}"
    stop = "" if detail.endswith((".", "?")) else "."
    return Problem(422, "option", detail + stop, fields=fields)
