"""Starting weights of a run."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from skinxai import backbones, checkpoints
from skinxai.backbones.exact_float32 import exact_float32
from skinxai.backbones.network import SkinClassifier
from skinxai.checkpoints import LoadedModel
from skinxai.disk.regular_files import is_file, read_file
from skinxai.errors import ModelError, TrainingError
from skinxai.labels import LabelSet
from skinxai.model_folders.opening import open_model
from skinxai.model_folders.parts import MAX_FILE_BYTES
from skinxai.model_folders.probe import picture
from skinxai.model_folders.timm_downloads import weights_of_timm
from skinxai.model_folders.trained_on import TrainedOn
from skinxai.plain_text import agreeing, counted
from skinxai.training.randomness import kept_random_states

RGB = tuple[float, float, float]
IMAGENET_CLASSES = 1000
BUNDLED_BACKBONE = "tf_efficientnet_lite1"
SAME = 1e-3
"""Largest difference of two networks' features, of the largest one, that is rounding."""


@dataclass(frozen=True)
class InitialWeights:
    """Origin of a network's starting weights, with their licence and training images.

    Args:
        mean: mean of the RGB input that the weights expect.
        std: standard deviation of that input.
        source: description of their origin, without paths.
        licence: licence of the weights, which the trained model inherits.
        attribution: who must be named for them.
        leaked: why their own figures are worthless, if they are marked as leaked.
        note: whether their classifier was taken over; empty if that goes without saying.
        trained_on: the images they were trained on; ``None`` if a model does not say.
    """

    mean: RGB
    std: RGB
    source: str
    licence: str = ""
    attribution: str = ""
    leaked: str = ""
    note: str = ""
    trained_on: TrainedOn | None = field(default_factory=TrainedOn)

    @property
    def known(self) -> list[TrainedOn]:
        """``trained_on``, if it is known."""
        return [] if self.trained_on is None else [self.trained_on]


def load_initial_weights(
    model: SkinClassifier, backbone: str, init_weights: str | None, labels: LabelSet
) -> InitialWeights:
    """Load starting weights, as of `Trainer`, into a newly built model of a backbone.

    The classifier is taken over only from a model with the same labels in the same order, because
    its rows belong to these labels. Any other difference is an error.

    Raises:
        TrainingError: if there are no such weights, or they belong to another network.
    """
    if init_weights is None:
        return InitialWeights(*_expected_input(model), "random")
    if init_weights == "imagenet":
        return InitialWeights(*_expected_input(model), _load_imagenet(model, backbone))
    path = Path(init_weights)
    if path.suffix == ".safetensors":
        try:
            data = read_file(path, MAX_FILE_BYTES)
            tensors = load_tensors(data)
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"init_weights must be readable safetensors, {init_weights!r}: {error}"
            ) from error
        if checkpoints.is_bound(data):
            raise TrainingError(
                f"init_weights must be the model's folder, {str(path.parent)!r}, got the weights "
                f"file alone: labels, licence and training images would be lost."
            )
        classes = _copy(model, tensors, init_weights, backbone, classifier=False)
        digest = hashlib.sha256(data).hexdigest()
        return InitialWeights(
            *_expected_input(model),
            f"safetensors, sha256 {digest}",
            trained_on=TrainedOn() if classes == IMAGENET_CLASSES else None,
        )
    start = checkpoints.unpack(open_model(init_weights, fits=backbones.check_header))
    config = start.config
    same = config.labels.codes == labels.codes
    tensors = start.network.network.state_dict()
    _copy(model, tensors, init_weights, backbone, known=config.backbone, classifier=same)
    if config.backbone != backbone:
        _check_features(model, start, backbone, init_weights)
    taken = "is taken over (same labels)" if same else "begins at random (other labels)"
    return InitialWeights(
        config.preprocessing.mean,
        config.preprocessing.std,
        f"{config.name}@{start.revision}",
        config.licence,
        config.training_data.get("attribution", ""),
        config.training_data.get("leaked", ""),
        f"the classifier of {config.name} {taken}",
        start.trained_on,
    )


def _copy(
    model: SkinClassifier, tensors: dict[str, Any], source: str, backbone: str, *,
    known: str = "", classifier: bool,
) -> int | None:  # fmt: skip
    """Copy all tensors, or all but the classifier; returns the number of classes in ``tensors``.

    ``known`` names the network that the weights are of; it is empty where nobody says it.
    """
    own = model.network.state_dict()
    left = set() if classifier else backbones.classifier_names(model)
    odd = sorted(
        name
        for name in {*own, *tensors} - left
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape
    )
    if odd:
        raise TrainingError(
            f"init_weights {source!r} must fit the backbone {backbone!r} outside its classifier, "
            f"but {counted(len(odd), 'tensor')} {agreeing(len(odd), 'differs', 'differ')}, the "
            f"first is {odd[0]!r}; take the backbone "
            f"{repr(known) if known else 'they were saved from'}, or other starting weights."
        )
    fitting = {name: tensors[name].float() if own[name].is_floating_point() else tensors[name]
               for name in own if name not in left}  # fmt: skip
    model.network.load_state_dict(fitting, strict=False)
    return next((len(tensors[name]) for name in sorted(left) if name in tensors), None)


