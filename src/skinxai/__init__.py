"""skinxai: classify dermatoscopic images of skin lesions and see why.

A research tool, not a medical device. Importing this package loads neither torch nor pandas:
each name below is imported when it is first used (PEP 562). It also keeps dependencies from
reporting their use (`skinxai.telemetry`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from skinxai.telemetry import switch_off
from skinxai.version import __version__

switch_off()

_LAZY = {
    "Attribution": "skinxai.explainers.base",
    "Classifier": "skinxai.classifier",
    "Entry": "skinxai.plugins.registry",
    "Evaluation": "skinxai.results",
    "Explainer": "skinxai.explainers.base",
    "Explanation": "skinxai.results",
    "ItemError": "skinxai.results",
    "LabelSet": "skinxai.labels",
    "ModelConfig": "skinxai.configs",
    "Prediction": "skinxai.results",
    "PreprocessConfig": "skinxai.configs",
    "SkinxaiError": "skinxai.errors",
    "Trainer": "skinxai.training.trainer",
    "hookimpl": "skinxai.plugins.hookspecs",
    "read_image": "skinxai.images.reading",
}
_MODULES = ("backbones", "data", "errors", "explainers", "losses", "samples")

__all__ = [
    "Attribution",
    "Classifier",
    "Entry",
    "Evaluation",
    "Explainer",
    "Explanation",
    "ItemError",
    "LabelSet",
    "ModelConfig",
    "Prediction",
    "PreprocessConfig",
    "SkinxaiError",
    "Trainer",
    "__version__",
    "backbones",
    "data",
    "errors",
    "explainers",
    "hookimpl",
    "losses",
    "read_image",
    "samples",
]

if TYPE_CHECKING:
    from skinxai import backbones, data, errors, explainers, losses, samples
    from skinxai.classifier import Classifier
    from skinxai.configs import ModelConfig, PreprocessConfig
    from skinxai.errors import SkinxaiError
    from skinxai.explainers.base import Attribution, Explainer
    from skinxai.images.reading import read_image
    from skinxai.labels import LabelSet
    from skinxai.plugins.hookspecs import hookimpl
    from skinxai.plugins.registry import Entry
    from skinxai.results import Evaluation, Explanation, ItemError, Prediction
    from skinxai.training.trainer import Trainer


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"skinxai.{name}")
    else:
        raise AttributeError(f"module 'skinxai' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
