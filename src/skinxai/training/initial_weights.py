"""Where a run's weights start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from skinxai import checkpoints
from skinxai.errors import TrainingError
from skinxai.hub import find_model, read_model_folder
from skinxai.models import SkinClassifier

RGB = tuple[float, float, float]


def load_initial_weights(
    model: SkinClassifier, backbone: str, init_weights: str | None
) -> tuple[RGB, RGB, str]:
    """Load starting weights into ``model``.

    Tensors of the classifier may have another number of classes and then stay random; any other
    difference is an error.

    Args:
        model: freshly built.
        backbone: its name.
        init_weights: as in `Trainer`.

    Returns:
        Mean and standard deviation of the RGB input that the weights expect, and a description.

    Raises:
        TrainingError: no such weights, or weights of another network.
    """
    if init_weights is None:
        return *_expected_input(model), "random"
    if init_weights == "imagenet":
        return *_expected_input(model), _load_imagenet(model, backbone)
    path = Path(init_weights)
    if path.suffix == ".safetensors":
        try:
            tensors = load_tensors(path.read_bytes())
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"init_weights must be readable safetensors, {init_weights!r}: {error}"
            ) from error
        _copy(model, tensors, init_weights)
        return *_expected_input(model), path.name
    start = checkpoints.unpack(
        read_model_folder(find_model(None if init_weights == "bundled" else init_weights))
    )
    _copy(model, start.model.network.state_dict(), init_weights)
    preprocessing = start.config.preprocessing
    return preprocessing.mean, preprocessing.std, f"{start.config.name}@{start.revision}"


def _copy(model: SkinClassifier, tensors: dict[str, Any], source: str) -> None:
    own = model.network.state_dict()
    classifier = _classifier_prefix(model)
    odd = sorted(
        name
        for name in set(own) | set(tensors)
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape
    )
    if wrong := [name for name in odd if not name.startswith(classifier)]:
        raise TrainingError(
            f"init_weights {source!r} must fit the backbone outside its classifier; {len(wrong)} "
            f"tensors differ, the first is {wrong[0]!r}."
        )
    fitting = {name: tensors[name].float() if own[name].is_floating_point() else tensors[name]
               for name in own if name not in odd}  # fmt: skip
    model.network.load_state_dict(fitting, strict=False)


def _classifier_prefix(model: SkinClassifier) -> str:
    prefix = getattr(model.network, "pretrained_cfg", {}).get("classifier", "classifier")
    return f"{prefix}."


def _expected_input(model: SkinClassifier) -> tuple[RGB, RGB]:
    settings = getattr(model.network, "pretrained_cfg", {})
    middle = (0.5, 0.5, 0.5)
    return tuple(settings.get("mean", middle)), tuple(settings.get("std", middle))


def _load_imagenet(model: SkinClassifier, backbone: str) -> str:
    import timm

    try:
        network = timm.create_model(backbone, pretrained=True)
    except Exception as error:  # timm, the Hub client and the network each raise their own
        raise TrainingError(
            f"init_weights='imagenet' must reach the Hugging Face Hub for {backbone!r}: "
            f"{type(error).__name__}. Without a network use 'bundled', a .safetensors file, a "
            f"model folder or None."
        ) from error
    _copy(model, network.state_dict(), "imagenet")
    return f"ImageNet weights of timm for {backbone}"
