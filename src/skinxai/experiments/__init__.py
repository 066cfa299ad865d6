"""Several runs: cross-validation, search for settings, and trackers that keep their figures."""

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


def __getattr__(name: str) -> Any:
    if name in ("CrossValidation", "cross_validate"):  # on first use: they load torch
        from skinxai.experiments import cross_validating as module
    elif name in ("Search", "tune"):
        from skinxai.experiments import tuning as module
    elif name == "MLflowTracker":
        from skinxai.experiments import mlflow_tracker as module
    elif name == "TensorBoardTracker":
        from skinxai.experiments import tensorboard_tracker as module
    elif name == "WandbTracker":
        from skinxai.experiments import wandb_tracker as module
    else:
        raise AttributeError(f"module 'skinxai.experiments' has no attribute {name!r}")
    return getattr(module, name)
