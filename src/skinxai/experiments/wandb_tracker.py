"""`WandbTracker`; the only file with wandb."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from skinxai.errors import OptionError
from skinxai.experiments.tracker import Point, Tracker


@final
class WandbTracker(Tracker):
    """Logs a run to Weights & Biases.

    Needs the package ``wandb``. Printed text, code, the machine and its load are not uploaded.

    Args:
        project: name of the project.
        mode: ``"online"`` or ``"offline"``; ``WANDB_MODE`` by default.
        every: steps between two values of the loss.

    Raises:
        OptionError: if the package is not installed.
    """

    name = "wandb"

    def __init__(
        self, project: str = "skinxai", *, mode: str | None = None, every: int = 10
    ) -> None:
        super().__init__(every)
        try:
            import wandb
        except ImportError as error:
            raise OptionError(
                "WandbTracker needs the package wandb; run pip install wandb."
            ) from error
        self._wandb: Any = wandb
        self._project, self._mode = project, mode
        self._run: Any = None

    def begin(self, run_folder: Path, settings: Mapping[str, Any], run: str | None) -> str:
        """Begin a run, or go on with one."""
        settings_of: Any = self._wandb.Settings
        private = settings_of(
            console="off", save_code=False, disable_code=True, disable_git=True,
            disable_job_creation=True, silent=True, init_timeout=30, x_disable_meta=True,
            x_disable_machine_info=True, x_disable_stats=True, x_save_requirements=False,
        )  # fmt: skip
        name = run or secrets.token_hex(4)
        self._run = self._wandb.init(
            project=self._project, name=run_folder.name, id=name, resume="allow",
            mode=self._mode, dir=str(run_folder), config=dict(settings), settings=private,
        )  # fmt: skip
        self._run.define_metric("epoch/*", step_metric="epoch")
        return str(self._run.id)

    def log(self, points: Sequence[Point]) -> None:
        """Log figures by step; those of epochs have the number of the epoch too."""
        for point in points:
            more = {"epoch": point.number} if point.kind == "epoch" else {}
            if point.kind == "final":
                self._run.summary.update(dict(point.figures))
            else:
                self._run.log({**point.figures, **more}, step=point.step)

    def end(self, model: str) -> None:
        """Note the model and end the run."""
        self._run.summary["model"] = model
        self._run.finish()
