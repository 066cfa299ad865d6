"""`MLflowTracker`; the only file with mlflow."""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from skinxai.errors import OptionError
from skinxai.experiments.tracker import Point, Tracker

LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""A server that does not answer costs seconds; set the variables yourself for other limits."""
BATCH = 500


@final
class MLflowTracker(Tracker):
    """Logs a run to MLflow.

    Needs the package ``mlflow`` (``mlflow-skinny`` will do).

    Args:
        uri: of the tracking server or database; ``MLFLOW_TRACKING_URI`` by default.
        experiment: name of the experiment.
        every: steps between two values of the loss.

    Raises:
        OptionError: if the package is not installed.
    """

    name = "mlflow"

    def __init__(
        self, uri: str | None = None, *, experiment: str = "skinxai", every: int = 10
    ) -> None:
        super().__init__(every)
        try:
            from mlflow import MlflowClient, entities
        except ImportError as error:
            raise OptionError(
                "MLflowTracker needs the package mlflow; run pip install mlflow."
            ) from error
        self._client_of: Any = MlflowClient
        self._entities: Any = entities
        self._uri, self._experiment = uri, experiment
        self._client: Any = None
        self._run = ""

    def begin(self, run_folder: Path, settings: Mapping[str, Any], run: str | None) -> str:
        """Create a run, or go on with one."""
        with _short_waits():
            self._client = self._client_of(tracking_uri=self._uri)
            if run is not None:
                self._client.update_run(run, status="RUNNING")
                self._run = run
                return run
            known = self._client.get_experiment_by_name(self._experiment)
            number = (
                self._client.create_experiment(self._experiment)
                if known is None
                else known.experiment_id
            )
            made = self._client.create_run(number, run_name=run_folder.name)
            self._run = str(made.info.run_id)
            each = [self._entities.Param(n, str(v)) for n, v in settings.items()]
            self._client.log_batch(self._run, params=each)
        return self._run

    def log(self, points: Sequence[Point]) -> None:
        """Log metrics: of epochs by epoch, of others by step."""
        now = int(time.time() * 1000)
        metrics = [
            self._entities.Metric(name, value, now, point.number)
            for point in points
            for name, value in point.figures.items()
            if math.isfinite(value)
        ]
        with _short_waits():
            for start in range(0, len(metrics), BATCH):
                self._client.log_batch(self._run, metrics=metrics[start : start + BATCH])

    def end(self, model: str) -> None:
        """Tag the run with the model and end it."""
        with _short_waits():
            self._client.set_tag(self._run, "model", model)
            self._client.set_terminated(self._run)


@contextmanager
def _short_waits() -> Iterator[None]:
    own = {name: value for name, value in LIMITS.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)
