"""`TensorBoardTracker`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from skinxai.errors import OptionError
from skinxai.experiments.tracker import Point, Tracker


@final
class TensorBoardTracker(Tracker):
    """Logs a run for TensorBoard, in ``tensorboard/`` of its run folder.

    Needs the package ``tensorboard``.

    Args:
        every: steps between two values of the loss.

    Raises:
        OptionError: if the package is not installed.
    """

    name = "tensorboard"

    def __init__(self, every: int = 10) -> None:
        super().__init__(every)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise OptionError(
                "TensorBoardTracker needs the package tensorboard; run pip install tensorboard."
            ) from error
        self._make: Any = SummaryWriter
        self._writer: Any = None

    def begin(self, run_folder: Path, settings: Mapping[str, Any], run: str | None) -> str:
        """Open an event file."""
        self._writer = self._make(str(run_folder / "tensorboard"))
        if run is None:
            self._writer.add_text("settings", f"```\n{json.dumps(settings, indent=1)}\n```")
        self._writer.flush()
        return "tensorboard"

    def log(self, points: Sequence[Point]) -> None:
        """Write scalars: of epochs by epoch, of others by step."""
        for point in points:
            for name, value in point.figures.items():
                self._writer.add_scalar(name, value, point.number)
        self._writer.flush()

    def end(self, model: str) -> None:
        """Write the model and close the file."""
        self._writer.add_text("model", model)
        self._writer.close()
