"""Numbers that users give: those of NumPy count as Python's own."""

from dataclasses import fields
from typing import Any

from skinxai.errors import OptionError, SkinxaiError


def plain(value: Any) -> Any:
    """Python's own ``int`` or ``float`` for a NumPy integer or floating number.

    Anything else comes back as it is, NumPy's bools and time spans too, so that the rule of the
    argument refuses it.
    """
    if type(value).__module__ != "numpy":
        return value
    import numpy as np  # which the command line and the settings begin without

    kind = value.dtype.kind if isinstance(value, np.generic) else ""
    return int(value) if kind in ("i", "u") else float(value) if kind == "f" else value


def plain_fields(made: Any) -> None:
    """Replace the fields of a dataclass by `plain` ones, before they are checked."""
    for each in fields(made):
        object.__setattr__(made, each.name, plain(getattr(made, each.name)))


def whole(name: str, value: Any, least: int = 1, *, error: type[SkinxaiError] = OptionError) -> int:
    """An argument that is an integer, NumPy's too, as Python's own.

    Args:
        name: of the argument.
        value: what was given.
        least: smallest value that is allowed.
        error: what is raised.

    Raises:
        SkinxaiError: ``error``, if it is no integer >= ``least``; a bool is none.
    """
    found = plain(value)
    if type(found) is not int or found < least:
        raise error(f"{name} must be an integer >= {least}, got {value!r}.")
    return found


def whole_seed(value: Any, *, error: type[SkinxaiError] = OptionError) -> int:
    """The seed of random draws, as Python's own integer.

    Generators take more than integers, and would draw other numbers each time for ``None``, and
    the same ones for −1 as for 1.

    Args:
        value: what was given.
        error: what is raised.

    Raises:
        SkinxaiError: ``error``, if it is no integer from 0 to 2⁶³ − 1; a bool is none.
    """
    found = plain(value)
    if type(found) is not int or not 0 <= found < 2**63:
        raise error(f"seed must be an integer from 0 to 2^63 - 1, got {value!r}.")
    return found
