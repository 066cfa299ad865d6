"""Grad-CAM from a graph's class activation maps, without torch.

Where the head is the mean over space and a linear layer, logit k is b + Σ M_k over the cells of
M_k = Σ_c w_kc A_c / (h · w) (Zhou et al., CVPR 2016). Its gradient with respect to A_c is the same
in every cell, so that Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2) is relu(M_k), and
HiResCAM (Draelos & Carin, 2020) too.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from skinxai.explaining.answers import Circumstances, explanation
from skinxai.explaining.targets import Targets
from skinxai.graphs import EMBEDDINGS, LOGITS, MAPS
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.inputs import InputOptions, Prepared, prepared_batches
from skinxai.predicting.network_passes import Outputs
from skinxai.readonly import ReadOnly
from skinxai.results import Explanation, ItemError, Prediction
from skinxai.version import __version__

GRAPH_METHODS = ("gradcam",)
"""Methods that a graph's maps answer."""


def explanations(
    predictor: GraphPredictor, images: Iterable[Any], method: str, targets: Targets,
    options: InputOptions,
) -> Iterator[tuple[Prediction, Explanation | dict[str, Explanation]] | ItemError]:  # fmt: skip
    """Predict and explain lazily, in order, in one pass of the graph of a single model."""
    count = 0
    for batch in prepared_batches(
        images, predictor.preprocessings, options, keep_pixels=True, measured=predictor.measured
    ):
        count += len(batch)
        for item in batch:
            if isinstance(item, ItemError):
                yield item
            else:
                yield _explained(predictor, item, method, targets, options)
    targets.check_count(count)


def _explained(
    predictor: GraphPredictor, item: Prepared, method: str, targets: Targets, options: InputOptions
) -> tuple[Prediction, Explanation | dict[str, Explanation]] | ItemError:
    started = time.perf_counter()
    (member,) = predictor.members
    outputs = member.run_on([item])
    embeddings = outputs[EMBEDDINGS] if predictor.measured else None
    found = Outputs(predictor.probabilities(outputs[LOGITS]), embeddings)
    (answer,) = predictor.answers([item], predictor.passes(), [found])
    first = predictor.prediction(item, answer, options)
    if isinstance(first, ItemError):
        return first
    item = item.noting(first.doubts)
    maps = outputs[MAPS][0]  # (K, h, w)
    circumstances = Circumstances(
        against=targets.against,
        score="logit",
        method=method,
        layer=member.layer,
        options=ReadOnly({}),
        model=predictor.model,
        backend=predictor.backend,
        versions=ReadOnly({"skinxai": __version__} | member.run.versions),
    )

    def of(position: int) -> Explanation:
        values = maps[position]
        if targets.against is not None:
            values = values - maps[predictor.labels.position(targets.against)]
        return explanation(
            item, circumstances, target=predictor.labels[position], weights=[1.0],
            maps={method: [np.maximum(values, 0)]}, scores={},
            seconds=time.perf_counter() - started,
        )  # fmt: skip

    if targets.every:
        return first, {code: of(position) for position, code in enumerate(predictor.labels)}
    return first, of(int(targets.positions([item.index], answer.row[None])[0]))
