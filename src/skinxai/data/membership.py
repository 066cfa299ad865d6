"""`TrainedOn`: which images a model was trained on, as hashes of their pixels and nothing else.

A model folder keeps it as ``training_pixels.safetensors``: the first eight bytes of each image's
`skinxai.data.pixel_hash`, sorted, as one uint8 array ``(n, 8)``. Who holds an image can ask whether
it is among them; names, lesions and patients are not in it, and the pixels cannot be computed from
it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from skinxai.errors import IntegrityError, OptionError
from skinxai.folders import TRAINING_PIXELS, ModelFiles
from skinxai.tensors import pack_bytes, unpack_bytes

BYTES = 8
_NAME = "prefixes"
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, repr=False)
class TrainedOn:
    """The images that weights were trained on; ``pixel_hash in trained_on`` asks for one.

    64 bits of each hash are kept. An image that is not among *n* is taken for one of them with a
    probability of n / 2⁶⁴, so that *m* such images give a false alarm with at most m · n / 2⁶⁴:
    5 in 10¹² for ten thousand against ten thousand, 5 in 10⁸ for a million against a million. An
    image that is among them is never missed, as long as its pixels are the same: a resized or
    re-encoded copy has another hash.

    Args:
        prefixes: the first eight bytes of each hash, ascending, each once.

    Raises:
        IntegrityError: another length than a multiple of eight, or another order.
    """

    prefixes: bytes = field(default=b"")

    def __post_init__(self) -> None:
        if len(self.prefixes) % BYTES:
            raise IntegrityError(
                f"training pixel hashes must be a multiple of {BYTES} bytes, got "
                f"{len(self.prefixes)}; fetch or save the model again."
            )
        values = np.frombuffer(self.prefixes, ">u8")
        if not bool((values[1:] > values[:-1]).all()):
            raise IntegrityError(
                "training pixel hashes must be strictly ascending, and are not; "
                "fetch or save the model again."
            )

    @classmethod
    def from_hashes(cls, hashes: Iterable[str]) -> Self:
        """Of pixel hashes in any order, repeated or not.

        Args:
            hashes: from `skinxai.data.pixel_hash`, 64 hexadecimal digits each.

        Raises:
            OptionError: something else, such as a file name.
        """
        return cls(b"".join(sorted({_prefix(value) for value in hashes})))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Strict inverse of `to_bytes`.

        Raises:
            IntegrityError: other bytes, or as the class does.
        """
        return cls(unpack_bytes(_NAME, data, (-1, BYTES), TRAINING_PIXELS))

    def to_bytes(self) -> bytes:
        """Content of ``training_pixels.safetensors``."""
        return pack_bytes(_NAME, np.frombuffer(self.prefixes, np.uint8).reshape(-1, BYTES))

    def __contains__(self, pixel_hash: object) -> bool:
        wanted = _prefix(pixel_hash)
        place = bisect_left(range(len(self)), wanted, key=self._at)
        return place < len(self) and self._at(place) == wanted

    def __len__(self) -> int:
        return len(self.prefixes) // BYTES

    def __or__(self, other: TrainedOn) -> TrainedOn:
        if not isinstance(other, TrainedOn):
            return NotImplemented
        both = {each._at(place) for each in (self, other) for place in range(len(each))}
        return TrainedOn(b"".join(sorted(both)))

    def __repr__(self) -> str:
        return f"TrainedOn({len(self)} images)"

    def _at(self, place: int) -> bytes:
        return self.prefixes[place * BYTES : (place + 1) * BYTES]


def _prefix(pixel_hash: object) -> bytes:
    if not isinstance(pixel_hash, str) or not _HASH.fullmatch(pixel_hash):
        raise OptionError(
            f"a pixel hash must be the 64 hexadecimal digits of skinxai.data.pixel_hash(), "
            f"got {pixel_hash!r}."
        )
    return bytes.fromhex(pixel_hash)[:BYTES]


def read_trained_on(files: ModelFiles) -> TrainedOn | None:
    """What verified files of one model say; ``None`` where they say nothing.

    Raises:
        IntegrityError: a damaged ``training_pixels.safetensors``.
    """
    data = files.files.get(TRAINING_PIXELS)
    return None if data is None else TrainedOn.from_bytes(data)
