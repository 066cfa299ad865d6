"""Grad-CAM from a graph's class activation maps, without torch.

Where the head is the mean over space and a linear layer, logit k is b + Σ M_k over the cells of
M_k = Σ_c w_kc A_c / (h · w) (Zhou et al., CVPR 2016). Its gradient with respect to A_c is the same
in every cell, so that Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2) is relu(M_k), and
HiResCAM (Draelos & Carin, 2020) too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from skinxai.explaining.targets import Targets
from skinxai.graphs.exported import LOGITS, MAPS
from skinxai.predicting.graph_predictor import GraphEngine
from skinxai.predicting.predictor import InputOptions, Prepared, prepared_batches
from skinxai.readonly import ReadOnly
from skinxai.results import Explanation, ItemError, Prediction
from skinxai.results.drawing import resize_map
from skinxai.version import __version__

GRAPH_METHODS = ("gradcam",)
"""Methods that a graph's maps answer."""


def explanations(
    engine: GraphEngine, images: Iterable[Any], method: str, targets: Targets,
    options: InputOptions,
) -> Iterator[tuple[Prediction, Explanation | dict[str, Explanation]] | ItemError]:  # fmt: skip
    """Predict and explain lazily, in order, in one pass of the graph.

    Args:
        engine: a single model whose graph has maps.
        images: as in `Classifier.predict`.
        method: one of `GRAPH_METHODS`.
        targets: which class of each image.
        options: as in `Classifier.predict`.
    """
    count = 0
    for batch in prepared_batches(images, engine.preprocessings, options, keep_pixels=True):
        count += len(batch)
        for item in batch:
            if isinstance(item, ItemError):
                yield item
            else:
                yield _explained(engine, item, method, targets, options)
    targets.check_count(count)


def _explained(
    engine: GraphEngine, item: Prepared, method: str, targets: Targets, options: InputOptions
) -> tuple[Prediction, Explanation | dict[str, Explanation]] | ItemError:
    started = time.perf_counter()
    (member,) = engine.members
    outputs = member.outputs([item])
    rows = engine.probabilities(outputs[LOGITS])
    first = engine.prediction(item, rows[0], options)
    if isinstance(first, ItemError):
        return first
    assert item.pixels is not None
    maps, pixels = outputs[MAPS][0], item.pixels  # (K, h, w)
    versions = ReadOnly({"skinxai": __version__} | member.run.versions)

    def of(position: int) -> Explanation:
        values = maps[position]
        if targets.against is not None:
            values = values - maps[engine.labels.position(targets.against)]
        heatmap = resize_map(np.maximum(values, 0), (pixels.shape[0], pixels.shape[1]))
        return Explanation(
            maps=ReadOnly({method: heatmap}),
            scores=ReadOnly({}),
            target=engine.labels[position],
            against=targets.against,
            score="logit",
            method=method,
            layer=member.layer,
            options=ReadOnly({}),
            source=item.source,
            model=engine.model,
            backend=engine.backend,
            versions=versions,
            seconds=time.perf_counter() - started,
            pixels=pixels,
            warnings=item.warnings,
        )

    if targets.every:
        return first, {code: of(position) for position, code in enumerate(engine.labels)}
    return first, of(int(targets.positions([item.index], rows)[0]))
