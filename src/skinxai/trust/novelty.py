"""`Reference`: what a network's embeddings of dermatoscopic images look like. Needs no torch.

An image whose embedding is far from the reference is no image of the kind that the model knows.
A model folder keeps one reference for each network in ``novelty.safetensors``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import IntegrityError, OptionError
from skinxai.model_folders.tensors import load_arrays, save_arrays

FILE = "novelty.safetensors"
DIMENSIONS = 128
SHRINKAGE = 0.1
MAX_CLASSES, MAX_MEMBERS = 1000, 64
LARGEST, SMALLEST = 1e15, 1e-25  # of features, and of their mean variance: both fit in float32
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Reference:
    """Class means of embeddings and the covariance that all classes share.

    The distance of an embedding is the Mahalanobis distance to the nearest class mean (Lee et al.,
    2018, eq. 2). Two things differ from the paper. The covariance S is shrunk towards a multiple
    of the identity, ``(1 - a) S + a m I`` with m the mean variance, so that few embeddings will
    do. Of its D principal axes the d with the largest variance are kept, and all other directions
    share one variance, as in probabilistic principal component analysis (Tipping & Bishop, 1999).

    Args:
        means: of the embeddings of each class that was there, float32 ``(C, D)``.
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
                f"{FILE} must hold 1 to {MAX_CLASSES} class means (C, D) and at most D components "
                f"(d, D), got {self.means.shape} and {self.components.shape}; fetch or save the "
                f"model again."
            )
        expected = {"means": (classes, wide), "components": (kept, wide), "variances": (kept,),
                    "rest": (1,)}  # fmt: skip
        for name, shape in expected.items():
            array = getattr(self, name)
            if array.dtype != np.float32 or array.shape != shape:
                raise IntegrityError(
                    f"{name!r} of {FILE} must be float32 {shape}, got {array.dtype} {array.shape}; "
                    f"fetch or save the model again."
                )
            if not np.isfinite(array).all():
                raise IntegrityError(f"{name!r} of {FILE} must be finite; fetch the model again.")
        if (self.variances <= 0).any() or (self.rest <= 0).any():
            raise IntegrityError(f"variances of {FILE} must be > 0; fetch the model again.")

    @classmethod
    def fit(
        cls, embeddings: Floats, labels: npt.ArrayLike, *, dimensions: int = DIMENSIONS,
        shrinkage: float = SHRINKAGE,
    ) -> Self:  # fmt: skip
        """Estimate means and covariance.

        A single embedding will do, and so will fewer than D of them, or several classes of one
        embedding each. Where no embedding differs from its class mean, all variances are 1.

        Args:
            embeddings: float32 ``(N, D)``, N >= 1, finite.
            labels: class of each, integers ``(N,)``; a class may be absent.
            dimensions: principal axes to keep, >= 0; fewer where N or D is smaller.
            shrinkage: a in 0–1: 0 for the covariance as it is, 1 for a multiple of the identity.

        Raises:
            OptionError: arrays or options outside these rules.
        """
        rows = _rows(embeddings)
        classes = np.asarray(labels)
        if classes.shape != (len(rows),) or classes.dtype.kind not in "iu" or not len(rows):
            raise OptionError(
                f"labels must be one integer for each of at least 1 embedding, got {classes.dtype} "
                f"{classes.shape} for {len(rows)}."
            )
        if type(dimensions) is not int or dimensions < 0:
            raise OptionError(f"dimensions must be an integer >= 0, got {dimensions!r}.")
        if not 0 <= shrinkage <= 1:
            raise OptionError(f"shrinkage must be from 0 to 1, got {shrinkage!r}.")
        known, place = np.unique(classes, return_inverse=True)
        means = np.stack([rows[place == k].mean(axis=0) for k in range(len(known))])
        values, axes = _principal(rows - means[place])
        wide, mean = rows.shape[1], values.sum() / rows.shape[1]
        if mean < SMALLEST:  # no embedding differs from its class mean
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
        """D, the number of features of an embedding."""
        return int(self.means.shape[1])

    def distance(self, embeddings: Floats) -> Doubles:
        """Mahalanobis distance to the nearest class mean, divided by the square root of D.

        An embedding drawn from the reference's own Gaussian has a distance of about 1, whatever D.

        Args:
            embeddings: float32 ``(N, D)``, finite.

        Returns:
            float64 ``(N,)``, >= 0; larger is less like the reference.

        Raises:
            OptionError: other arrays, NaN or infinities.
        """
        rows = _rows(embeddings)
        if rows.shape[1] != self.width:
            raise OptionError(
                f"embeddings must have the reference's {self.width} features, got {rows.shape}."
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
        return f"Reference({len(self.means)} classes, {len(self.components)} of {self.width} axes)"


def held_out_distances(
    embeddings: Floats, labels: npt.ArrayLike, groups: Sequence[object], *, folds: int = 5
) -> Doubles:
    """Distance of each embedding to a reference that was fitted without it.

    Cross-fitting: the groups are dealt to folds in the order in which they first appear, and each
    fold is measured by the reference of all others. All images of a group are in one fold. Each
    of these references has seen fewer embeddings than one of all, so that a limit from these
    distances is a little too large rather than too small.

    Args:
        embeddings: float32 ``(N, D)``.
        labels: class of each, integers ``(N,)``.
        groups: lesion or patient of each, N of them; at least 2 different ones.
        folds: at least 2; fewer where there are fewer groups.

    Returns:
        float64 ``(N,)``.

    Raises:
        OptionError: as `Reference.fit`, or fewer than two groups.
    """
    rows, classes = _rows(embeddings), np.asarray(labels)
    order = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    if len(groups) != len(rows) or len(order) < 2 or type(folds) is not int or folds < 2:
        raise OptionError(
            f"held-out distances need one group for each embedding, at least 2 groups and 2 folds, "
            f"got {len(groups)} for {len(rows)}, {len(order)} groups and {folds!r} folds."
        )
    fold = np.array([order[group] % folds for group in groups])
    found = np.empty(len(rows))
    for each in np.unique(fold):
        out = fold == each
        found[out] = Reference.fit(embeddings[~out], classes[~out]).distance(embeddings[out])
    return found


def limit_for(distances: npt.ArrayLike, rejected: float = 0.01) -> float:
    """The distance above which an image is refused.

    The limit is the k-th smallest of n distances, ``k = ceil((n + 1) (1 - rejected))``. If the
    images are exchangeable with those that are asked later, at most the share ``rejected`` of
    these has a larger distance, on average (split conformal prediction; Vovk et al., 2005).

    Args:
        distances: ``(n,)`` of images that the reference was not fitted on, finite, >= 0.
        rejected: share of images of the right kind that may be refused, above 0 and below 1.

    Raises:
        OptionError: fewer than ``1 / rejected - 1`` distances, which cannot show so small a
            share, or values outside their range.
    """
    values = np.sort(np.asarray(distances, np.float64).ravel())
    if not 0 < rejected < 1:
        raise OptionError(f"rejected must be above 0 and below 1, got {rejected!r}.")
    if not np.isfinite(values).all() or (values < 0).any():
        raise OptionError("distances must be finite and >= 0.")
    place = math.ceil(round((len(values) + 1) * (1 - rejected), 9))
    if place > len(values):
        raise OptionError(
            f"a limit that rejects at most {rejected:g} of images needs at least "
            f"{math.ceil(round(1 / rejected - 1, 9))} distances, got {len(values)}; give more "
            f"images or a larger share."
        )
    return float(values[place - 1])


def novelty(distances: npt.ArrayLike, limit: float) -> Doubles:
    """Distances as scores from 0 to below 1: ``distance / (distance + limit)``.

    A score of 0.5 is the limit; more is refused. It is no probability.

    Args:
        distances: any shape, >= 0.
        limit: of `limit_for`, > 0.

    Raises:
        OptionError: a limit that is not positive and finite.
    """
    if not (math.isfinite(limit) and limit > 0):
        raise OptionError(f"the limit of novelty must be finite and > 0, got {limit!r}.")
    values = np.asarray(distances, np.float64)
    return np.asarray(values / (values + limit), np.float64)


def to_bytes(references: Sequence[Reference]) -> bytes:
    """Content of ``novelty.safetensors``: the arrays of each member's reference.

    Args:
        references: in the order of the members; their arrays are named ``0/means`` and so on.

    Raises:
        OptionError: none, or more than 64.
    """
    if not 0 < len(references) <= MAX_MEMBERS:
        raise OptionError(f"references must be 1 to {MAX_MEMBERS}, got {len(references)}.")
    return save_arrays({
        f"{number}/{field.name}": getattr(each, field.name)
        for number, each in enumerate(references)
        for field in fields(each)
    })  # fmt: skip


def from_bytes(data: bytes) -> tuple[Reference, ...]:
    """Strict inverse of `to_bytes`.

    Raises:
        IntegrityError: damaged bytes, other arrays than these, or as `Reference` does.
    """
    arrays = load_arrays(data, FILE)
    names = [field.name for field in fields(Reference)]
    count = len(arrays) // len(names)
    wanted = {f"{number}/{name}" for number in range(count) for name in names}
    if not 0 < count <= MAX_MEMBERS or set(arrays) != wanted:
        other = sorted(set(arrays) ^ wanted)[:1] or ["nothing"]
        raise IntegrityError(
            f"{FILE} must hold {', '.join(names)} of 1 to {MAX_MEMBERS} members as '0/means' and "
            f"so on, {other[0][:80]!r} does not fit; fetch or save the model again."
        )
    return tuple(
        Reference(**{name: arrays[f"{number}/{name}"] for name in names}) for number in range(count)
    )


def _rows(embeddings: Any) -> Doubles:
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or rows.dtype.kind != "f" or not rows.shape[1]:
        raise OptionError(f"embeddings must be floats (N, D), got {rows.dtype} {rows.shape}.")
    if not (np.abs(rows) < LARGEST).all():  # NaN is not smaller either
        raise OptionError(f"embeddings must be finite and smaller than {LARGEST:g}, some are not.")
    return np.asarray(rows, np.float64)


def _principal(centred: Doubles) -> tuple[Doubles, Doubles]:
    """Variances ``(r,)`` in falling order and their axes ``(r, D)``, by the smaller matrix."""
    count, wide = centred.shape
    if wide <= count:
        values, axes = np.linalg.eigh(centred.T @ centred / count)
        return np.maximum(values[::-1], 0), axes.T[::-1]
    values, left = np.linalg.eigh(centred @ centred.T / count)
    values, left = values[::-1], left[:, ::-1]
    seen = values > values[0] * 1e-10 if values[0] > 0 else np.zeros(count, bool)
    scale = np.sqrt(count * values[seen])
    return values[seen], (left[:, seen] / scale).T @ centred
