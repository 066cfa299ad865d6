"""What is asked of an explanation: which method with which options, and which class."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch

from skinxai import explainers
from skinxai.errors import OptionError, SkinxaiError, did_you_mean
from skinxai.explainers.base import Explainer
from skinxai.labels import LabelSet
from skinxai.plugins.registry import THIS_PROCESS
from skinxai.version import __version__

SCORES = ("logit", "probability")
BUILT_IN = "skinxai"


@dataclass(frozen=True)
class Method:
    """One explainer with its options, ready for any number of batches.

    Args:
        name: in `skinxai.explainers`.
        explainer: the class.
        options: of the class's ``options_type``.
        score: ``"logit"`` or ``"probability"``.
        against: position of the class whose score is subtracted, or ``None``.
        source: distribution that it comes from.
        versions: of everything that takes part.
    """

    name: str
    explainer: type[Explainer]
    options: Any
    score: str
    against: int | None
    source: str
    versions: Mapping[str, str]

    @property
    def built_in(self) -> bool:
        """Whether it ships with skinxai, so that its manners are known."""
        return self.source == BUILT_IN


def options_of(name: str) -> tuple[str, ...]:
    """Names of a method's own options."""
    return tuple(f.name for f in fields(explainers.get(name).options_type))


def choose_method(
    name: str,
    options: Mapping[str, Any],
    labels: LabelSet,
    *,
    score: str = "logit",
    against: str | None = None,
) -> Method:
    """Look a method up and build its options.

    Raises:
        UnknownNameError: no such method or label.
        OptionError: an unknown option or score, ``against`` for a method without a score, or
            options that the method does not take.
    """
    if score not in SCORES:
        raise OptionError(f"score must be one of {SCORES}, got {score!r}.")
    explainer = explainers.get(name)
    known = [f.name for f in fields(explainer.options_type)]
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(
            f"{name} has the options {known}, got {unknown[0]!r}.{did_you_mean(unknown[0], known)}"
        )
    entry = next(entry for entry in explainers.entries() if entry.name == name)
    versions = {"skinxai": __version__, "torch": torch.__version__}
    if entry.source not in (BUILT_IN, THIS_PROCESS):
        versions[entry.source] = entry.version
    if not explainer.uses_target:
        for option, value, default in (("against", against, None), ("score", score, SCORES[0])):
            if value != default:
                raise OptionError(
                    f"{option} must be left out for {name}, which explains no class's score."
                )
    position = None if against is None else labels.position(labels.code_of(against))
    own = _built(name, explainer.options_type, options)
    return Method(name, explainer, own, score, position, entry.source, versions)


def _built(name: str, options_type: type[Any], options: Mapping[str, Any]) -> Any:
    try:
        return options_type(**options)
    except SkinxaiError:
        raise
    except Exception as error:  # a plugin's rule may raise anything
        given = ", ".join(f"{key}={value!r:.80}" for key, value in options.items())
        raise OptionError(
            f"{name} does not take the options {given or 'that are its defaults'}: "
            f"{type(error).__name__}: {error}"
        ) from error
