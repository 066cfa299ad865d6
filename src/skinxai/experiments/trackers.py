"""Trackers by name, for ``--track``."""

from collections.abc import Iterable

from skinxai.errors import OptionError, did_you_mean
from skinxai.experiments.tracker import Tracker

NAMES = ("tensorboard", "mlflow", "wandb")


def trackers_named(names: Iterable[str]) -> list[Tracker]:
    """A tracker for each name, with its usual settings.

    Raises:
        OptionError: if there is no such tracker, or its package is not installed.
    """
    found: list[Tracker] = []
    for name in dict.fromkeys(names):
        if name == "tensorboard":
            from skinxai.experiments.tensorboard_tracker import TensorBoardTracker

            found.append(TensorBoardTracker())
        elif name == "mlflow":
            from skinxai.experiments.mlflow_tracker import MLflowTracker

            found.append(MLflowTracker())
        elif name == "wandb":
            from skinxai.experiments.wandb_tracker import WandbTracker

            found.append(WandbTracker())
        else:
            raise OptionError(
                f"track must be one of {list(NAMES)}, got {name!r}.{did_you_mean(name, NAMES)}"
            )
    return found