@torch.inference_mode()
def _check_features(model: SkinClassifier, start: LoadedModel, backbone: str, source: str) -> None:
    """Refuse a network whose tensors fit, but which computes something else with them.

    ``efficientnet_b0`` and ``tf_efficientnet_b0`` of timm differ in the borders of convolutions
    alone, which no tensor shows. One network may also have two names. ``model`` has the weights of
    ``start`` and is in evaluation mode.
    """
    images = torch.from_numpy(picture(start.config.preprocessing)[None])
    with exact_float32():
        found, expected = (each.features(images) for each in (model, start.network))
    if not isinstance(expected, Tensor):  # one's own network: nobody knows how to compare them
        return
    nearly = SAME * float(expected.abs().max())
    if found.shape == expected.shape and torch.allclose(found, expected, SAME, nearly):
        return
    known = start.config.backbone
    raise TrainingError(
        f"init_weights {source!r} must be of the backbone {backbone!r}, but they are of {known!r}, "
        f"which computes other features with the same weights",
        python=f"pass backbone={known!r}",
        command=f"give --backbone {known}",
    )


def _expected_input(model: SkinClassifier) -> tuple[RGB, RGB]:
    settings = getattr(model.network, "pretrained_cfg", {})
    middle = (0.5, 0.5, 0.5)
    return tuple(settings.get("mean", middle)), tuple(settings.get("std", middle))


def fetch_initial_weights(backbone: str, init_weights: str | None) -> None:
    """Check that starting weights exist, and download them if they come from the Hub.

    A run without its weights is refused before it reads any image.

    Raises:
        TrainingError: if there are no such weights.
        ModelError: one of its subclasses, if a model cannot be opened.
    """
    if init_weights == "imagenet":
        _imagenet_file(backbone)
    elif init_weights is not None and Path(init_weights).suffix == ".safetensors":
        if not is_file(Path(init_weights)):
            raise TrainingError(
                f"init_weights must be readable safetensors, found no file {init_weights!r}."
            )
    elif init_weights is not None:
        open_model(None if init_weights == "bundled" else init_weights)


def check_initial_weights(backbone: str, init_weights: str | None, labels: LabelSet) -> None:
    """Download starting weights where that is needed, and load them into a network once.

    Work of several runs is refused before the first of them, with the errors of
    `load_initial_weights`.
    """
    fetch_initial_weights(backbone, init_weights)
    with kept_random_states():
        network = backbones.build(backbone, len(labels))
        load_initial_weights(network, backbone, init_weights, labels)


def _imagenet_file(backbone: str) -> Path:
    """The ImageNet weights of a network of timm, in the Hub's cache."""
    from timm.models import get_pretrained_cfg, is_model

    name = backbone.removeprefix(backbones.TIMM)
    config = get_pretrained_cfg(name) if is_model(name) else None
    remedy = {
        "python": f"offline, take {BUNDLED_BACKBONE!r} with init_weights='bundled', or a "
        f"model folder, a .safetensors file, or None",
        "command": f"offline, give --backbone {BUNDLED_BACKBONE} --init-weights bundled, "
        f"or a model folder, a .safetensors file, or none as --init-weights",
    }
    if config is None or not config.hf_hub_id:
        raise TrainingError(
            f"init_weights='imagenet' needs a network that timm has ImageNet weights of, but "
            f"{backbone!r} is none", **remedy,
        )  # fmt: skip
    try:
        return weights_of_timm(config.hf_hub_id)
    except ModelError as error:
        raise TrainingError(
            f"the ImageNet weights of {backbone!r} must come from the Hugging Face Hub, but they "
            f"did not: {str(error).rstrip('.')}", **remedy,
        ) from error  # fmt: skip


def _load_imagenet(model: SkinClassifier, backbone: str) -> str:
    import timm

    tensors = load_tensors(read_file(_imagenet_file(backbone), MAX_FILE_BYTES))
    network = timm.create_model(  # brings the tensors into the form of its network
        backbone.removeprefix(backbones.TIMM), pretrained=True,
        pretrained_cfg_overlay={"state_dict": tensors},
    )  # fmt: skip
    _copy(model, network.state_dict(), "imagenet", backbone, classifier=False)
    return f"ImageNet weights of timm for {backbone}"
