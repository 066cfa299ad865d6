"""`ChangePoints`: where in a stream something changed, by ADWIN. The only file that knows river.

It needs no reference and no window: it finds the place of a change, where `DriftMonitor` says
whether a window is unlike the reference. Its false alarms are not in that monitor's rate.
"""

import threading
from dataclasses import dataclass
from typing import Any

from skinxai.errors import OptionError
from skinxai.monitoring.measured_series import SERIES
from skinxai.numeric import plain
from skinxai.results.observation import Observation
from skinxai.trust.reference_sample import Columns

DELTA = 0.002
WATCHED = ("confidence", "novelty", "sharpness", "brightness", "colour_cast")


@dataclass(frozen=True)
class Change:
    """The mean of a series changed.

    Args:
        series: its name.
        noticed: number of the image at which it was noticed; the first has 1.
        since: number of the first image of the new mean, as ADWIN estimates it.
        before: mean before.
        after: mean since then.
    """

    series: str
    noticed: int
    since: int
    before: float
    after: float


class ChangePoints:
    """Looks for changes of the mean in some series of a stream. Threads may share it.

    ADWIN (Bifet & Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007)
    keeps the images since the last change. ``classifier.predict(images, monitor=points)`` tells
    it of each image.

    Args:
        series: names of `SERIES`.
        delta: ADWIN's confidence, of each series: smaller means fewer false changes and later true
            ones, above 0 and below 1. It is no measured rate.

    Raises:
        OptionError: no such series, another delta, or river is not installed.
    """

    def __init__(self, series: tuple[str, ...] = WATCHED, delta: float = DELTA) -> None:
        if unknown := [name for name in series if name not in SERIES]:
            raise OptionError(f"series must be of {list(SERIES)}, got {unknown[0]!r}.")
        delta = plain(delta)
        if type(delta) is not float or not 0 < delta < 1:
            raise OptionError(f"delta must be a number above 0 and below 1, got {delta!r}.")
        self._detectors = {name: _adwin(delta) for name in series}
        self._found: list[Change] = []
        self._images, self._lock = 0, threading.Lock()

    def add(self, observation: Observation) -> None:
        """Take note of one image.

        Raises:
            OptionError: a model that was not calibrated.
        """
        columns = Columns.of([observation])
        with self._lock:
            self._images += 1
            for name, detector in self._detectors.items():
                before, width = detector.estimation, detector.width
                value = float(SERIES[name].values(columns)[0])
                detector.update(value)
                if detector.drift_detected:
                    since, after = int(detector.width), float(detector.estimation)
                    left = width + 1 - since  # images that ADWIN gave up
                    earlier = (before * width + value - after * since) / left
                    self._found.append(
                        Change(name, self._images, self._images - since + 1, earlier, after)
                    )

    @property
    def found(self) -> tuple[Change, ...]:
        """Changes so far, in the order in which they were noticed."""
        with self._lock:
            return tuple(self._found)


def _adwin(delta: float) -> Any:
    try:
        from river.drift import ADWIN
    except ImportError as error:
        raise OptionError(
            "changes in a stream need the package river; pip install 'skinxai[monitor]'."
        ) from error
    made: Any = ADWIN
    return made(delta=delta)
