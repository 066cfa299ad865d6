"""`Gaussians`: class means of feature vectors with one covariance, for Mahalanobis distances."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import IntegrityError, OptionError
from skinxai.model_folders.parts import NOVELTY
from skinxai.plain_text import counted

MAX_CLASSES = 1000
LARGEST, SMALLEST = 1e15, 1e-25  # of features, and of their mean variance: both fit in float32
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Gaussians:
    """Class means of feature vectors and the covariance that all classes share.

    The distance of a vector is the Mahalanobis distance to the nearest class mean (Lee et al.,
    2018, eq. 2). Two things differ from the paper. The covariance S is shrunk towards a multiple
    of the identity, ``(1 - a) S + a m I`` with m the mean variance, so that few vectors will
    do. Of its D principal axes the d with the largest variance are kept, and all other directions
    share one variance, as in probabilistic principal component analysis (Tipping & Bishop, 1999).

    Args:
        means: of the vectors of each class that was there, float32 ``(C, D)``.
        components: the principal axes, one in each row, float32 ``(d, D)``; d may be 0.
        variances: along these axes, after shrinkage, float32 ``(d,)``, > 0.
        rest: variance of each other direction, after shrinkage, float32 ``(1,)``, > 0.

    Raises:
        IntegrityError: arrays that do not fit each other, or values outside their range.
    """

    means: Floats
    components: Floats
    variances: Floats
    rest: Floats

    def __post_init__(self) -> None:
        classes, wide = self.means.shape if self.means.ndim == 2 else (0, 0)
        kept = len(self.components) if self.components.ndim == 2 else -1
        if not 0 < classes <= MAX_CLASSES or not wide or not 0 <= kept <= wide:
            raise IntegrityError(
                f"{NOVELTY} must hold 1 to {MAX_CLASSES} class means (C, D) and at most D "
                f"components (d, D), got {self.means.shape} and {self.components.shape}; "
                f"fetch or save the model again."
            )
        expected = {"means": (classes, wide), "components": (kept, wide), "variances": (kept,),
                    "rest": (1,)}  # fmt: skip
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.dtype != np.float32 or array.shape != shape:
                raise IntegrityError(
                    f"{name!r} of {NOVELTY} must be float32 {shape}, got {array.dtype} "
                    f"{array.shape}; fetch or save the model again."
                )
            if not np.isfinite(array).all():
                raise IntegrityError(
                    f"{name!r} of {NOVELTY} must be finite; fetch the model again."
                )
        if (self.variances <= 0).any() or (self.rest <= 0).any():
            raise IntegrityError(f"variances of {NOVELTY} must be > 0; fetch the model again.")

    @classmethod
    def fit(
        cls, vectors: Floats, labels: npt.ArrayLike, *, dimensions: int, shrinkage: float
    ) -> Self:
        """Estimate means and covariance.

        A single vector will do, and so will fewer than D of them, or several classes of one
        vector each. Where no vector differs from its class mean, all variances are 1.

        Args:
            vectors: float32 ``(N, D)``, N >= 1, finite.
            labels: class of each, integers ``(N,)``; a class may be absent.
            dimensions: principal axes to keep, >= 0; fewer where N or D is smaller.
            shrinkage: a in 0–1: 0 for the covariance as it is, 1 for a multiple of the identity.

        Raises:
            OptionError: arrays or options outside these rules.
        """
        rows = _rows(vectors)
        classes = np.asarray(labels)
        if classes.shape != (len(rows),) or classes.dtype.kind not in "iu" or not len(rows):
            raise OptionError(
                f"labels must be one integer for each of at least 1 vector, got {classes.dtype} "
                f"{classes.shape} for {len(rows)}."
            )
        if type(dimensions) is not int or dimensions < 0:
            raise OptionError(f"dimensions must be an integer >= 0, got {dimensions!r}.")
        if not 0 <= shrinkage <= 1:
            raise OptionError(f"shrinkage must be from 0 to 1, got {shrinkage!r}.")
        known, place = np.unique(classes, return_inverse=True)
        means = np.stack([rows[place == k].mean(axis=0) for k in range(len(known))])
        values, axes = principal_axes(rows - means[place])
        wide, mean = rows.shape[1], values.sum() / rows.shape[1]
        if mean < SMALLEST:  # no vector differs from its class mean
            values, mean = values[:0], 1.0
            left = 1.0
        else:
            kept = min(dimensions, len(values), wide)
            others = wide - kept
            left = float(values[kept:].sum() / others) if others else mean
            values = values[:kept]
        shrunk = (1 - shrinkage) * values + shrinkage * mean
        rest = (1 - shrinkage) * left + shrinkage * mean
        floor = np.finfo(np.float32).eps * mean  # of a direction in which nothing varies
        return cls(
            means.astype(np.float32),
            np.ascontiguousarray(axes[: len(values)], np.float32),
            np.maximum(shrunk, floor).astype(np.float32),
            np.array([max(rest, floor)], np.float32),
        )

    @property
    def width(self) -> int:
        """D, the number of features of an vector."""
        return int(self.means.shape[1])

    def distance(self, vectors: Floats) -> Doubles:
        """Mahalanobis distance to the nearest class mean, divided by the square root of D.

        An vector drawn from the reference's own Gaussian has a distance of about 1, whatever D.

        Args:
            vectors: float32 ``(N, D)``, finite.

        Returns:
            float64 ``(N,)``, >= 0; larger is less like the reference.

        Raises:
            OptionError: other arrays, NaN or infinities.
        """
        rows = _rows(vectors)
        if rows.shape[1] != self.width:
            raise OptionError(
                f"vectors must have the reference's {counted(self.width, 'feature')}, got "
                f"{rows.shape}."
            )
        rest = float(self.rest[0])
        axes = self.components.astype(np.float64)
        gain = 1 / self.variances.astype(np.float64) - 1 / rest  # of the kept axes over the rest
        nearest = np.full(len(rows), np.inf)
        for mean in self.means.astype(np.float64):
            centred = rows - mean
            along = (centred @ axes.T) ** 2 @ gain
            nearest = np.minimum(nearest, np.einsum("nd,nd->n", centred, centred) / rest + along)
        return np.asarray(np.sqrt(np.maximum(nearest, 0) / self.width), np.float64)

    def __repr__(self) -> str:
        return (
            f"Gaussians({counted(len(self.means), 'class')}, {len(self.components)} of "
            f"{self.width} axes)"
        )


def _rows(vectors: Any) -> Doubles:
    rows = np.asarray(vectors)
    if rows.ndim != 2 or rows.dtype.kind != "f" or not rows.shape[1]:
        raise OptionError(f"vectors must be floats (N, D), got {rows.dtype} {rows.shape}.")
    if not (np.abs(rows) < LARGEST).all():  # NaN is not smaller either
        raise OptionError(f"vectors must be finite and smaller than {LARGEST:g}, some are not.")
    return np.asarray(rows, np.float64)


def principal_axes(centred: Doubles) -> tuple[Doubles, Doubles]:
    """Variances ``(r,)`` in falling order and their axes ``(r, D)``, by the smaller matrix.

    Args:
        centred: vectors less their mean, float64 ``(N, D)``.
    """
    count, wide = centred.shape
    if wide <= count:
        values, axes = np.linalg.eigh(centred.T @ centred / count)
        return np.maximum(values[::-1], 0), axes.T[::-1]
    values, left = np.linalg.eigh(centred @ centred.T / count)
    values, left = values[::-1], left[:, ::-1]
    seen = values > values[0] * 1e-10 if values[0] > 0 else np.zeros(count, bool)
    scale = np.sqrt(count * values[seen])
    return values[seen], (left[:, seen] / scale).T @ centred
