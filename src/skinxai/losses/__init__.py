"""Losses: the registry, and how a run binds one to its options.

``names()``, ``get(name)``, ``entries()`` and ``register(name)`` load nothing heavy. A loss is a
function ``(logits (N, K), target (N,)) -> scalar``. Its keyword-only parameters are its options;
one that has the parameter ``class_counts`` is given the images of each class in the training
part. A loss should be a mean over images: cutting a batch into equal micro-batches then changes
nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skinxai import plugins
from skinxai.errors import ModelError, OptionError, PluginError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

names = plugins.losses.names
get = plugins.losses.get
entries = plugins.losses.entries
register = plugins.losses.register

COUNTS = "class_counts"


def bind(
    name: str, options: Mapping[str, Any], class_counts: Sequence[int]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Look a loss up and fill its options in.

    Args:
        name: name in this registry.
        options: option name → value; those left out keep the loss's own defaults.
        class_counts: images of each class in the training part, in label order, K numbers. Only
            losses that have such a parameter get them.

    Returns:
        A function ``(logits (N, K), target (N,)) -> scalar``.

    Raises:
        UnknownNameError: no loss of that name.
        OptionError: an option that the loss does not have, one that it needs and was not given,
            a value outside its rule, or a class without images where the loss needs them. Values
            for losses of plugins are only looked at by the plugin, when the loss is used.
        PluginError: what is registered is no such function.
    """
    loss, parameters = get(name), _keywords(name)
    known = sorted(set(parameters) - {COUNTS})
    for option in options:
        if option not in known:
            has = f"has the options {known}" if known else "has no options"
            raise OptionError(f"loss {name!r} {has}, got {option!r}.{did_you_mean(option, known)}")
    for option in known:
        if option not in options and parameters[option].default is inspect.Parameter.empty:
            raise OptionError(f"loss {name!r} must be given its option {option!r}, got none.")
    settings = dict(options)
    if COUNTS in parameters:
        settings[COUNTS] = check_counts(name, class_counts)
    bound = functools.partial(loss, **settings)
    if plugins.losses.entry(name).source == "skinxai":  # a plugin's may have state, ours have none
        _try(bound, len(class_counts))
    return bound


def checked(
    name: str, loss: Callable[[Tensor, Tensor], Any], classes: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """What `bind` returned, for training with so many classes.

    It raises a `ModelError` where logits are not ``(N, K)``, and a `PluginError` where the loss is
    no scalar tensor with a gradient.
    """
    import torch

    def compute(logits: Tensor, target: Tensor) -> Tensor:
        if logits.ndim != 2 or logits.shape[1] != classes:
            raise ModelError(
                f"logits must be (N, {classes}), one for each label, got {tuple(logits.shape)}."
            )
        found = loss(logits, target)
        if not isinstance(found, torch.Tensor):
            got = type(found).__name__
        elif found.ndim:
            got = f"one of the shape {tuple(found.shape)}"
        elif logits.requires_grad and not found.requires_grad:
            got = "one without"
        else:
            return found
        raise PluginError(
            f"loss {name!r} must return a tensor (), the mean over images, with a gradient, got "
            f"{got}."
        )

    return compute


def options_of(name: str) -> tuple[str, ...]:
    """Names of a loss's own options, sorted."""
    return tuple(sorted(set(_keywords(name)) - {COUNTS}))


def check_counts(name: str, class_counts: Sequence[int]) -> tuple[int, ...]:
    """Images of each class, all of them at least 1, or an `OptionError`: no weight is infinite."""
    counts = tuple(class_counts)
    if not counts or min(counts) < 1:
        raise OptionError(
            f"class_counts must be at least 1 in every class for the loss {name!r}, got {counts}; "
            f"leave classes without images out of the label set."
        )
    return counts


def _keywords(name: str) -> dict[str, inspect.Parameter]:
    """A loss's keyword-only parameters, and ``class_counts`` wherever it stands."""
    loss = get(name)
    if not callable(loss):
        raise PluginError(f"loss {name!r} must be a function, got {type(loss).__name__}.")
    if inspect.isclass(loss):
        raise PluginError(
            f"loss {name!r} must be a function, got the class {loss.__name__}; register an "
            f"instance."
        )
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):  # functions in C may have none; then there are no options
        return {}
    found = {
        key: parameter
        for key, parameter in signature.parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        or (key == COUNTS and parameter.kind is parameter.POSITIONAL_OR_KEYWORD)
    }
    try:
        signature.bind(None, None, **dict.fromkeys(found))
    except TypeError as error:
        raise PluginError(
            f"loss {name!r} must take (logits, target), and its options by keyword only: {error}."
        ) from error
    return found


def _try(loss: Callable[[Tensor, Tensor], Tensor], classes: int) -> None:
    """Compute it once, so that a value outside its rule is found before the first step."""
    import torch

    loss(torch.zeros(1, max(classes, 1)), torch.zeros(1, dtype=torch.int64))
