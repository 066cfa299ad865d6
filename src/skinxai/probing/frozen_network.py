"""`FrozenNetwork`: starting weights that are not trained, and what tells them from others."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from skinxai import backbones
from skinxai.backbones.exact_float32 import exact_float32
from skinxai.backbones.network import SkinClassifier
from skinxai.checkpoints import LoadedModel
from skinxai.configs import ModelConfig, PreprocessConfig, as_size
from skinxai.data.records import Records
from skinxai.errors import NonFiniteOutputError
from skinxai.memory import in_batches
from skinxai.model_folders.files import read_config
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.probe import picture
from skinxai.predicting.inputs import Prepared
from skinxai.predicting.network_passes import FLIPS
from skinxai.predicting.torch_predictor import TorchPredictor, to_batch
from skinxai.probing.head_layer import check_linear
from skinxai.training.checking import check_names
from skinxai.training.inheriting import inherited_config
from skinxai.training.initial_weights import (
    InitialWeights,
    fetch_initial_weights,
    load_initial_weights,
)
from skinxai.training.randomness import kept_random_states, seed_all
from skinxai.training.settings import TrainConfig

Floats = npt.NDArray[np.float32]
FORMAT = 1
"""Of what the features are; another number makes all that were kept unusable."""


@dataclass(frozen=True, eq=False)
class FrozenNetwork:
    """A network as it starts, and how it reads images.

    Args:
        network: float32; its classifier is random.
        config: of the model to come; nothing in it depends on what is fitted.
        start: origin of the weights.
        predictor: the same network, as it will answer.
        weights: sha256 of all weights but the classifier's, hexadecimal.
        answer: features of the drawn picture, float32 ``(D,)``.
    """

    network: SkinClassifier
    config: ModelConfig
    start: InitialWeights
    predictor: TorchPredictor
    weights: str
    answer: Floats

    @property
    def width(self) -> int:
        """D, the number of features."""
        return len(self.answer)

    def key(self, views: int) -> str:
        """sha256 of everything that features depend on besides an image's pixels."""
        parts = {
            "format": FORMAT,
            "backbone": self.config.backbone,
            "weights": self.weights,
            "preprocessing": asdict(self.config.preprocessing),
            "views": views,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def features(self, items: Sequence[Prepared], views: int) -> list[Floats]:
        """Pooled features ``(V, D)`` of each image: as it is, and flipped.

        Raises:
            NonFiniteOutputError: features that are not finite.
            OutOfMemoryError: no memory for one image.
        """
        found = in_batches(items, lambda some: list(self._features(some, views)))
        for item, rows in zip(items, found, strict=True):
            if not np.isfinite(rows).all():
                raise NonFiniteOutputError(
                    f"features must be finite, but those of {item.source} are not; take other "
                    f"weights."
                )
        return found

    @torch.inference_mode()
    def _features(self, items: Sequence[Prepared], views: int) -> Floats:
        predictor = self.predictor
        member = predictor.single("a probe")
        images, found = to_batch(items, member.preprocessing, predictor.device), []
        with predictor.evaluating(), torch.autocast(predictor.device.type, enabled=False):
            for flip in FLIPS[:views]:
                view = images.flip(flip) if flip else images
                pooled: Tensor = member.answering.pool(member.answering.features(view))
                found.append(pooled.float().cpu().numpy())
        return np.stack(found, axis=1)


def freeze(
    train: Records, backbone: str | None, init_weights: str | None,
    image_size: int | tuple[int, int] | None, name: str, device: str, seed: int,
) -> FrozenNetwork:  # fmt: skip
    """Build a network with its starting weights; see `probe`."""
    usual = TrainConfig()
    chosen = usual.backbone if backbone is None else backbone
    size = usual.image_size if image_size is None else image_size
    check_names(
        TrainConfig(
            backbone=chosen, init_weights=init_weights, image_size=as_size(size), device=device
        )
    )
    own = _config_of(init_weights)
    if own is not None:
        chosen = own.backbone if backbone is None else backbone
        size = own.preprocessing.image_size if image_size is None else image_size
    fetch_initial_weights(chosen, init_weights)
    with kept_random_states():
        seed_all(seed)
        network = backbones.build(chosen, len(train.labels)).float()
        start = load_initial_weights(network, chosen, init_weights, train.labels)
    preprocessing = PreprocessConfig(as_size(size), start.mean, start.std)
    if own is not None:
        preprocessing = replace(preprocessing, interpolation=own.preprocessing.interpolation)
    drawn = torch.from_numpy(picture(preprocessing)[None])
    with exact_float32():
        check_linear(network, drawn, preprocessing.image_size)
    made = inherited_config(name, chosen, train, preprocessing, [start], drop_rate=0.0)
    loaded = LoadedModel(network, made, "", "frozen")
    predictor = TorchPredictor.of(loaded, device)
    unseen = FrozenNetwork(network, made, start, predictor, _hash(network), np.empty(0, np.float32))
    item = Prepared(0, "a drawn picture", {preprocessing: drawn[0].numpy()}, (), None)
    (answer,) = unseen.features([item], 1)
    return FrozenNetwork(network, made, start, predictor, unseen.weights, answer[0])


def _config_of(init_weights: str | None) -> ModelConfig | None:
    """The config of a model that is named as starting weights, or ``None``."""
    if init_weights in (None, "imagenet") or Path(str(init_weights)).suffix == ".safetensors":
        return None
    files = open_model(init_weights)
    return None if files.is_ensemble else read_config(files, ModelConfig)  # refused when loaded


def _hash(network: SkinClassifier) -> str:
    """sha256 of the names, types, shapes and bytes of all tensors but the classifier's."""
    left, found = backbones.classifier_names(network), hashlib.sha256()
    for name, tensor in sorted(network.network.state_dict().items()):
        if name not in left:
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
