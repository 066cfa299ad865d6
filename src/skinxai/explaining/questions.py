"""Predict and explain images, in one forward pass of each network and view."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai.backbones.evaluation_mode import plain_float32
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import ExplainError, ExplainTimeoutError, PluginError
from skinxai.explaining.answers import Circumstances, explanation
from skinxai.explaining.attributing import Arrays, attribute
from skinxai.explaining.method import Method
from skinxai.explaining.passes import GraphPasses
from skinxai.explaining.tape import Tape
from skinxai.explaining.targets import Targets
from skinxai.explaining.views import View, Watch, alone, private_copy, ready
from skinxai.memory import in_batches
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.inputs import InputOptions, Prepared, prepared_batches
from skinxai.predicting.network_passes import NetworkPass, Outputs
from skinxai.predicting.torch_predictor import TorchMember, TorchPredictor, to_batch
from skinxai.readonly import ReadOnly
from skinxai.results import Explanation, ItemError, Prediction
from skinxai.trust.scaling import Scaling

Answer = Explanation | dict[str, Explanation]
Pair = tuple[Prediction, Answer]


@dataclass(frozen=True)
class Question:
    """What is asked of all images of a call."""

    method: Method
    targets: Targets
    tta: bool = False
    timeout: float | None = None
    watch: Watch = field(default_factory=Watch)

    def started(self) -> Watch:
        """The watch, whose time runs from now."""
        if self.timeout is None:
            return self.watch
        return replace(self.watch, deadline=time.monotonic() + self.timeout)


@dataclass(frozen=True)
class _Pass:
    """What one member's forward pass over one view leaves for its explainer.

    Args:
        made_by: network and view.
        network: the member's, fit for explaining.
        images: the view ``(N, 3, h, w)``.
        features: of it.
        rows: its probabilities ``(N, K)``.
        embeddings: its pooled features ``(N, D)``, where the answer needs them.
        graph: computes what needs no gradient, or ``None``.
        scaling: of a calibrated model, for explanations of a probability.
        tape: of passes that maps of all classes share.
    """

    made_by: NetworkPass[TorchMember]
    network: SkinClassifier
    images: Tensor
    features: Any
    rows: npt.NDArray[np.float64]
    graph: GraphPasses | None
    embeddings: npt.NDArray[np.float32] | None = None
    scaling: Scaling | None = None
    tape: Tape = field(default_factory=Tape)

    @classmethod
    @torch.no_grad()
    def all(
        cls,
        predictor: TorchPredictor,
        graph: GraphPredictor | None,
        items: list[Prepared],
        *,
        tta: bool,
    ) -> list["_Pass"]:
        """Of every member and view."""
        runs = [each.run for each in graph.members] if graph else [None] * len(predictor.members)
        fitted = predictor.calibration and predictor.calibration.fitted(tta=tta)
        scaling = fitted.scaling if fitted else None
        found = []
        for member, run in zip(predictor.members, runs, strict=True):
            network, passes = ready(member.answering), GraphPasses(run) if run else None
            batch = to_batch(items, member.preprocessing, predictor.device)
            for own in predictor.passes(tta=tta):
                if own.member is member:
                    images = batch.flip(own.flip) if own.flip else batch
                    features = network.features(images)
                    logits = network.pool_and_classify(features)
                    rows, pooled = predictor.probabilities(logits.cpu().double().numpy()), None
                    if predictor.measured and not own.flip:
                        pooled = network.pool(features).float().cpu().numpy()
                    found.append(cls(own, network, images, features, rows, passes, pooled, scaling))
        return found

    @torch.no_grad()
    def only(self, kept: list[int]) -> "_Pass":
        """The same for some of the images."""
        images = self.images[kept]
        features = self.network.features(images) if kept else self.features
        rows = self.rows[kept]
        return replace(self, images=images, features=features, rows=rows, tape=Tape())

    def explained(self, question: Question, target: Tensor, watch: Watch) -> tuple[Arrays, Arrays]:
        """Maps ``(N, h, w)`` of the image, not of the view, and scores ``(N,)``."""
        method, size = question.method, (self.images.shape[2], self.images.shape[3])
        images, network = self.images, self.network
        if not method.built_in:  # what it does to its inputs reaches no other call
            images, target = images.clone(), target.clone()
        known: tuple[Any, Any] = (images, self.features)
        if method.explainer.changes_network:
            network, known = private_copy(network), (None, None)
        self.tape.rewind()
        view = View(
            network, *known, score=method.score, against=method.against, image_size=size,
            watch=watch, tape=self.tape if question.targets.every and method.built_in else None,
            passes=self.graph if method.built_in else None, scaling=self.scaling,
            unwritten=self.images,
        )  # fmt: skip
        maps, scores = attribute(method, view, images, target)
        flip = tuple(dimension - 1 for dimension in self.made_by.flip)  # of (N, h, w)
        return {name: np.flip(values, flip) for name, values in maps.items()}, scores


def explanations(
    predictor: TorchPredictor,
    images: Iterable[Any],
    question: Question,
    options: InputOptions,
    graph: GraphPredictor | None = None,
) -> Iterator[Pair | ItemError]:
    """Predict and explain lazily, in order; memory holds one batch.

    One forward pass of each member and view serves the prediction, the choice of the class, and
    the explainer. A batch that does not fit into memory is halved. A graph of the same model in
    float32 computes passes of built-in methods that need no gradient.
    """
    predictor, count = predictor.in_float32(), 0
    for batch in prepared_batches(
        images, predictor.preprocessings, options, keep_pixels=True, measured=predictor.measured
    ):
        count += len(batch)
        items = [item for item in batch if isinstance(item, Prepared)]
        found: Iterator[Pair | ItemError] = iter(())
        if items:
            found = iter(_explained(predictor, graph, question, items, options))
        for each in batch:
            yield each if isinstance(each, ItemError) else next(found)
    question.targets.check_count(count)


def _explained(
    predictor: TorchPredictor,
    graph: GraphPredictor | None,
    question: Question,
    items: list[Prepared],
    options: InputOptions,
) -> list[Pair | ItemError]:
    def run(some: Sequence[Prepared]) -> list[Pair | ItemError]:
        results = _predict_and_explain(predictor, graph, question, list(some), options)
        return [results[item.index] for item in some]

    networks = [each.answering for each in predictor.members]
    with plain_float32(predictor.device), alone(networks), predictor.evaluating():
        return in_batches(items, run)


def _predict_and_explain(
    predictor: TorchPredictor,
    graph: GraphPredictor | None,
    question: Question,
    items: list[Prepared],
    options: InputOptions,
) -> dict[int, Pair | ItemError]:
    passes = _Pass.all(predictor, graph, items, tta=question.tta)
    answers = predictor.answers(
        items, [each.made_by for each in passes],
        [Outputs(each.rows, each.embeddings) for each in passes],
    )  # fmt: skip
    results: dict[int, Pair | ItemError] = {}
    sound: list[tuple[int, Prediction]] = []
    for place, (item, said) in enumerate(zip(items, answers, strict=True)):
        first = predictor.prediction(item, said, options)
        if isinstance(first, ItemError):
            results[item.index] = first
        else:
            sound.append((place, first))
    items = [items[place].noting(first.doubts) for place, first in sound]
    if results:  # some are not finite: leave them out, so that the others can be explained
        kept = [place for place, _ in sound]
        passes = [each.only(kept) for each in passes]
    if not items:
        return results
    rows = np.stack([answers[place].row for place, _ in sound])
    try:
        explained = _explain_batch(predictor, question, passes, items, rows)
    except (ExplainError, PluginError) as error:
        if isinstance(error, ExplainTimeoutError):
            error.predictions = tuple(prediction for _, prediction in sound)
        elif len(items) > 1:  # find out whose fault it is
            each = (
                _predict_and_explain(predictor, graph, question, [item], options) for item in items
            )
            return results | {index: answer for one in each for index, answer in one.items()}
        else:
            error.at(items[0].index, items[0].source)
        if options.on_error == "raise":
            raise
        return results | {item.index: ItemError(item.index, item.source, error) for item in items}
    for item, (_, first), answer in zip(items, sound, explained, strict=True):
        results[item.index] = (first, answer)
    return results


def _explain_batch(
    predictor: TorchPredictor,
    question: Question,
    passes: list[_Pass],
    items: list[Prepared],
    rows: npt.NDArray[np.float64],
) -> list[Any]:
    watch = question.started()

    def run(positions: npt.NDArray[np.int64]) -> list[Explanation]:
        return _explain(predictor, question, passes, items, positions, watch)

    if question.targets.every:
        each = [run(np.full(len(items), k, np.int64)) for k in range(len(predictor.labels))]
        return [dict(zip(predictor.labels, row, strict=True)) for row in zip(*each, strict=True)]
    return run(question.targets.positions([item.index for item in items], rows))


def _explain(
    predictor: TorchPredictor,
    question: Question,
    passes: list[_Pass],
    items: list[Prepared],
    positions: npt.NDArray[np.int64],
    watch: Watch,
) -> list[Explanation]:
    """Explain each member and view, and average with their weights, in pixels of the source."""
    started = time.perf_counter()
    method = question.method
    target = torch.from_numpy(positions).to(predictor.device)
    found = [each.explained(question, target, watch) for each in passes]
    names = {(tuple(maps), tuple(scores)) for maps, scores in found}
    if len(names) > 1:
        raise ExplainError(
            f"{method.name!r} must give the same maps and scores for every member and view to be "
            f"averaged, got {sorted(names)}."
        )
    (map_names, score_names), seconds = names.pop(), (time.perf_counter() - started) / len(items)
    runs = [each.graph.run for each in passes if each.graph and each.graph.used]
    circumstances = Circumstances(
        against=None if method.against is None else predictor.labels[method.against],
        score=method.score if method.explainer.uses_target else "none",
        method=method.name,
        layer=", ".join(sorted({each.network.layer for each in passes})),
        options=ReadOnly(asdict(method.options) | _averaging(predictor, question)),
        model=predictor.model,
        backend=f"{predictor.backend}, passes by {runs[0].backend}" if runs else predictor.backend,
        versions=ReadOnly(dict(method.versions) | (dict(runs[0].versions) if runs else {})),
    )
    return [
        explanation(
            item,
            circumstances,
            target=predictor.labels[int(positions[row])],
            weights=[each.made_by.weight for each in passes],
            maps={name: [maps[name][row] for maps, _ in found] for name in map_names},
            scores={name: [scores[name][row] for _, scores in found] for name in score_names},
            seconds=seconds,
        )
        for row, item in enumerate(items)
    ]


def _averaging(predictor: TorchPredictor, question: Question) -> dict[str, Any]:
    """What was averaged, for the result's options; nothing for one view of a single model."""
    method = question.method
    scores = {"logit": "logits", "probability": "probabilities"}[method.score]
    found: dict[str, Any] = {}
    if question.tta:
        found["tta"] = {
            "score": f"mean over four flips of the {scores}",
            "maps": "mean of the four maps, flipped back",
        }
    if len(predictor.members) > 1:
        members = [{"model": each.model, "weight": each.weight} for each in predictor.members]
        mean = f"weighted mean of the members' maps, each of the member's own {method.score}"
        explained = f"weighted mean of the members' {scores}"
        found["ensemble"] = {"score": explained, "maps": mean, "members": members}
    return found
