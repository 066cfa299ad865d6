"""Model folder ↔ network. Weights are bound to the config; a pickle is never opened."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from skinxai import backbones
from skinxai.configs import ModelConfig
from skinxai.errors import IntegrityError, ModelConfigError
from skinxai.hub import CARD, CONFIG, WEIGHTS, ModelFiles, write_model_folder
from skinxai.models import SkinClassifier

BINDING = "skinxai.binding"


@dataclass(frozen=True)
class LoadedModel:
    """A network in evaluation mode with its config.

    Args:
        model: float32, on the CPU.
        config: everything else that is needed to use it.
        card: the model card, Markdown.
        revision: of the folder it came from.
    """

    model: SkinClassifier
    config: ModelConfig
    card: str
    revision: str


def pack(model: SkinClassifier, config: ModelConfig, card: str) -> dict[str, bytes]:
    """Files of a model folder.

    Matrices and kernels are stored in half precision; vectors (biases, batch statistics) keep
    float32, since their range is wider than half precision's and their size is nothing.

    Args:
        model: what to save.
        config: its config; its hash goes into the weights file.
        card: model card, Markdown.
    """
    tensors = {name: _stored(t) for name, t in model.network.state_dict().items()}
    return {
        # One key only: safetensors writes several in random order, and one model has one digest.
        WEIGHTS: save_tensors(tensors, {BINDING: config.binding()}),
        CONFIG: json.dumps(config.to_dict(), indent=2).encode() + b"\n",
        CARD: card.encode(),
    }


def save(folder: str, model: SkinClassifier, config: ModelConfig, card: str) -> str:
    """Write a model folder and return its revision."""
    return write_model_folder(folder, pack(model, config, card))[:12]


def unpack(files: ModelFiles) -> LoadedModel:
    """Build the network of verified files.

    Raises:
        ModelConfigError: a config that breaks its schema.
        IntegrityError: weights that belong to another config, do not fit the backbone, or are
            not finite.
    """
    try:
        config = ModelConfig.from_dict(json.loads(files.files[CONFIG]))
    except ValueError as error:
        raise ModelConfigError(
            f"{CONFIG} in {str(files.folder)!r} must be JSON: {error}"
        ) from error
    except TypeError as error:
        raise ModelConfigError(f"{CONFIG} in {str(files.folder)!r}: {error}") from error
    weights = files.files[WEIGHTS]
    if _metadata(weights).get(BINDING) != config.binding():
        raise IntegrityError(
            f"{CONFIG} in {str(files.folder)!r} must be the one its weights were saved with "
            f"(labels, preprocessing, backbone), and is another; fetch the model again."
        )
    model = backbones.build(config.backbone, len(config.labels), config.drop_rate)
    load_weights(model, weights)
    card = files.files.get(CARD, b"").decode(errors="replace")
    return LoadedModel(model, config, card, files.revision)


def load_weights(model: SkinClassifier, weights: bytes) -> None:
    """Load safetensors bytes into ``model``, every name and shape matching, all values finite.

    Raises:
        IntegrityError: damaged bytes, other names or shapes, NaN or infinite values.
    """
    try:
        tensors = load_tensors(weights)
    except SafetensorError as error:
        raise IntegrityError(f"{WEIGHTS} must be whole safetensors: {error}") from error
    own = model.network.state_dict()
    odd = sorted(set(tensors) ^ set(own)) or sorted(
        name for name in own if own[name].shape != tensors[name].shape
    )
    if odd:
        raise IntegrityError(
            f"{WEIGHTS} must hold exactly the backbone's tensors; {len(odd)} differ, "
            f"the first is {odd[0]!r}."
        )
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise IntegrityError(f"{WEIGHTS} must hold finite values, {name!r} does not.")
    model.network.load_state_dict(
        {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}, strict=True
    )


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if tensor.ndim > 1 and tensor.is_floating_point() else tensor


def _metadata(weights: bytes) -> dict[str, str]:
    """The ``__metadata__`` of safetensors bytes: 8 bytes of length, then a JSON header."""
    length = int.from_bytes(weights[:8], "little")
    try:
        header = json.loads(weights[8 : 8 + length])
    except ValueError:
        return {}
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return metadata if isinstance(metadata, dict) else {}
