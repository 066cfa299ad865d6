"""`ReferenceSample`: what a model's answers look like while nothing has drifted. Needs no torch.

A model folder keeps it as ``reference.safetensors``, one row for each of some hundred images that
the network did not learn from: numbers alone, no names, no ids, no pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import IntegrityError, OptionError
from skinxai.model_folders.ensembles import weights_of
from skinxai.model_folders.files import ModelFiles
from skinxai.model_folders.parts import REFERENCE
from skinxai.model_folders.tensors import load_arrays, save_arrays
from skinxai.numeric import whole_seed
from skinxai.plain_text import counted
from skinxai.results.observation import Observation
from skinxai.trust.gaussians import principal_axes
from skinxai.trust.image_measures import MEASURES

Floats = npt.NDArray[np.float32]
AXES, MOST_ROWS, UNKNOWN = 32, 2048, -1
QUALITY = tuple(MEASURES)
"""Columns of ``quality``."""
COLOURS = 12
AGAIN = "fetch the model again, or calibrate it"


@dataclass(frozen=True, eq=False, repr=False)
class ReferenceSample:
    """What n images look like to a model, with d of the D dimensions of its embeddings.

    Args:
        mean: of the embeddings, float32 ``(D,)``.
        axes: their first principal axes, float16 ``(d, D)``.
        scale: root mean square length of the embeddings along these axes, float32 ``(1,)``, > 0.
        embeddings: along the axes, less the mean and divided by ``scale``, float16 ``(n, d)``.
        probabilities: calibrated, of one view, float32 ``(n, K)``.
        novelty: scores of images that the novelty's reference does not know, float32 ``(n,)``.
        quality: of `QUALITY`, float32 ``(n, 9)``.
        colours: of `skinxai.trust.colours.colours`, float32 ``(n, 12)``.
        labels: position of the true label, int16 ``(n,)``; −1 where it is not known.
        lesions: numbers that images of one lesion share, int32 ``(n,)``, rising.
        weights: digest of the weights that it is of, 64 hexadecimal digits; ``None`` where it is
            not known.

    Raises:
        IntegrityError: arrays that do not fit each other, or values outside their range.
    """

    mean: Floats
    axes: npt.NDArray[np.float16]
    scale: Floats
    embeddings: npt.NDArray[np.float16]
    probabilities: Floats
    novelty: Floats
    quality: Floats
    colours: Floats
    labels: npt.NDArray[np.int16]
    lesions: npt.NDArray[np.int32]
    weights: str | None = None

    def __post_init__(self) -> None:
        count, kept = self.embeddings.shape if self.embeddings.ndim == 2 else (0, 0)
        classes = self.probabilities.shape[1] if self.probabilities.ndim == 2 else 0
        wide = self.mean.size
        if not (0 < count <= MOST_ROWS and 0 < kept <= wide and classes > 1):
            raise IntegrityError(
                f"{REFERENCE} must hold 1 to {MOST_ROWS} images with an embedding and two or more "
                f"probabilities, got {self.embeddings.shape} and {self.probabilities.shape}; "
                f"{AGAIN}."
            )
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "mean": (np.float32, (wide,)), "axes": (np.float16, (kept, wide)),
            "scale": (np.float32, (1,)), "embeddings": (np.float16, (count, kept)),
            "probabilities": (np.float32, (count, classes)), "novelty": (np.float32, (count,)),
            "quality": (np.float32, (count, len(QUALITY))),
            "colours": (np.float32, (count, COLOURS)),
            "labels": (np.int16, (count,)), "lesions": (np.int32, (count,)),
        }  # fmt: skip
        for name, (kind, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != kind or array.shape != shape:
                raise IntegrityError(
                    f"{name!r} of {REFERENCE} must be {np.dtype(kind)} {shape}, got {array.dtype} "
                    f"{array.shape}; {AGAIN}."
                )
            if not np.isfinite(array).all():
                raise IntegrityError(f"{name!r} of {REFERENCE} must be finite; {AGAIN}.")
        self._check_values(classes)

    def _check_values(self, classes: int) -> None:
        rows = self.probabilities
        rules = {
            "scale must be > 0": self.scale[0] > 0,
            "probabilities must be 0 to 1 and have the sum 1": (rows >= 0).all()
            and np.allclose(rows.sum(axis=1), 1, atol=1e-4),
            "novelty must be from 0 to 1": ((self.novelty >= 0) & (self.novelty <= 1)).all(),
            f"labels must be from {UNKNOWN} to {classes - 1}": self.labels.min() >= UNKNOWN
            and self.labels.max() < classes,
            "lesions must rise": (np.diff(self.lesions) >= 0).all(),
        }
        for rule, kept in rules.items():
            if not kept:
                raise IntegrityError(f"in {REFERENCE}, {rule}, and they do not; {AGAIN}.")

    @classmethod
    def fit(
        cls, observations: Sequence[Observation], labels: Sequence[int] | None = None,
        lesions: Sequence[str] | None = None, *, axes: int = AXES, rows: int = MOST_ROWS,
        seed: int = 0,
    ) -> Self:  # fmt: skip
        """Of images that the network did not learn from.

        Whole lesions are taken in random order, up to the number of rows.

        Args:
            observations: of each image.
            labels: position of each true label; ``None`` where they are not known.
            lesions: of each image; ``None``: each image is a lesion of its own.
            axes: principal axes of the embeddings to keep; fewer where there are fewer images.
            rows: most images to keep, 1 to 2048.
            seed: of the order.

        Raises:
            OptionError: no image, an observation of a model that was not calibrated, observations
                of several networks, not one label and lesion for each, or a number outside its
                range.
        """
        count, seed = len(observations), whole_seed(seed)
        named = list(range(count)) if lesions is None else list(lesions)
        known = [UNKNOWN] * count if labels is None else list(labels)
        if not count or not count == len(named) == len(known):
            raise OptionError(
                f"a reference needs at least one image, each with a label and a lesion, got "
                f"{count}, {len(known)} and {len(named)}."
            )
        if not 0 < rows <= MOST_ROWS or axes < 1:
            raise OptionError(
                f"rows must be from 1 to {MOST_ROWS} and axes at least 1, got {rows} and {axes}."
            )
        weights = {each.weights for each in observations}
        if len(weights) > 1:
            raise OptionError(
                f"a reference must be of one network, got answers of {len(weights)}; make one "
                f"reference for each."
            )
        chosen, numbers = _drawn(named, rows, seed)
        columns = Columns.of([observations[k] for k in chosen])
        mean = columns.embeddings.mean(axis=0, dtype=np.float64)
        centred = columns.embeddings - mean
        found = np.ascontiguousarray(_axes(centred, axes), np.float16)
        along = centred @ found.T.astype(np.float64)
        scale = np.float32(np.sqrt((along**2).sum(axis=1).mean())) or np.float32(1)
        return cls(
            mean.astype(np.float32), found, np.array([scale]),
            (along / scale).astype(np.float16), columns.probabilities, columns.novelty,
            columns.quality, columns.colours, np.array([known[k] for k in chosen], np.int16),
            np.array(numbers, np.int32), weights.pop(),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.embeddings)

    def __repr__(self) -> str:
        lesions = len(np.unique(self.lesions))
        return f"ReferenceSample({counted(len(self), 'image')} of {counted(lesions, 'lesion')})"

    @property
    def classes(self) -> int:
        """K, the number of labels."""
        return int(self.probabilities.shape[1])

    @property
    def accuracy(self) -> float | None:
        """Share of its images whose top class is the true one; ``None`` where no label is known."""
        known = self.labels != UNKNOWN
        if not known.any():
            return None
        return float((self.probabilities.argmax(axis=1) == self.labels)[known].mean())

    def along(self, embeddings: Floats) -> npt.NDArray[np.float64]:
        """Embeddings as the sample has its own.

        Args:
            embeddings: float32 ``(N, D)``.

        Returns:
            float64 ``(N, d)``.

        Raises:
            OptionError: embeddings of another width.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != len(self.mean):
            raise OptionError(
                f"embeddings must be (N, {len(self.mean)}) as the reference's, got "
                f"{embeddings.shape}; take the reference of the model that predicts."
            )
        return np.asarray(
            (embeddings - self.mean.astype(np.float64)) @ self.axes.T.astype(np.float64)
            / float(self.scale[0])
        )  # fmt: skip

    def to_bytes(self, weights: str) -> bytes:
        """Content of ``reference.safetensors``.

        Args:
            weights: digest of the weights that it is of, 64 hexadecimal digits.
        """
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        own["weights"] = np.frombuffer(bytes.fromhex(weights), np.uint8)
        return save_arrays(own)

    @classmethod
    def from_bytes(cls, data: bytes, weights: str, classes: int) -> Self:
        """Strict inverse of `to_bytes`.

        Args:
            data: content of the file.
            weights: digest of the weights beside it.
            classes: K, of the model.

        Raises:
            IntegrityError: damaged bytes, other arrays, other weights, or another number of
                classes; or as the class raises.
        """
        arrays = load_arrays(data, REFERENCE)
        own = arrays.pop("weights", np.zeros(0, np.uint8))
        if own.tobytes() != bytes.fromhex(weights):
            raise IntegrityError(
                f"{REFERENCE} must be of the weights beside it, and was made with others: drift "
                f"from it would say nothing; {AGAIN}."
            )
        try:
            made = cls(**arrays, weights=weights)
        except TypeError as error:
            raise IntegrityError(
                f"{REFERENCE} must hold the arrays of a reference alone; {AGAIN}."
            ) from error
        if made.classes != classes:
            raise IntegrityError(
                f"{REFERENCE} must be for {classes} classes, got {made.classes}; {AGAIN}."
            )
        return made


