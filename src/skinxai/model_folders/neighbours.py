"""`Neighbours`: embeddings of the training lesions, small enough to ship. Needs no torch.

A model folder keeps them as ``neighbours.safetensors``: one vector for each lesion, projected
and in eight bits, its label, and the first bytes of its image's pixel hash, by which the rows are
sorted. The file holds no names and no ids of lesions or patients.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import IntegrityError, OptionError
from skinxai.model_folders.parts import NEIGHBOURS
from skinxai.model_folders.tensors import load_arrays, save_arrays
from skinxai.model_folders.trained_on import BYTES
from skinxai.numeric import plain, whole
from skinxai.plain_text import counted

DIMENSIONS = 192
MAX_LESIONS = 1_000_000
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Neighbours:
    """One vector for each of L training lesions, with d of the D dimensions of the embeddings.

    Args:
        mean: mean of the embeddings, float32 ``(D,)``.
        components: their first principal components, float16 ``(d, D)``.
        scale: size of one step of ``vectors``, float32 ``(d,)``.
        vectors: int8 ``(L, d)``; times ``scale`` it is the projected embedding less the mean.
        labels: position of each lesion's label, uint8 ``(L,)``; uint16 of more than 256 classes.
        pixels: first bytes of its image's pixel hash, uint8 ``(L, 8)``.

    Raises:
        IntegrityError: if arrays do not fit each other, or values are not finite.
    """

    mean: Floats
    components: npt.NDArray[np.float16]
    scale: Floats
    vectors: npt.NDArray[np.int8]
    labels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    pixels: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        count, kept = self.vectors.shape if self.vectors.ndim == 2 else (0, 0)
        if self.mean.ndim != 1 or count > MAX_LESIONS:
            raise IntegrityError(
                f"{NEIGHBOURS} must hold at most {MAX_LESIONS} lesions and a mean (D,), got "
                f"{count} and {self.mean.shape}; fetch or save the model again."
            )
        wide = np.uint16 if self.labels.dtype == np.uint16 else np.uint8
        expected = {"mean": (np.float32, (len(self.mean),)), "scale": (np.float32, (kept,)),
                    "components": (np.float16, (kept, len(self.mean))),
                    "vectors": (np.int8, (count, kept)), "labels": (wide, (count,)),
                    "pixels": (np.uint8, (count, BYTES))}  # fmt: skip
        for name, (kind, shape) in expected.items():
            array = getattr(self, name)
            if array.dtype != kind or array.shape != shape or not count or not kept:
                raise IntegrityError(
                    f"{name!r} of {NEIGHBOURS} must be {np.dtype(kind)} {shape}, got "
                    f"{array.dtype} {array.shape}; fetch or save the model again."
                )
        if not all(np.isfinite(a).all() for a in (self.mean, self.components, self.scale)):
            raise IntegrityError(f"values of {NEIGHBOURS} must be finite; fetch the model again.")

    @classmethod
    def build(
        cls, embeddings: Floats, labels: npt.ArrayLike, hashes: list[str], *,
        dimensions: int = DIMENSIONS,
    ) -> Self:  # fmt: skip
        """Compress embeddings.

        Args:
            embeddings: float32 ``(L, D)``, one for each lesion.
            labels: label positions ``(L,)``, 0 to 65535.
            hashes: hash of each lesion's image, from `skinxai.data.pixel_hash`.
            dimensions: number of dimensions to keep, at most D and L.

        Raises:
            OptionError: if there is no embedding, not one label and one hash for each, a label
                outside its range, or ``dimensions`` below 1.
        """
        positions = np.asarray(labels)
        if not len(embeddings) or not len(embeddings) == len(positions) == len(hashes):
            raise OptionError(
                f"neighbours must be at least one embedding, each with a label and a hash, got "
                f"{len(embeddings)}, {len(positions)} and {len(hashes)}."
            )
        dimensions = whole("dimensions", dimensions)
        if positions.min() < 0 or positions.max() > np.iinfo(np.uint16).max:
            raise OptionError(
                f"labels of neighbours must be positions from 0 to {np.iinfo(np.uint16).max}, got "
                f"{positions.min()} to {positions.max()}."
            )
        mean = embeddings.mean(axis=0, dtype=np.float64)
        centred = embeddings - mean
        _, axes = np.linalg.eigh(centred.T @ centred)  # ascending
        components = np.ascontiguousarray(axes.T[::-1][:dimensions], np.float16)
        projected = centred @ components.astype(np.float64).T
        scale = np.abs(projected).max(axis=0) / 127
        scale[scale == 0] = 1
        order = by_hash(hashes)
        ranked, narrow = positions[order], positions.max() <= np.iinfo(np.uint8).max
        prefixes = b"".join(bytes.fromhex(hashes[k])[:BYTES] for k in order)
        return cls(
            mean.astype(np.float32), components, scale.astype(np.float32),
            np.ascontiguousarray(np.rint(projected / scale)[order], np.int8),
            ranked.astype(np.uint8) if narrow else ranked.astype(np.uint16),
            np.frombuffer(prefixes, np.uint8).reshape(-1, BYTES).copy(),
        )  # fmt: skip

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Strict inverse of `to_bytes`.

        Raises:
            IntegrityError: if bytes are damaged, the arrays are others, or as the class raises.
        """
        try:
            return cls(**load_arrays(data, NEIGHBOURS))
        except TypeError as error:
            raise IntegrityError(f"{NEIGHBOURS} must be whole safetensors: {error}") from error

    def to_bytes(self) -> bytes:
        """Content of ``neighbours.safetensors``."""
        return save_arrays({f.name: getattr(self, f.name) for f in fields(self)})

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return (
            f"Neighbours({counted(len(self), 'lesion')}, "
            f"{counted(self.vectors.shape[1], 'dimension')})"
        )

    def nearest(
        self, embeddings: Floats, k: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Find the k lesions with the smallest cosine distance, nearest first.

        The distance is 1 − cosine of the angle between two projected embeddings, seen from the
        training lesions' mean: 0 for the same direction, 1 for a right angle, 2 for the opposite
        direction.

        Args:
            embeddings: float32 ``(N, D)``.
            k: at least 1 and at most the number of lesions.

        Returns:
            Positions and distances, each ``(N, k)``.

        Raises:
            OptionError: if k is outside its range.
        """
        if type(plain(k)) is not int or not 1 <= k <= len(self):
            raise OptionError(f"k must be an integer from 1 to {len(self)}, got {k!r}.")
        components = self.components.astype(np.float64)
        asked = _unit((embeddings - self.mean) @ components.T)
        known = _unit(self.vectors.astype(np.float64) * self.scale)
        distances = 1 - asked @ known.T  # (N, L)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return order, np.take_along_axis(distances, order, axis=1)


def by_hash(hashes: list[str]) -> list[int]:
    """Positions in the order of the hashes, which reveals nothing about the images' names."""
    return sorted(range(len(hashes)), key=hashes.__getitem__)


def _unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float64)
