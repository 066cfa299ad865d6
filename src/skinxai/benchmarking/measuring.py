"""Numbers of one image's maps."""

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai.assessment.faithfulness import (
    BLIND,
    deletion_and_insertion,
    mass_inside,
    pointing,
    rank_correlation,
)
from skinxai.backbones.network import SkinClassifier
from skinxai.benchmarking.lesion_masks import mask_of, read_mask
from skinxai.benchmarking.plan import Plan, is_cheap, seeded
from skinxai.checkpoints import LoadedModel
from skinxai.classifier import Classifier
from skinxai.configs import ModelConfig
from skinxai.data.records import Record
from skinxai.errors import ExplainError, ModelError, NonFiniteOutputError
from skinxai.explainers.baselines import baseline
from skinxai.images.limits import MAX_PIXELS
from skinxai.images.reading import SourceImage, read_image
from skinxai.images.transforms import evaluation_transform
from skinxai.results.drawing import resize_map

COVERS = ("mean", "blur")
NOISE = 0.02  # standard deviation, of the pixels' range
Map = npt.NDArray[np.float32]
Row = dict[str, Any]


class Bench:
    """A model with all that is asked of its explanations.

    Args:
        classifier: a single model.
        plan: what is asked.
        methods: name → options.
        masks: folder of the lesions' masks.
        max_pixels: most pixels of an image that are decoded.
    """

    def __init__(
        self, classifier: Classifier, plan: Plan, methods: Mapping[str, Mapping[str, Any]],
        masks: Path, max_pixels: int = MAX_PIXELS,
    ) -> None:  # fmt: skip
        self.max_pixels = max_pixels
        self._classifier, self._plan, self._masks = classifier, plan, masks
        self._methods = dict(methods)
        self._scrambled = scrambled(classifier, plan.seed)

    def read(self, item: Record) -> SourceImage:
        """An image, which is then let through everywhere."""
        return read_image(item.path, max_pixels=self.max_pixels)

    def rows(self, item: Record, number: int) -> Iterator[Row]:
        """One row for each method, and for each map that never saw the image.

        Args:
            item: the image.
            number: its place in the plan's list.
        """
        image = self.read(item)
        size = (image.pixels.shape[0], image.pixels.shape[1])
        mask = read_mask(mask_of(item, self._masks), size)
        target = self._classifier.predict(image).label
        judge = _Judge(self._classifier, image.pixels, target, mask, self._plan)
        shared = {"image": item.image_id, "lesion": item.lesion_id or item.image_id,
                  "label": item.label, "target": target, "number": number}  # fmt: skip
        for name, make in BLIND.items():
            found = np.asarray(make(size, self._plan.seed + number), np.float32)
            yield {**shared, "method": name, **judge(found)}
        maps: dict[str, Map] = {}
        for name, options in self._methods.items():
            if number >= self._plan.stratified and not is_cheap(options):
                continue
            start = time.perf_counter()
            try:
                maps[name] = self._map(self._classifier, image, name, options, target)
            except ExplainError as error:  # a network that the method refuses
                yield {**shared, "method": name, "refused": str(error)}
                continue
            seconds = round(time.perf_counter() - start, 4)
            row = {**shared, "method": name, "seconds": seconds, **judge(maps[name])}
            if number < self._plan.checked:
                row |= self._checks(maps[name], image, name, options, target)
                row["agreement"] = {
                    other: agreement(maps[name], found) for other, found in maps.items()
                }
            yield row

    def _map(
        self, classifier: Classifier, image: SourceImage, name: str, options: Mapping[str, Any],
        target: str,
    ) -> Map:  # fmt: skip
        found = classifier.explain(image, name, target=target, progress=False, **options)
        if found.heatmap is None:
            raise ExplainError(f"{name} gives scores alone, and no map that could be judged.")
        return np.asarray(found.heatmap)

    def _checks(
        self, own: Map, image: SourceImage, name: str, options: Mapping[str, Any], target: str
    ) -> Row:
        """How the map changes with what should change it, and with what should not."""
        draws = np.random.default_rng(self._plan.seed)
        drawn = image.pixels + draws.normal(0, 255 * NOISE, image.pixels.shape)
        noisy = replace(image, pixels=np.rint(drawn.clip(0, 255)).astype(np.uint8))
        asked = {
            "randomised": (self._scrambled, image, options),
            "noisy": (self._classifier, noisy, options),
        }
        if seeded(name):
            other = {**options, "seed": options["seed"] + 1}
            asked["other seed"] = (self._classifier, image, other)
        found: Row = {}
        for key, (classifier, shown, own_options) in asked.items():
            try:
                changed = self._map(classifier, shown, name, own_options, target)
                found[key] = agreement(own, changed)
            except (ExplainError, NonFiniteOutputError):  # a scrambled network may overflow
                found[key] = None
        return found


