"""`DriftMonitor`: takes note of each answer, and tests the last ones against a reference."""

import threading
from collections import deque
from dataclasses import replace
from typing import Self

import numpy as np

from skinxai.errors import OptionError
from skinxai.monitoring.accuracy import difference_of_confidences
from skinxai.monitoring.drift_report import DriftReport
from skinxai.monitoring.drift_tests import DriftTests
from skinxai.numeric import plain
from skinxai.results.observation import Observation
from skinxai.trust.deciding import ABSTAIN
from skinxai.trust.reference_sample import Columns, ReferenceSample

HISTORY = 1000
"""Reports of earlier looks that are kept, unless another number is asked for."""


class DriftMonitor:
    """Tests the last ``window`` images against a reference, four times in each window.

    ``classifier.predict(images, monitor=monitor)`` tells it of each image. Threads may share it.

    Args:
        reference: `Classifier.reference`, of the model that predicts.
        window: images in a window. A larger one finds smaller changes, later.
        false_alarms: probability that any test raises an alarm at any look while ``window`` images
            come that are like the reference's; see `DriftTests`. With 0.01 and 100 images, at most
            one false alarm in 10,000 images is expected.
        seed: of the windows that are drawn from the reference.
        looks: most reports of earlier looks that `history` keeps, the last ones; ``None``: all.

    Raises:
        OptionError: a window or a rate outside its range, or a reference that is too small.
    """

    def __init__(
        self, reference: ReferenceSample, *, window: int = 100, false_alarms: float = 0.01,
        seed: int = 0, looks: int | None = HISTORY,
    ) -> None:  # fmt: skip
        self._begin(DriftTests(reference, window, false_alarms, seed=seed), looks)

    @classmethod
    def of_tests(cls, tests: DriftTests) -> Self:
        """A monitor of tests that there are, which take seconds to make."""
        made = cls.__new__(cls)
        made._begin(tests, HISTORY)
        return made

    def _begin(self, tests: DriftTests, looks: int | None) -> None:
        self._tests, self._lock = tests, threading.Lock()
        self._seen: deque[Observation] = deque(maxlen=tests.plan.window)
        self._history: deque[DriftReport] = deque(maxlen=plain(looks))
        self._images, self._model = 0, ""

    @property
    def reference(self) -> ReferenceSample:
        """What the window is tested against."""
        return self._tests.reference

    def add(self, observation: Observation) -> None:
        """Take note of one image, and look at the window every quarter of a window.

        Raises:
            OptionError: a model that was not calibrated, another one than before, or one with
                other weights, other classes or embeddings of another width than the reference's.
        """
        columns = Columns.of([observation])
        reference = self.reference
        if columns.probabilities.shape[1] != reference.classes:
            raise OptionError(
                f"observations must have the reference's {reference.classes} classes, got "
                f"{columns.probabilities.shape[1]}; take the reference of the model that predicts."
            )
        reference.along(columns.embeddings)
        known, own = reference.weights, observation.weights
        if known is not None and own is not None and own != known:
            raise OptionError(
                f"observations must be of the reference's weights, sha256 {known[:12]}, but "
                f"{observation.model} has {own[:12]}; take the reference of the model that "
                f"predicts."
            )
        with self._lock:
            if self._images and observation.model != self._model:
                raise OptionError(
                    f"a monitor must see one model, {self._model}, got {observation.model}; make "
                    f"one monitor for each model."
                )
            self._model = observation.model
            self._seen.append(observation)
            self._images += 1
            since = self._images - self._tests.plan.window
            if since >= 0 and since % self._tests.plan.stride == 0:
                self._history.append(self._look())

    def report(self) -> DriftReport:
        """The last look, with the number of images that were seen by now."""
        with self._lock:
            last = self._history[-1] if self._history else self._report()
            return replace(last, images=self._images)

    @property
    def history(self) -> tuple[DriftReport, ...]:
        """Reports of the last looks, as many as are kept, oldest first."""
        with self._lock:
            return tuple(self._history)

    def _look(self) -> DriftReport:
        seen = Columns.of(list(self._seen))
        decisions = [each.decision for each in self._seen]
        decided = [each for each in decisions if each is not None]
        return replace(
            self._report(),
            rows=self._tests.rows(seen),
            estimated_accuracy=difference_of_confidences(seen.probabilities, self.reference),
            abstained=float(np.mean([each == ABSTAIN for each in decided])) if decided else None,
        )

    def _report(self) -> DriftReport:
        return DriftReport(
            (), self._images, self._tests.plan.window, self._tests.false_alarms,
            reference_accuracy=self.reference.accuracy,
        )  # fmt: skip
