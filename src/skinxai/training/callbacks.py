"""Callbacks, which are called while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinxai.classifier import Classifier


class Callback:
    """Base class of callbacks; each method does nothing unless a subclass overrides it.

    A callback may read its arguments but must not change them. If it raises, the run stops after a
    checkpoint, so that nothing is lost.
    """

    def on_start(self, run_folder: Path, settings: Mapping[str, Any]) -> None:
        """The run starts or resumes; ``settings`` are those of `TrainConfig`."""

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        """An optimiser step is finished; ``step`` counts from 1 over all epochs."""

    def on_epoch(self, row: Mapping[str, float]) -> None:
        """An epoch is finished and validated; ``row`` is its line of ``log.csv``."""

    def on_end(self, classifier: Classifier) -> None:
        """The run is finished; ``classifier`` is the model of its best epoch."""
