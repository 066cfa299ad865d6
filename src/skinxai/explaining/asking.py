"""What is asked of an explanation: which method with which options, and which class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from skinxai import explainers
from skinxai.errors import OptionError, PluginError
from skinxai.explainers.base import Explainer
from skinxai.labels import LabelSet
from skinxai.registry import THIS_PROCESS
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


@dataclass(frozen=True)
class Targets:
    """Which class of each image is explained.

    Args:
        labels: the label set.
        chosen: ``None``: each image's own top class; a code for all; or one code an image.
        every: explain every class instead.
        against: what the class is compared with, so that it cannot be that itself.

    Raises:
        UnknownNameError: a code that is no label.
        OptionError: a target together with ``all_classes``, or one that is ``against``.
    """

    labels: LabelSet
    chosen: str | tuple[str, ...] | None
    every: bool
    against: str | None = None

    def __post_init__(self) -> None:
        if self.every and (self.chosen is not None or self.against is not None):
            raise OptionError("target and against must be None with all_classes=True.")
        if not isinstance(self.chosen, str | tuple | None):
            raise OptionError(
                f"target must be a label, a list of labels, or None, got {self.chosen!r}."
            )
        chosen = (self.chosen,) if isinstance(self.chosen, str) else self.chosen or ()
        for code in chosen:
            self.labels.position(code)
        if self.against in chosen:
            raise OptionError(f"against must be another label than target, got {self.against!r}.")

    def positions(
        self, indices: Sequence[int], rows: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Class positions ``(N,)`` for images at ``indices`` with probabilities ``(N, K)``."""
        if self.chosen is None:
            if self.against is not None:  # why this one rather than that: never that itself
                rows = rows.copy()
                rows[:, self.labels.position(self.against)] = -1
            return np.asarray(rows.argmax(axis=1), np.int64)
        if isinstance(self.chosen, str):
            return np.full(len(indices), self.labels.position(self.chosen), np.int64)
        self.check_count(max(indices) + 1, at_least=True)
        return np.array([self.labels.position(self.chosen[i]) for i in indices], np.int64)

    def check_count(self, images: int, *, at_least: bool = False) -> None:
        """A list of targets must have one label for each image."""
        if isinstance(self.chosen, tuple):
            given = len(self.chosen)
            if given < images or (given > images and not at_least):
                raise OptionError(
                    f"target must be one label, or one for each image; {given} labels came "
                    f"for {images} images{' or more' if at_least else ''}."
                )


def options_of(name: str) -> tuple[str, ...]:
    """Names of a method's own options."""
    return tuple(f.name for f in fields(_explainer(name).options_type))


def choose_method(
    name: str,
    options: Mapping[str, Any],
    labels: LabelSet,
    *,
    score: str = "logit",
    against: str | None = None,
) -> Method:
    """Look a method up and build its options.

    Args:
        name: in `skinxai.explainers`.
        options: the method's own.
        labels: the label set.
        score: ``"logit"`` or ``"probability"``.
        against: label whose score is subtracted, or ``None``.

    Raises:
        UnknownNameError: no such method or label.
        OptionError: an unknown option or score, or ``against`` for a method without a score.
    """
    if score not in SCORES:
        raise OptionError(f"score must be one of {SCORES}, got {score!r}.")
    explainer = _explainer(name)
    known = [f.name for f in fields(explainer.options_type)]
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(f"{name} has the options {known}, got {unknown[0]!r}.")
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
    position = None if against is None else labels.position(against)
    own = explainer.options_type(**options)
    return Method(name, explainer, own, score, position, entry.source, versions)


def _explainer(name: str) -> type[Explainer]:
    found = explainers.get(name)
    if not (inspect.isclass(found) and issubclass(found, Explainer)):
        raise PluginError(f"explainer {name!r} must be a subclass of skinxai.Explainer.")
    if not is_dataclass(found.options_type):
        raise PluginError(f"options_type of explainer {name!r} must be a frozen dataclass.")
    return found
