"""Between frozen dataclasses and plain values for JSON, strictly: nothing is ignored or guessed."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from skinxai.errors import OptionError
from skinxai.labels import LabelSet

Reader = Callable[[Any, str], Any]
"""Makes a value of its plain form; the text names it in messages."""


def to_plain(value: Any) -> Any:
    """Dataclasses and mappings as dicts, tuples as lists, NaN as ``None``, which JSON has."""
    if isinstance(value, LabelSet):
        return value.to_dict()
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {name: to_plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def from_plain(cls: type, readers: Mapping[Any, Reader]) -> Reader:
    """What reads a dataclass: the inverse of `to_plain`.

    Args:
        cls: the dataclass.
        readers: what reads a field, by the field's annotation.

    Raises:
        OptionError: when it reads unknown or missing keys, or a value of another type.
    """
    known = {f.name: readers[f.type] for f in fields(cls)}

    def read(value: Any, name: str) -> Any:
        _expect(value, name, dict)
        if unknown := sorted(set(value) - set(known)):
            raise OptionError(f"{name} must only have the keys {list(known)}, got {unknown}.")
        if missing := sorted(set(known) - set(value)):
            raise OptionError(f"{name} must have the keys {list(known)}, {missing} missing.")
        return cls(**{key: take(value[key], f"{name}.{key}") for key, take in known.items()})

    return read


def exactly(*kinds: type) -> Reader:
    """What reads text, a whole number or a truth value."""
    return lambda value, name: _expect(value, name, *kinds)


def number(value: Any, name: str) -> float:
    """A number, NaN for ``None``."""
    return math.nan if value is None else float(_expect(value, name, int, float))


def or_none(read: Reader) -> Reader:
    """What reads such a value, or ``None``."""
    return lambda value, name: None if value is None else read(value, name)


def many(read: Reader) -> Reader:
    """What reads a tuple of such values."""
    return lambda value, name: tuple(
        read(item, f"{name}[{k}]") for k, item in enumerate(_expect(value, name, list, tuple))
    )


def by_name(read: Reader) -> Reader:
    """What reads a mapping to such values."""
    return lambda value, name: {
        key: read(item, f"{name}.{key}") for key, item in _expect(value, name, dict).items()
    }


def label_set(value: Any, name: str) -> LabelSet:
    """Inverse of `LabelSet.to_dict`."""
    codes = many(exactly(str))
    read = from_plain(
        LabelSet,
        {
            tuple[str, ...]: codes,
            Mapping[str, str]: by_name(exactly(str)),
            frozenset[str] | None: lambda v, n: None if v is None else frozenset(codes(v, n)),
        },
    )
    labels: LabelSet = read(value, name)
    return labels


def _expect(value: Any, name: str, *kinds: type) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise OptionError(
            f"{name} must be of type {wanted}, as to_dict() gives, got {value!r:.40}."
        )
    return value
