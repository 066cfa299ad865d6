"""Modules that the caller's functions use, whether the wrapped network holds them or not."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from torch import nn


def modules_beside(module: nn.Module, *functions: Callable[..., Any]) -> list[nn.Module]:
    """Modules that functions use and ``module`` does not hold, such as a head's own dropout.

    They are those that a function is, is bound to, or names.
    """
    held = {id(each) for each in module.modules()}
    seen: set[int] = set()
    used = [each for function in functions for each in _used(function, seen)]
    return [each for each in used if id(each) not in held]


def _used(given: Any, seen: set[int]) -> Iterator[nn.Module]:
    if id(given) in seen:
        return
    seen.add(id(given))
    if isinstance(given, nn.Module):
        yield given
        return
    inner: list[Any] = []
    if isinstance(given, MethodType):
        inner = [given.__self__, given.__func__, *_held(given.__self__)]
    elif isinstance(given, partial):
        inner = [given.func, *given.args, *given.keywords.values()]
    elif isinstance(given, FunctionType):
        inner = _named(given)
    elif callable(given):
        inner = _held(given)
    for each in inner:
        yield from _used(each, seen)


def _held(given: Any) -> list[Any]:
    """Modules that an object has as attributes."""
    found = getattr(given, "__dict__", {})
    return [each for each in found.values() if isinstance(each, nn.Module)]


def _named(function: FunctionType) -> list[Any]:
    """What a function names; of other files' functions, only what they were made with."""
    try:
        found = inspect.getclosurevars(function)
    except ValueError:  # a name without a value yet
        return []
    own = function.__globals__
    there = [each for each in found.globals.values() if getattr(each, "__globals__", own) is own]
    return [*found.nonlocals.values(), *there]
