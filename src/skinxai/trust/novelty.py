"""`Reference`: what the images that a network knows look like to it. Needs no torch.

An image that is far from the reference is no image of the kind that the model knows. A model folder
keeps one reference for each network in ``novelty.safetensors``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.configs import MAX_MEMBERS
from skinxai.errors import IntegrityError, OptionError
from skinxai.model_folders.parts import NOVELTY
from skinxai.model_folders.tensors import load_arrays, save_arrays
from skinxai.plain_text import counted
from skinxai.trust.gaussians import Doubles, Floats, Gaussians

AXES, SHRINKAGE, COLOUR_SHRINKAGE = 64, 0.5, 0.01


@dataclass(frozen=True, eq=False, repr=False)
class Reference:
    """What the images that a network knows look like to it.

    Embeddings are divided by their length before their Mahalanobis distance is measured, since
    their length says little about what an image shows (Mueller & Hein, "Mahalanobis++", 2025). A
    network that has learnt lesions alone is blind to much of what makes a photograph no
    dermoscopy; `skinxai.trust.colours.colours` of the pixels adds what it misses.

    Args:
        embeddings: of embeddings of length 1, with the classes' means.
        colours: of colour statistics, with one mean; ``None`` where the reference was fitted on
            embeddings alone.
    """

    embeddings: Gaussians
    colours: Gaussians | None = None

    @classmethod
    def fit(
        cls, embeddings: Floats, labels: npt.ArrayLike, colours: Floats | None = None, *,
        axes: int = AXES, shrinkage: float = SHRINKAGE,
    ) -> Self:  # fmt: skip
        """Estimate means and covariances.

        A single image will do. The more there are the better: see `limit_for` for how many a limit
        needs.

        Args:
            embeddings: float32 ``(N, D)``, N >= 1, finite.
            labels: class of each, integers ``(N,)``; a class may be absent.
            colours: of the same images, float32 ``(N, 12)``, or ``None``.
            axes: principal axes of embeddings to keep; they take 4 * axes * D bytes.
            shrinkage: of the covariance of embeddings, 0–1.

        Raises:
            OptionError: arrays or options outside these rules.
        """
        own = Gaussians.fit(_unit(embeddings), labels, dimensions=axes, shrinkage=shrinkage)
        if colours is None:
            return cls(own)
        return cls(
            own,
            Gaussians.fit(
                colours, np.zeros(len(embeddings), int), dimensions=np.shape(colours)[-1],
                shrinkage=COLOUR_SHRINKAGE,
            ),
        )  # fmt: skip

    def distance(self, embeddings: Floats, colours: Floats | None = None) -> Doubles:
        """How little each image is like the reference.

        It is the root mean square of the distances of embedding and colours, or that of the
        embedding alone; see `Gaussians.distance`. Images of the reference's kind have about 1 or
        less, whatever the network.

        Args:
            embeddings: float32 ``(N, D)``, finite.
            colours: float32 ``(N, 12)``; ``None`` if, and only if, the reference has none.

        Returns:
            float64 ``(N,)``, >= 0; larger is less like the reference.

        Raises:
            OptionError: other arrays, NaN or infinities.
        """
        if (colours is None) != (self.colours is None) or (
            colours is not None and len(colours) != len(embeddings)
        ):
            raise OptionError(
                f"colours must be given for each embedding if the reference has them, and not "
                f"otherwise, got {'none' if colours is None else len(colours)} for "
                f"{len(embeddings)} and a reference {'without' if self.colours is None else 'with'}"
                f" them."
            )
        own = self.embeddings.distance(_unit(embeddings))
        if colours is None or self.colours is None:
            return own
        return np.asarray(np.hypot(own, self.colours.distance(colours)) / np.sqrt(2), np.float64)

    def __repr__(self) -> str:
        return f"Reference({self.embeddings}, {self.colours})"


def held_out_distances(
    embeddings: Floats, labels: npt.ArrayLike, groups: Sequence[object],
    colours: Floats | None = None, *, folds: int = 5,
) -> Doubles:  # fmt: skip
    """Distance of each embedding to a reference that was fitted without it.

    Cross-fitting: the groups are dealt to folds in the order in which they first appear, and each
    fold is measured by the reference of all others. All images of a group are in one fold. Each
    of these references has seen fewer embeddings than one of all, so that a limit from these
    distances is a little too large rather than too small.

    Args:
        embeddings: float32 ``(N, D)``.
        labels: class of each, integers ``(N,)``.
        groups: lesion or patient of each, N of them; at least 2 different ones.
        colours: as in `Reference.fit`.
        folds: at least 2; fewer where there are fewer groups.

    Returns:
        float64 ``(N,)``.

    Raises:
        OptionError: as `Reference.fit`, or fewer than two groups.
    """
    classes = np.asarray(labels)
    order = {group: place for place, group in enumerate(dict.fromkeys(groups))}
    if len(groups) != len(embeddings) or len(order) < 2 or type(folds) is not int or folds < 2:
        raise OptionError(
            f"held-out distances need one group for each embedding, at least 2 groups and 2 folds, "
            f"got {len(groups)} for {len(embeddings)}, {counted(len(order), 'group')} and "
            f"folds={folds!r}."
        )
    fold = np.array([order[group] % folds for group in groups])
    found = np.empty(len(embeddings))
    for each in np.unique(fold):
        out = fold == each
        seen, asked = (None, None) if colours is None else (colours[~out], colours[out])
        reference = Reference.fit(embeddings[~out], classes[~out], seen)
        found[out] = reference.distance(embeddings[out], asked)
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

    Raises:
        OptionError: none, or more than 64.
    """
    if not 0 < len(references) <= MAX_MEMBERS:
        raise OptionError(f"references must be 1 to {MAX_MEMBERS}, got {len(references)}.")
    arrays = {}
    for number, each in enumerate(references):
        for part in fields(Reference):
            if (gaussians := getattr(each, part.name)) is not None:
                arrays.update({
                    f"{number}/{part.name}/{field.name}": getattr(gaussians, field.name)
                    for field in fields(Gaussians)
                })  # fmt: skip
    return save_arrays(arrays)


def from_bytes(data: bytes) -> tuple[Reference, ...]:
    """Strict inverse of `to_bytes`.

    Raises:
        IntegrityError: damaged bytes, other arrays than these, or as `Gaussians` does.
    """
    arrays = load_arrays(data, NOVELTY)
    found: list[Reference] = []
    while arrays and len(found) < MAX_MEMBERS:
        parts = {p.name: _taken(arrays, f"{len(found)}/{p.name}/") for p in fields(Reference)}
        own = parts.pop("embeddings")
        if own is None:
            break
        found.append(Reference(own, **parts))
    if arrays or not found:
        raise IntegrityError(
            f"{NOVELTY} must hold '0/embeddings/means' and so on of 1 to {MAX_MEMBERS} members, "
            f"{min(arrays, default='nothing')[:80]!r} does not fit; fetch or save the model again."
        )
    return tuple(found)


def _taken(arrays: dict[str, Any], prefix: str) -> Gaussians | None:
    """Remove the arrays with that prefix; ``None`` where one is missing."""
    names = [field.name for field in fields(Gaussians)]
    if not all(prefix + name in arrays for name in names):
        return None
    return Gaussians(**{name: arrays.pop(prefix + name) for name in names})


def _unit(embeddings: Floats) -> Floats:
    """Embeddings of length 1; one of length 0 stays as it is."""
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or rows.dtype.kind != "f":
        return rows  # which Gaussians refuses
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(length > 0, length, 1))
