"""Callbacks, which are called while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from skinxai.errors import OptionError

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


@final
class TensorBoard(Callback):
    """Writes loss, learning rate and validation figures for TensorBoard.

    Needs the package ``tensorboard``.

    Args:
        every: steps between two values of the loss.
    """

    def __init__(self, every: int = 10) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise OptionError(
                "TensorBoard needs the package tensorboard; run pip install tensorboard."
            ) from error
        self._make, self._every = SummaryWriter, every
        self._writer: Any = None

    def on_start(self, run_folder: Path, settings: Mapping[str, Any]) -> None:
        """Open ``tensorboard/`` in the run folder."""
        self._writer = self._make(str(run_folder / "tensorboard"))

    def on_step(self, step: int, loss: float, learning_rate: float) -> None:
        """Log loss and learning rate."""
        if self._writer is not None and step % self._every == 0:
            self._writer.add_scalar("loss", loss, step)
            self._writer.add_scalar("learning_rate", learning_rate, step)

    def on_epoch(self, row: Mapping[str, float]) -> None:
        """Log the figures of the epoch."""
        if self._writer is not None:
            for name, value in row.items():
                self._writer.add_scalar(f"epoch/{name}", value, int(row["epoch"]))
            self._writer.flush()

    def on_end(self, classifier: Classifier) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
