"""Probabilities that are as often right as they say: temperature and vector scaling."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.configs import check_keys
from skinxai.errors import CalibrationError, ModelConfigError, OptionError
from skinxai.plain_text import agreeing, counted
from skinxai.results.probabilities import from_logits

METHODS = ("temperature", "vector")
STEEPEST = 20.0
"""Largest slope: a temperature of 0.05. The smallest one is its inverse."""
RIDGE = 1e-3
"""Pull of vector scaling towards one temperature, for classes with few images or none."""


@dataclass(frozen=True)
class Scaling:
    """How the mean probabilities of all passes become calibrated ones.

    The result is the softmax of ``slope_k · log p_k + offset_k``. With one slope 1/T and no offsets
    this is temperature scaling, of a single network the softmax of its logits over T (Guo et al.,
    "On Calibration of Modern Neural Networks", ICML 2017). With a slope and an offset for each
    class it is vector scaling, on log-probabilities (Kull et al., NeurIPS 2019, diagonal).

    Args:
        slopes: > 0, one for each of K classes.
        offsets: one for each class.

    Raises:
        ModelConfigError: numbers outside their rule.
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, given in (("slopes", self.slopes), ("offsets", self.offsets)):
            plain = isinstance(given, Sequence) and all(type(v) in (int, float) for v in given)
            if not plain or not all(math.isfinite(v) for v in given):
                raise ModelConfigError(f"{name} must be finite numbers, got {given!r:.80}.")
            object.__setattr__(self, name, tuple(float(v) for v in given))
        if len(self.slopes) != len(self.offsets) or not all(v > 0 for v in self.slopes):
            raise ModelConfigError(
                f"slopes must be > 0, and as many as offsets, got {self.slopes} and "
                f"{counted(len(self.offsets), 'offset')}."
            )

    @property
    def temperature(self) -> float | None:
        """T, where it is one number; ``None`` of vector scaling."""
        same = len(set(self.slopes)) == 1 and not any(self.offsets)
        return 1 / self.slopes[0] if same else None

    @classmethod
    def fit(
        cls,
        probabilities: npt.NDArray[np.float64],
        target: npt.ArrayLike,
        method: str = "temperature",
    ) -> Self:
        """Choose the numbers that make the true classes most likely.

        Args:
            probabilities: ``(N, K)``, rows sum to 1, of images that took no part in training.
            target: int ``(N,)``, class positions.
            method: ``"temperature"``, or ``"vector"``, which needs more images.

        Raises:
            OptionError: another method.
            CalibrationError: images of one class only, answers that are all right, or no better
                than chance, so that no temperature is best, or a best temperature that is not
                within 0.05 to 20.
        """
        if method not in METHODS:
            raise OptionError(f"method must be one of {METHODS}, got {method!r}.")
        truth = np.asarray(target, np.int64)
        check_classes(truth)
        logs, classes = _logs(probabilities), probabilities.shape[1]
        slope = _one_slope(logs, truth)
        if method == "temperature":
            return cls((slope,) * classes, (0.0,) * classes)
        slopes, offsets = _many_slopes(logs, truth, slope)
        return cls(tuple(slopes.tolist()), tuple(offsets.tolist()))

    def __call__(self, probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Calibrated probabilities ``(N, K)``; a row of NaN stays one."""
        return from_logits(_logs(probabilities) * self.slopes + self.offsets)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Strict inverse of `dataclasses.asdict`."""
        check_keys("scaling", cls, values)
        return cls(**values)


def check_classes(target: npt.NDArray[np.int64]) -> None:
    """Refuse images that are all of one class.

    Raises:
        CalibrationError: if they are.
    """
    if (found := len(np.unique(target))) < 2:
        raise CalibrationError(
            f"calibration needs images of at least two classes, got {len(target)} of {found}."
        )


def _logs(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))


def _one_slope(logs: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> float:
    from scipy.optimize import minimize_scalar

    def loss(log_slope: float) -> float:
        return _negative_log_likelihood(logs * math.exp(log_slope), truth)

    steepest = math.log(STEEPEST)
    found = minimize_scalar(loss, bounds=(-steepest, steepest), options={"xatol": 1e-9})
    slope = math.exp(found.x)
    right, count = int((logs.argmax(axis=1) == truth).sum()), len(truth)
    these = f"{agreeing(count, 'this', 'these')} {counted(count, 'image')}"
    if slope > STEEPEST / 1.01 and right == count:
        raise CalibrationError(
            f"calibration needs images that the model answers wrongly, but it has the classes of "
            f"all {counted(count, 'image')} right; give more images."
        )
    if slope > STEEPEST / 1.01:
        raise CalibrationError(
            f"calibration needs a temperature of at least {1 / STEEPEST:g}, but the classes of "
            f"{these} have nearly equal probabilities, which ask for a lower one; train the model "
            f"for longer."
        )
    if slope < 1.01 / STEEPEST:
        raise CalibrationError(
            f"calibration needs a temperature of at most {STEEPEST:g}, but {these}, of which the "
            f"model has {right} right, {agreeing(count, 'asks', 'ask')} for a higher one: its "
            f"answers are no better than chance, or far too sure; check the labels and their order."
        )
    return slope


def _many_slopes(
    logs: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], slope: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    from scipy.optimize import minimize

    classes = logs.shape[1]
    hot = np.eye(classes)[truth]
    start = np.repeat([slope, 0.0], classes)

    def loss(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        slopes, offsets = values[:classes], values[classes:]
        scores = logs * slopes + offsets
        gap = (from_logits(scores) - hot) / len(truth)
        drift = values - start
        slopes_too = (gap * logs).sum(axis=0)
        gradient = np.concatenate([slopes_too, gap.sum(axis=0)]) + 2 * RIDGE * drift
        return _negative_log_likelihood(scores, truth) + RIDGE * float(drift @ drift), gradient

    bounds = [(1 / STEEPEST, STEEPEST)] * classes + [(None, None)] * classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return found[:classes], found[classes:]


def _negative_log_likelihood(
    scores: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]
) -> float:
    """Mean over the images; from scores, as the logarithm of a probability that is 0 is lost."""
    top = scores.max(axis=1)
    total = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top
    return float((total - scores[np.arange(len(truth)), truth]).mean())
