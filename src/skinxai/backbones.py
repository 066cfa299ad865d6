"""Backbones: the registry, and where timm's networks split into features and head.

``names()``, ``get(name)``, ``entries()`` and ``register(name)`` load nothing heavy. A backbone
is a builder ``(name, num_classes, drop_rate) -> skinxai.models.SkinClassifier``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skinxai import plugins

if TYPE_CHECKING:
    from torch import Tensor

    from skinxai.models import SkinClassifier

names = plugins.backbones.names
get = plugins.backbones.get
entries = plugins.backbones.entries
register = plugins.backbones.register


def build(name: str, num_classes: int, drop_rate: float = 0.0) -> SkinClassifier:
    """Build a registered backbone with random weights, in evaluation mode.

    Args:
        name: name in this registry.
        num_classes: K, the width of the logits.
        drop_rate: dropout before the classifier, 0 ≤ rate < 1.

    Raises:
        UnknownNameError: no backbone of that name.
    """
    model: SkinClassifier = get(name)(name, num_classes, drop_rate)
    return model.eval()


def build_timm(name: str, num_classes: int, drop_rate: float = 0.0) -> SkinClassifier:
    """Build a network of timm, split after its last feature map; the weights are random."""
    import timm
    import torch

    from skinxai.models import SkinClassifier

    network = timm.create_model(name, num_classes=num_classes, drop_rate=drop_rate)
    network.to(memory_format=torch.channels_last)  # twice as fast for depthwise convolutions
    return SkinClassifier(network, _timm_features, _timm_head, _timm_pool)


def _timm_features(network: Any, images: Tensor) -> Tensor:
    features: Tensor = network.forward_features(images)
    return features


def _timm_head(network: Any, features: Tensor) -> Tensor:
    logits: Tensor = network.forward_head(features)
    return logits


def _timm_pool(network: Any, features: Tensor) -> Tensor:
    pooled: Tensor = network.forward_head(features, pre_logits=True)
    return pooled