@dataclass(frozen=True, eq=False)
class Columns:
    """Observations as arrays, rounded as a `ReferenceSample` rounds.

    Args:
        embeddings: float32 ``(N, D)``.
        probabilities: float32 ``(N, K)``.
        novelty: float32 ``(N,)``.
        quality: float32 ``(N, 9)``.
        colours: float32 ``(N, 12)``.
    """

    embeddings: Floats
    probabilities: Floats
    novelty: Floats
    quality: Floats
    colours: Floats

    @classmethod
    def of(cls, observations: Sequence[Observation]) -> Self:
        """Of at least one.

        Raises:
            OptionError: an observation of a model that was not calibrated.
        """
        for each in observations:
            if each.embedding is None or each.colours is None or each.novelty is None:
                raise OptionError(
                    f"drift needs a calibrated model, and {each.model} was not",
                    python="make one with Classifier.calibrate(records)",
                    command="make one with 'skinxai calibrate'",
                )
        return cls(
            np.stack([_known(each.embedding) for each in observations]),
            np.stack([each.probabilities for each in observations]).astype(np.float32),
            np.array([each.novelty for each in observations], np.float32),
            np.array([_row(each.quality) for each in observations], np.float32),
            np.stack([_known(each.colours) for each in observations]),
        )


def reference_of(files: ModelFiles) -> ReferenceSample | None:
    """Of a model's or an ensemble's folder.

    Raises:
        IntegrityError: as in `ReferenceSample.from_bytes`.
    """
    if REFERENCE not in files.files:
        return None
    weights, classes, _ = weights_of(files)
    return ReferenceSample.from_bytes(files.files[REFERENCE], weights, classes)


def _axes(centred: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.float64]:
    """The first principal axes; one that is as good as any where no image differs."""
    found = principal_axes(centred)[1][:most]
    return found if len(found) else np.eye(1, centred.shape[1])


def _known(array: Floats | None) -> Floats:
    assert array is not None
    return array


def _row(quality: Mapping[str, float]) -> list[float]:
    return [quality[name] for name in QUALITY]


def _drawn(lesions: Sequence[Any], rows: int, seed: int) -> tuple[list[int], list[int]]:
    """Positions of whole lesions in random order, and a number for each image's lesion."""
    images: dict[Any, list[int]] = {}
    for place, lesion in enumerate(lesions):
        images.setdefault(lesion, []).append(place)
    groups = list(images.values())
    chosen: list[int] = []
    numbers: list[int] = []
    for number, place in enumerate(np.random.default_rng(seed).permutation(len(groups))):
        if chosen and len(chosen) + len(groups[place]) > rows:
            break
        chosen += groups[place][: rows - len(chosen)]
        numbers += [number] * (len(chosen) - len(numbers))
    return chosen, numbers