class _Judge:
    """Scores maps of one image."""

    def __init__(
        self, classifier: Classifier, pixels: npt.NDArray[np.uint8], target: str, mask: Any,
        plan: Plan,
    ) -> None:  # fmt: skip
        array = evaluation_transform(pixels, config_of(classifier).preprocessing)
        self._image = torch.from_numpy(array).to(next(classifier.network.parameters()).device)
        self._covers = {kind: baseline(self._image[None], kind)[0] for kind in COVERS}
        self._predictor = classifier.torch_predictor
        self._network = self._predictor.single("the judge").answering
        self._mask, self._plan = mask, plan
        self._position = classifier.labels.index(target)

    def __call__(self, heatmap: Map) -> Row:
        size = (self._image.shape[1], self._image.shape[2])
        fitted = resize_map(heatmap, size)
        row: Row = {"constant": bool(heatmap.min() == heatmap.max())}
        for kind, cover in self._covers.items():
            curves = deletion_and_insertion(
                self._score, self._image, cover, fitted, steps=self._plan.steps,
                seed=self._plan.seed,
            )  # fmt: skip
            row |= {f"deletion, {kind}": curves.deletion, f"insertion, {kind}": curves.insertion}
        row |= {"pointing": pointing(heatmap, self._mask),
                "mass inside": _known(mass_inside(heatmap, self._mask))}  # fmt: skip
        return row

    @torch.no_grad()
    def _score(self, images: Tensor) -> Tensor:
        with self._predictor.evaluating():
            logits = self._network(images.contiguous(memory_format=torch.channels_last))
        rows = self._predictor.calibrated_mean(
            [self._predictor.probabilities(logits.cpu().double().numpy())]
        )
        return torch.from_numpy(rows[:, self._position])


def agreement(first: Map, second: Map) -> float | None:
    """Rank correlation of two maps of one image, of cells of 4 × 4 pixels.

    Args:
        first: float32 ``(H, W)``.
        second: of the same shape.

    Returns:
        −1 to 1; ``None`` where one of them is constant.
    """
    size = (max(2, first.shape[0] // 4), max(2, first.shape[1] // 4))
    return _known(rank_correlation(resize_map(first, size), resize_map(second, size)))


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else value


def scrambled(classifier: Classifier, seed: int) -> Classifier:
    """The same network with the values of each of its tensors in random order.

    Args:
        classifier: a single model.
        seed: of the order.
    """
    draws = torch.Generator().manual_seed(seed)
    network: SkinClassifier = copy.deepcopy(classifier.network)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point() and tensor.numel() > 1:
                order = torch.randperm(tensor.numel(), generator=draws, device="cpu")
                tensor.copy_(tensor.flatten()[order].reshape(tensor.shape))
    return Classifier(LoadedModel(network, config_of(classifier), "", "scrambled"))


def config_of(classifier: Classifier) -> ModelConfig:
    """Of a single model.

    Raises:
        ModelError: an ensemble.
    """
    config = classifier.config
    if not isinstance(config, ModelConfig):
        raise ModelError(
            f"methods are compared on a single model, but {classifier.model} is an ensemble."
        )
    return config
