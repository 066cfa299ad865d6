"""Several runs: cross-validation, search for settings, and trackers that keep their figures."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinxai.experiments.cross_validating import CrossValidation, cross_validate
    from skinxai.experiments.mlflow_tracker import MLflowTracker
    from skinxai.experiments.tensorboard_tracker import TensorBoardTracker
    from skinxai.experiments.tuning import Search, tune
    from skinxai.experiments.wandb_tracker import WandbTracker

__all__ = [
    "CrossValidation",
    "MLflowTracker",
    "Search",
    "TensorBoardTracker",
    "WandbTracker",
    "cross_validate",
    "tune",
]


_WHERE = {
    "CrossValidation": "cross_validating",
    "MLflowTracker": "mlflow_tracker",
    "Search": "tuning",
    "TensorBoardTracker": "tensorboard_tracker",
    "WandbTracker": "wandb_tracker",
    "cross_validate": "cross_validating",
    "tune": "tuning",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'skinxai.experiments' has no attribute {name!r}")
    module = importlib.import_module(f"skinxai.experiments.{_WHERE[name]}")  # it loads torch
    return getattr(module, name)
