"""Rules that the fields of every stored config keep."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from skinxai.errors import ModelConfigError
from skinxai.labels import LabelSet
from skinxai.plain_text import broken_rule

SCHEMA_VERSION = 1


def check_schema(version: object, what: str, known: int = SCHEMA_VERSION) -> None:
    """Refuse what another version of skinxai wrote, in a schema that this one does not know.

    Raises:
        ModelConfigError: another version than ``known``.
    """
    if type(version) is not int or version != known:
        raise ModelConfigError(
            f"schema_version of {what} must be {known}, got {version!r}; update skinxai, or use a "
            f"version of skinxai that reads it."
        )


def check_keys(name: str, cls: type, values: Mapping[str, Any]) -> None:
    """Refuse what is no JSON object with exactly the fields of a dataclass as keys.

    Raises:
        ModelConfigError: another object.
    """
    known = {f.name for f in fields(cls)}
    if not isinstance(values, Mapping):
        raise ModelConfigError(f"{name} must be a JSON object, got {type(values).__name__}.")
    if unknown := sorted(set(values) - known):
        raise ModelConfigError(f"{name} must only have the keys {sorted(known)}, got {unknown}.")
    if missing := sorted(known - set(values)):
        raise ModelConfigError(f"{name} must have the keys {sorted(known)}, {missing} missing.")


def check_lists(name: str, values: Mapping[str, Any], *keys: str) -> None:
    """Refuse what is no list under one of some keys.

    Raises:
        ModelConfigError: another value.
    """
    for key in keys:
        if not isinstance(values[key], list | tuple):
            raise ModelConfigError(f"{name}.{key} must be a list, got {values[key]!r:.80}.")


def check_line(what: str, text: Any, longest: int) -> None:
    """Refuse what is no text on one line, printable and of bounded length.

    Raises:
        ModelConfigError: another text.
    """
    if broken := broken_rule(what, text, longest):
        raise ModelConfigError(broken)


def labels_of(values: Mapping[str, Any]) -> LabelSet:
    """The labels of a config, from their JSON object.

    Raises:
        ModelConfigError: another object.
    """
    check_keys("labels", LabelSet, values)
    check_lists("labels", values, "codes", *(["malignant"] if values["malignant"] else []))
    return LabelSet(tuple(values["codes"]), values["names"], values["malignant"])
