"""Whether torch or a graph explains, and the bar of network passes. Torch is loaded on demand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from skinxai.explaining.by_graph import GRAPH_METHODS
from skinxai.explaining.by_graph import explanations as graph_explanations
from skinxai.explaining.explain_options import ExplainOptions
from skinxai.numeric import plain
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.in_use import ModelInUse
from skinxai.predicting.inputs import InputOptions, several
from skinxai.progress import counter

if TYPE_CHECKING:
    from skinxai.explaining.views import Watch


def explained(
    model: ModelInUse, images: Any, method: str, asked: ExplainOptions, keywords: Mapping[str, Any],
    named: Collection[str],
) -> tuple[bool, Iterator[Any]]:  # fmt: skip
    """Whether one image came, and pairs of a prediction and its explanation, made one by one.

    ``named`` are the call's own keywords, which the error of an unknown one in ``keywords`` lists.
    """
    keywords = {name: plain(value) for name, value in keywords.items()}
    single, many, count = several(images, keywords.get("progress"))
    graph = _graph_for(model, method, asked)
    with ExitStack() as stack:
        known = None if graph else count
        watch = stack.enter_context(_pass_bar(known, method, keywords))
        found = _explanations(model, graph, many, method, asked, keywords, named, watch)
        return single, _closed_after(found, stack.pop_all())


def _explanations(
    model: ModelInUse, graph: GraphPredictor | None, images: Iterable[Any], method: str,
    asked: ExplainOptions, keywords: Mapping[str, Any], named: Collection[str], watch: Watch | None,
) -> Iterator[Any]:  # fmt: skip
    labels = model.config.labels
    targets = asked.targets(labels)
    if graph is not None:
        options, _ = InputOptions.take(keywords, *named)
        return graph_explanations(graph, images, method, targets, options)
    from skinxai.explaining.method import choose_method, options_of
    from skinxai.explaining.questions import Question, explanations
    from skinxai.explaining.views import Watch

    options, own = InputOptions.take(keywords, *named, *options_of(method))
    chosen = choose_method(method, own, labels, score=asked.score, against=asked.against)
    question = Question(chosen, targets, asked.tta, asked.timeout, watch or Watch())
    local = model.torch_predictor.device.type == "cpu"  # where graphs compute
    passes = model.graph if model.graph is not None and model.graph.exact and local else None
    return explanations(model.torch_predictor, images, question, options, passes)


def _graph_for(model: ModelInUse, method: str, asked: ExplainOptions) -> GraphPredictor | None:
    """The graph that can explain this by itself, or ``None``: torch does."""
    plain = asked.score == "logit" and not asked.tta and asked.timeout is None
    able = model.graph is not None and model.graph.maps and method in GRAPH_METHODS
    return model.graph if able and plain else None


def _closed_after(found: Iterator[Any], stack: ExitStack) -> Iterator[Any]:
    with stack:
        yield from found


@contextmanager
def _pass_bar(
    images: int | None, method: str, keywords: Mapping[str, Any]
) -> Iterator[Watch | None]:
    """A bar of network passes, for a known number of images and a method that has a budget."""
    if method in GRAPH_METHODS:  # of one pass, and without a budget; the next import loads torch
        yield None
        return
    from skinxai import explainers
    from skinxai.explaining.views import Watch

    budget = keywords.get("budget", getattr(explainers.get(method).options_type, "budget", None))
    progress = keywords.get("progress")
    told = callable(progress) and images != 1  # it is told of the images
    if images is None or type(budget) is not int or progress is False or told:
        yield None
        return
    with counter(budget * images, progress, "pass") as count:
        yield Watch(count=count)
