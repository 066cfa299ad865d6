"""`DriftWatch`: a model's drift monitor, in a thread of its own so that no answer waits for it."""

import logging
import queue
import threading

from skinxai.classifier import Classifier
from skinxai.monitoring import DriftMonitor, DriftReport, Observation
from skinxai.monitoring.stretches import largest_window

WINDOW = 100
"""Images in a window."""
WAITING = 1000
"""Observations that wait; more are left out."""

logger = logging.getLogger("skinxai.serving")


class DriftWatch:
    """A monitor of one model that is told of each image, and never delays it."""

    def __init__(self, monitor: DriftMonitor) -> None:
        self._monitor = monitor
        self._waiting: queue.Queue[Observation | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="skinxai-drift", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, classifier: Classifier) -> "DriftWatch | None":
        """Of a model that knows what its images look like; ``None`` of one that does not.

        The window is smaller where the reference is too small for `WINDOW` images.
        """
        reference = classifier.reference
        if reference is None:
            return None
        window = min(WINDOW, largest_window(len(reference)))
        if not window:
            logger.warning(
                "%s is not watched for drift: its reference has only %d images",
                classifier.model, len(reference),
            )  # fmt: skip
            return None
        return cls(DriftMonitor(reference, window=window))

    def add(self, observation: Observation) -> None:
        """Take note of an image, later."""
        try:
            self._waiting.put_nowait(observation)
        except queue.Full:
            logger.warning("the drift monitor is too slow; an image is left out")

    def report(self) -> DriftReport:
        """Of the window that was seen."""
        return self._monitor.report()

    def close(self) -> None:
        """Finish what waits."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (observation := self._waiting.get()) is not None:
            try:
                self._monitor.add(observation)
            except Exception:
                logger.exception("the drift monitor failed")
