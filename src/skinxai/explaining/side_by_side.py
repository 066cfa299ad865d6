"""Several explanations of one image: which are asked for, and with which keywords."""

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from skinxai import explainers
from skinxai.errors import OptionError
from skinxai.explaining.explain_options import ExplainOptions
from skinxai.images.sources import iter_sources
from skinxai.predicting.inputs import InputOptions, check_names
from skinxai.results import Explanation


def questions(
    methods: Sequence[str] | None,
    targets: Sequence[str] | None,
    method: str,
    keywords: Mapping[str, Any],
    named: Collection[str],
) -> list[dict[str, Any]]:
    """Keywords of one call of `Classifier.explain` for each explanation.

    ``named`` are the own keywords of `Classifier.compare`, for the error of an unknown one.
    """
    if (methods is None) == (targets is None):
        raise OptionError("compare() must be given either methods=[…] or targets=[…].")
    for name, values in (("methods", methods), ("targets", targets)):
        listed = isinstance(values, Collection) and not isinstance(values, str | bytes)
        if values is not None and not (listed and len(values)):
            raise OptionError(f"{name} must be a list of at least one name, got {values!r}.")
    if targets is not None and keywords.get("target") is not None:
        raise OptionError("target must be left out where targets are given.")
    if keywords.get("on_error", "raise") != "raise":
        raise OptionError("on_error must be 'raise' in compare(): it has one image.")
    common = {
        *ExplainOptions.names() - {"all_classes"},
        *(field.name for field in fields(InputOptions)),
    }
    names = [method] if methods is None else list(methods)
    own = {name: {f.name for f in fields(explainers.get(name).options_type)} for name in names}
    known = common.union(*own.values())
    check_names(keywords, known.union(named))
    asked = [
        {"method": name} | {k: v for k, v in keywords.items() if k in common | own[name]}
        for name in names
    ]
    if targets is None:
        return asked
    return [asked[0] | {"target": target} for target in targets]


def explanations_of_one(
    explain: Callable[..., Any], image: Any, asked: Sequence[Mapping[str, Any]]
) -> list[Explanation]:
    """The explanations, all of the same image; a file object is read once."""
    if not iter_sources(image)[0]:
        raise OptionError(f"image must be a single one in compare(), got {type(image).__name__}.")
    data = image.read() if hasattr(image, "read") else None
    found = []
    for keywords in asked:
        one = image
        if isinstance(data, bytes):
            one = io.BytesIO(data)
            one.name = getattr(image, "name", None)
        explanation = explain(one, **keywords)
        check_map(explanation)
        found.append(explanation)
    return found


def check_map(explanation: Explanation) -> None:
    """Refuse an explanation that has only scores, where maps are drawn.

    Raises:
        OptionError: it has.
    """
    if not explanation.maps:
        raise OptionError(
            f"methods must be ones that give a map, but {explanation.method!r} gives only scores; "
            f"call explain() for it."
        )
