"""Whether a graph answers as the network that it came from, on real images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from skinxai import samples
from skinxai.backbones.evaluation_mode import plain_float32
from skinxai.backbones.network import SkinClassifier
from skinxai.errors import ExportError
from skinxai.explainers.cam import GradCAM
from skinxai.graphs import EMBEDDINGS, LOGITS, MAPS
from skinxai.plain_text import counted
from skinxai.predicting.graph_predictor import GraphPredictor
from skinxai.predicting.inputs import InputOptions, Prepared, prepared_batches

if TYPE_CHECKING:
    from skinxai.predicting.torch_predictor import TorchPredictor

TOLERANCE = 1e-3
"""Largest difference of a probability, and of a map or an embedding as a share of its own largest
value."""
PARITY = InputOptions(batch_size=8)
"""How the images of a comparison are read."""


@dataclass(frozen=True)
class Parity:
    """How an exported graph differs from torch on real images.

    Args:
        images: how many were compared.
        probability: largest difference of a probability.
        map: largest difference of a Grad-CAM, as a share of that image's largest value, of those
            below 0 as well, which the map does not show; ``None`` where the graph has no maps.
        backend: that ran the graph.
    """

    images: int
    probability: float
    map: float | None
    backend: str


def check_parity(
    predictor: TorchPredictor, graph: GraphPredictor, images: Iterable[Any] | None = None,
    options: InputOptions = PARITY,
) -> Parity:  # fmt: skip
    """Compare a graph with torch: probabilities, labels, embeddings, Grad-CAM of the top class.

    Args:
        predictor: torch's.
        graph: the same model's.
        images: real ones, at least one; ``None``: the sample images.
        options: of reading and batching.

    Raises:
        ExportError: a probability, or a share of an embedding or of a map, that differs by more
            than `TOLERANCE`, or another label.
        OptionError: ``on_error="return"``, which would leave images out.
    """
    options.check_raises("for a comparison")
    predictor = predictor.in_float32().uncalibrated
    member = predictor.single("a graph")
    kernel = graph.members[0]
    worst, worst_map, count = 0.0, 0.0, 0
    many = samples.paths() if images is None else images
    for batch in prepared_batches(many, predictor.preprocessings, options):
        items = [item for item in batch if isinstance(item, Prepared)]
        outputs = kernel.run_on(items)
        (own,) = predictor.outputs(items, predictor.passes(), embeddings=EMBEDDINGS in outputs)
        expected = own.rows
        rows = graph.probabilities(outputs[LOGITS])
        gap = float(np.abs(rows - expected).max())
        top = expected.argmax(axis=1)
        worst, count = max(worst, gap), count + len(items)
        if not gap <= TOLERANCE or (rows.argmax(axis=1) != top).any():
            raise ExportError(
                f"an exported graph must give torch's probabilities within {TOLERANCE:g}, and its "
                f"labels; it differs by {gap:.2g} for one of {[item.source for item in items]}."
            )
        if own.embeddings is not None:
            _check_embeddings(outputs[EMBEDDINGS], own.embeddings)
        if graph.maps:
            with plain_float32(predictor.device), predictor.evaluating():
                cam = _grad_cam(member.answering, items, member.preprocessing, top)
            share = _map_difference(outputs[MAPS][np.arange(len(items)), top], cam)
            worst_map = float(np.maximum(worst_map, share))  # NaN stays, as it would not in max()
    if not worst_map <= TOLERANCE or not count:
        raise ExportError(
            f"an exported graph must give torch's Grad-CAM within {TOLERANCE:g} of its largest "
            f"value on at least one image; it differs by {worst_map:.2g} on "
            f"{counted(count, 'image')}."
        )
    return Parity(count, worst, worst_map if graph.maps else None, graph.backend)


def _check_embeddings(found: Any, own: Any) -> None:
    """Refuse embeddings ``(N, D)`` of a graph that are not torch's; novelty is told from them."""
    gap = float("inf")
    if found.shape == own.shape:
        sizes = np.maximum(np.abs(own).max(axis=1), 1e-12)
        gap = float((np.abs(found - own).max(axis=1) / sizes).max())
    if not gap <= TOLERANCE:
        raise ExportError(
            f"an exported graph must give torch's embeddings within {TOLERANCE:g} of their largest "
            f"value; they differ by {gap:.2g}."
        )


def _map_difference(maps: Any, own: Any) -> float:
    """The largest of all images; a faint map beside a strong one is held to its own size.

    Args:
        maps: of the graph, ``(N, h, w)``, of any sign.
        own: torch's Grad-CAM, ``(N, h, w)``, >= 0.
    """
    sizes = np.abs(maps).max(axis=(1, 2))
    gaps = np.abs(np.maximum(maps, 0) - own).max(axis=(1, 2))
    return float((gaps / np.maximum(sizes, 1e-12)).max())


def _grad_cam(network: SkinClassifier, items: list[Prepared], preprocessing: Any, top: Any) -> Any:
    device = next(network.network.parameters()).device
    images = torch.from_numpy(np.stack([item.arrays[preprocessing] for item in items])).to(device)
    target = torch.from_numpy(top).to(device)
    found = GradCAM(network).attribute(images, target, options=None)
    return found.maps["gradcam"].detach().cpu().numpy()
