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
from skinxai.inference import Engine, InputOptions, Prepared, prepared_batches, to_batch
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

    One forward pass serves the prediction, the choice of the class, and the explainer.
    """
    count = 0
    for batch in prepared_batches(images, engine.preprocessing, options, keep_pixels=True):
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
    tensor = to_batch(items, engine.device)
    with torch.no_grad():
        features = engine.network.features(tensor)
        logits = engine.network.pool_and_classify(features)
        rows = engine.probabilities(logits).cpu().numpy()
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
        items, tensor, rows = [items[place] for place in kept], tensor[kept], rows[kept]
        with torch.no_grad():
            features = engine.network.features(tensor) if items else features
    if items:
        answers = _explain_batch(engine, method, targets, tensor, features, items, rows)
        for item, (_, first), answer in zip(items, sound, answers, strict=True):
            results[item.index] = (first, answer)
    return results


def _explain_batch(
    engine: Engine,
    method: Method,
    targets: Targets,
    tensor: Tensor,
    features: Any,
    items: list[Prepared],
    rows: npt.NDArray[np.float64],
) -> list[Any]:
    def run(positions: npt.NDArray[np.int64]) -> list[Explanation]:
        return _attribute(engine, method, tensor, features, items, positions)

    if targets.every:
        each = [run(np.full(len(items), k, np.int64)) for k in range(len(engine.labels))]
        return [dict(zip(engine.labels, row, strict=True)) for row in zip(*each, strict=True)]
    return run(targets.positions([item.index for item in items], rows))


def _attribute(
    engine: Engine,
    method: Method,
    tensor: Tensor,
    features: Any,
    items: list[Prepared],
    positions: npt.NDArray[np.int64],
) -> list[Explanation]:
    started = time.perf_counter()
    if method.explainer.changes_network:
        view = _View(private_copy(engine.network), None, None, method.score)
    else:
        view = _View(engine.network, tensor, features, method.score)
    target = torch.from_numpy(positions).to(engine.device)
    found = method.explainer(view).attribute(tensor, target, options=method.options)
    maps, scores = _checked(method.name, found, len(items))
    seconds = (time.perf_counter() - started) / len(items)

    def result(row: int, item: Prepared) -> Explanation:
        assert item.pixels is not None
        size = item.pixels.shape[:2]
        return Explanation(
            maps=MappingProxyType({k: resize_map(v[row], size) for k, v in maps.items()}),
            scores=MappingProxyType({k: float(v[row]) for k, v in scores.items()}),
            target=engine.labels[int(positions[row])],
            score=method.score,
            method=method.name,
            layer="features",
            options=MappingProxyType(asdict(method.options)),
            source=item.source,
            model=engine.model,
            backend=engine.backend,
            versions=MappingProxyType(dict(method.versions)),
            seconds=seconds,
            pixels=item.pixels,
        )

    return [result(row, item) for row, item in enumerate(items)]


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
