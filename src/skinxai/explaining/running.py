"""Image in, `Explanation` out: method, target, and back to the source's pixels."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from types import FunctionType, MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai import explainers
from skinxai.drawing import resize_map
from skinxai.errors import ExplainError, OptionError, PluginError
from skinxai.explainers.base import Attribution, Explainer
from skinxai.inference import (
    Engine,
    InputOptions,
    Member,
    Prepared,
    prepared_batches,
    to_batch,
)
from skinxai.labels import LabelSet
from skinxai.models import OwnFunction, SkinClassifier
from skinxai.results import Explanation, ItemError, Prediction
from skinxai.version import __version__

SCORES = ("logit", "probability")


@dataclass(frozen=True)
class Method:
    """One explainer with its options, ready for any number of batches.

    Args:
        name: in `skinxai.explainers`.
        explainer: the class.
        options: of the class's ``options_type``.
        score: ``"logit"`` or ``"probability"``.
        versions: of everything that takes part.
    """

    name: str
    explainer: type[Explainer]
    options: Any
    score: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Targets:
    """Which class of each image is explained.

    Args:
        labels: the label set.
        chosen: ``None``: each image's own top class; a code for all; or one code an image.
        every: explain every class instead.

    Raises:
        UnknownNameError: a code that is no label.
        OptionError: a target together with ``all_classes``, or another kind of target.
    """

    labels: LabelSet
    chosen: str | tuple[str, ...] | None
    every: bool

    def __post_init__(self) -> None:
        if self.every and self.chosen is not None:
            raise OptionError("target must be None with all_classes=True.")
        for code in (self.chosen,) if isinstance(self.chosen, str) else self.chosen or ():
            self.labels.position(code)

    def positions(
        self, indices: Sequence[int], rows: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.int64]:
        """Class positions ``(N,)`` for images at ``indices`` with probabilities ``(N, K)``."""
        if self.chosen is None:
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


def choose_method(name: str, score: str, options: Mapping[str, Any]) -> Method:
    """Look a method up and build its options.

    Raises:
        UnknownNameError: no such method.
        OptionError: an unknown option or score.
    """
    if score not in SCORES:
        raise OptionError(f"score must be one of {SCORES}, got {score!r}.")
    explainer = _explainer(name)
    known = [f.name for f in fields(explainer.options_type)]
    if unknown := sorted(set(options) - set(known)):
        raise OptionError(f"{name} has the options {known}, got {unknown[0]!r}.")
    entry = next(entry for entry in explainers.entries() if entry.name == name)
    versions = {"skinxai": __version__, "torch": torch.__version__}
    if entry.source not in ("skinxai", "this process"):
        versions[entry.source] = entry.version
    return Method(name, explainer, explainer.options_type(**options), score, versions)


def _explainer(name: str) -> type[Explainer]:
    found = explainers.get(name)
    if not (inspect.isclass(found) and issubclass(found, Explainer)):
        raise PluginError(f"explainer {name!r} must be a subclass of skinxai.Explainer.")
    if not is_dataclass(found.options_type):
        raise PluginError(f"options_type of explainer {name!r} must be a frozen dataclass.")
    return found


@dataclass(frozen=True)
class _Pass:
    """What one member's forward pass leaves for its explainer.

    Args:
        member: which.
        images: its input ``(N, 3, h, w)``.
        features: of the images.
        rows: its probabilities ``(N, K)``.
    """

    member: Member
    images: Tensor
    features: Any
    rows: npt.NDArray[np.float64]

    @classmethod
    @torch.no_grad()
    def of(cls, engine: Engine, member: Member, images: Tensor) -> _Pass:
        features = member.network.features(images)
        logits = member.network.pool_and_classify(features)
        return cls(member, images, features, engine.probabilities(logits).cpu().numpy())

    @torch.no_grad()
    def only(self, kept: list[int]) -> _Pass:
        """The same for some of the images."""
        images = self.images[kept]
        features = self.member.network.features(images) if kept else self.features
        return _Pass(self.member, images, features, self.rows[kept])


class _View(SkinClassifier):
    """The same network for one call: features computed once, and the score that was asked for."""

    def __init__(
        self, model: SkinClassifier, images: Tensor | None, features: Any, score: str
    ) -> None:
        super().__init__(model.network, model._features, model._head, model._pool)
        self.training = model.training
        self._images, self._computed, self._score = images, features, score

    def features(self, images: Tensor) -> Any:
        if images is self._images and not images.requires_grad:
            return self._computed
        return super().features(images)

    def pool_and_classify(self, features: Tensor) -> Tensor:
        logits = super().pool_and_classify(features)
        return logits.softmax(dim=1) if self._score == "probability" else logits


Answer = Explanation | dict[str, Explanation]
Pair = tuple[Prediction, Answer]


def explanations(
    engine: Engine,
    images: Iterable[Any],
    method: Method,
    targets: Targets,
    options: InputOptions,
) -> Iterator[Pair | ItemError]:
    """Predict and explain lazily, in order; memory holds one batch.

    One forward pass of each member serves the prediction, the choice of the class, and the
    explainer.
    """
    count = 0
    for batch in prepared_batches(images, engine.preprocessings, options, keep_pixels=True):
        count += len(batch)
        results: dict[int, Pair | ItemError] = {}
        items = [item for item in batch if isinstance(item, Prepared)]
        if items:
            results = _predict_and_explain(engine, method, targets, items, options)
        for each in batch:
            yield each if isinstance(each, ItemError) else results[each.index]
    targets.check_count(count)


def _predict_and_explain(
    engine: Engine,
    method: Method,
    targets: Targets,
    items: list[Prepared],
    options: InputOptions,
) -> dict[int, Pair | ItemError]:
    passes = [
        _Pass.of(engine, member, to_batch(items, member.preprocessing, engine.device))
        for member in engine.members
    ]
    rows = engine.mean(each.rows for each in passes)
    results: dict[int, Pair | ItemError] = {}
    sound: list[tuple[int, Prediction]] = []
    for place, (item, row) in enumerate(zip(items, rows, strict=True)):
        first = engine.prediction(item, row, options)
        if isinstance(first, ItemError):
            results[item.index] = first
        else:
            sound.append((place, first))
    if results:  # some are not finite: leave them out, so that the others can be explained
        kept = [place for place, _ in sound]
        items, rows = [items[place] for place in kept], rows[kept]
        passes = [each.only(kept) for each in passes]
    if items:
        answers = _explain_batch(engine, method, targets, passes, items, rows)
        for item, (_, first), answer in zip(items, sound, answers, strict=True):
            results[item.index] = (first, answer)
    return results


def _explain_batch(
    engine: Engine,
    method: Method,
    targets: Targets,
    passes: list[_Pass],
    items: list[Prepared],
    rows: npt.NDArray[np.float64],
) -> list[Any]:
    def run(positions: npt.NDArray[np.int64]) -> list[Explanation]:
        return _attribute(engine, method, passes, items, positions)

    if targets.every:
        each = [run(np.full(len(items), k, np.int64)) for k in range(len(engine.labels))]
        return [dict(zip(engine.labels, row, strict=True)) for row in zip(*each, strict=True)]
    return run(targets.positions([item.index for item in items], rows))


def _attribute(
    engine: Engine,
    method: Method,
    passes: list[_Pass],
    items: list[Prepared],
    positions: npt.NDArray[np.int64],
) -> list[Explanation]:
    """Explain in each member, and average with the members' weights."""
    started = time.perf_counter()
    target = torch.from_numpy(positions).to(engine.device)
    found = [_attribute_one(method, each, target) for each in passes]
    names = {(tuple(maps), tuple(scores)) for maps, scores in found}
    if len(names) > 1:
        raise ExplainError(
            f"{method.name!r} must give the same maps and scores for every member of an ensemble "
            f"to be averaged, got {sorted(names)}."
        )
    (map_names, score_names), seconds = names.pop(), (time.perf_counter() - started) / len(items)
    options = asdict(method.options) | _averaging(engine, method)

    def mean_map(name: str, row: int, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        each = (resize_map(maps[name][row], size) for maps, _ in found)
        return engine.mean(each).astype(np.float32)

    def result(row: int, item: Prepared) -> Explanation:
        assert item.pixels is not None
        height, width = item.pixels.shape[:2]
        scores = {name: engine.mean(s[name][row] for _, s in found) for name in score_names}
        return Explanation(
            maps=MappingProxyType({k: mean_map(k, row, (height, width)) for k in map_names}),
            scores=MappingProxyType({name: float(value) for name, value in scores.items()}),
            target=engine.labels[int(positions[row])],
            score=method.score,
            method=method.name,
            layer="features",
            options=MappingProxyType(options),
            source=item.source,
            model=engine.model,
            backend=engine.backend,
            versions=MappingProxyType(dict(method.versions)),
            seconds=seconds,
            pixels=item.pixels,
        )

    return [result(row, item) for row, item in enumerate(items)]


def _attribute_one(method: Method, made: _Pass, target: Tensor) -> tuple[Arrays, Arrays]:
    network = made.member.network
    if method.explainer.changes_network:
        view = _View(private_copy(network), None, None, method.score)
    else:
        view = _View(network, made.images, made.features, method.score)
    found = method.explainer(view).attribute(made.images, target, options=method.options)
    return _checked(method.name, found, len(target))


def _averaging(engine: Engine, method: Method) -> dict[str, Any]:
    """What was averaged, for the result's options; nothing for a single model."""
    if len(engine.members) == 1:
        return {}
    score = {"logit": "logits", "probability": "probabilities"}[method.score]
    members = [{"model": each.model, "weight": each.weight} for each in engine.members]
    mean = f"weighted mean of the members' maps, each of the member's own {method.score}"
    explained = f"weighted mean of the members' {score}"
    return {"ensemble": {"score": explained, "maps": mean, "members": members}}


def private_copy(model: SkinClassifier) -> SkinClassifier:
    """A copy that may be changed.

    Raises:
        ExplainError: the model's functions hold on to the original network.
    """
    for part in (model._features, model._head):
        if isinstance(part, OwnFunction) and isinstance(part.function, FunctionType):
            raise ExplainError(
                "an explainer that changes the network needs a model that can be copied; give "
                "from_module() features and head as methods or submodules, not as functions."
            )
    return copy.deepcopy(model)


Arrays = dict[str, npt.NDArray[np.float32]]


def _checked(name: str, found: Attribution, count: int) -> tuple[Arrays, Arrays]:
    if not isinstance(found, Attribution):
        raise PluginError(
            f"attribute() of {name!r} must return an Attribution, got {type(found).__name__}."
        )
    arrays: list[Arrays] = []
    for kind, values, ndim in (("map", found.maps, 3), ("score", found.scores, 1)):
        part: Arrays = {}
        for key, tensor in values.items():
            array = tensor.detach().to(torch.float32).cpu().numpy()
            if array.ndim != ndim or len(array) != count:
                raise PluginError(
                    f"{kind} {key!r} of {name!r} must have {ndim} dimensions, the first of size "
                    f"{count}, got the shape {array.shape}."
                )
            if not np.isfinite(array).all():
                raise ExplainError(f"{kind} {key!r} of {name!r} must be finite, and is not.")
            part[key] = array
        arrays.append(part)
    return arrays[0], arrays[1]
