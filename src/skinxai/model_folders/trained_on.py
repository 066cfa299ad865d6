"""`TrainedOn`: which images a model was trained on, as hashes of their pixels and fingerprints.

A model folder keeps the first eight bytes of each image's `skinxai.data.pixel_hash` as
``training_pixels.safetensors``, sorted, one uint8 array ``(n, 8)``. Whoever holds an image
can check whether its pixels are among them; the pixels cannot be computed from the hashes. Beside
it the folder keeps the images' `Fingerprints`, which also find copies, and from which a coarse
relief of each image can be drawn. Neither file holds names, or ids of lesions or patients.
"""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import IntegrityError, OptionError
from skinxai.images.pixels import pixel_hash
from skinxai.model_folders.fingerprints import Fingerprints, image_fingerprint
from skinxai.model_folders.parts import TRAINING_FINGERPRINTS, TRAINING_PIXELS
from skinxai.model_folders.tensors import pack_bytes, unpack_bytes
from skinxai.plain_text import counted
from skinxai.results import SeenImages

BYTES = 8
_NAME = "prefixes"
_HASH = re.compile(r"[0-9a-f]{64}")


SILENT = SeenImages(
    notes=("the model does not say which images it was trained on, so none can be recognised",)
)
"""The result for a model without `TrainedOn`."""


class Look(NamedTuple):
    """What an image is recognised by.

    Args:
        digest: `pixel_hash` of the image.
        fingerprint: `image_fingerprint` of the image.
    """

    digest: str
    fingerprint: bytes

    @classmethod
    def at(
        cls, pixels: npt.NDArray[np.uint8], digest: str | None = None, *, resized: bool = False
    ) -> "Look":
        """Compute it from RGB uint8 ``(H, W, 3)``: the image's pixels, or those of a smaller copy.

        The `pixel_hash` of the image itself is passed if it is known; ``resized``: the aspect ratio
        of the pixels may differ from that of the image.
        """
        own = pixel_hash(pixels) if digest is None else digest
        return cls(own, image_fingerprint(pixels, resized=resized))


@dataclass(frozen=True, repr=False)
class TrainedOn:
    """The images that weights were trained on; ``pixel_hash in trained_on`` looks one up.

    64 bits of each hash are kept. An image that is not among *n* is taken for one of them with a
    probability of n / 2⁶⁴, so that *m* such images give a false alarm with at most m · n / 2⁶⁴:
    5 in 10¹² for ten thousand against ten thousand, 5 in 10⁸ for a million against a million. An
    image that is among them is always found if its pixels are the same. A resized, re-encoded,
    cropped or turned copy has another hash; its fingerprint finds it (`seen`).

    Args:
        prefixes: the first eight bytes of each hash, ascending, each once.
        fingerprints: fingerprints of the images; ``None`` if unknown.

    Raises:
        IntegrityError: if the length is not a multiple of eight, or the order is wrong.
    """

    NAMES: ClassVar[tuple[str, str]] = (TRAINING_PIXELS, TRAINING_FINGERPRINTS)
    """Files of a model folder that hold it."""

    prefixes: bytes = field(default=b"")
    fingerprints: Fingerprints | None = None

    def __post_init__(self) -> None:
        if len(self.prefixes) % BYTES:
            raise IntegrityError(
                f"pixel hashes must be a multiple of {BYTES} bytes, got "
                f"{len(self.prefixes)}; fetch or save the model again."
            )
        values = np.frombuffer(self.prefixes, ">u8")
        if not bool((values[1:] > values[:-1]).all()):
            raise IntegrityError(
                "pixel hashes must be strictly ascending, but they are not; "
                "fetch or save the model again."
            )

    @classmethod
    def from_hashes(cls, hashes: Iterable[str]) -> Self:
        """Make it from pixel hashes in any order; repetitions are left out.

        Args:
            hashes: from `skinxai.data.pixel_hash`, 64 hexadecimal digits each.

        Raises:
            OptionError: if one is not a hash, but for example a file name.
        """
        return cls(b"".join(sorted({_prefix(value) for value in hashes})))

    @classmethod
    def of_looks(cls, looks: Iterable[Look]) -> Self:
        """Make it from looks at images in any order; repetitions are left out."""
        found = list(looks)
        hashes = cls.from_hashes(look.digest for look in found)
        return cls(hashes.prefixes, Fingerprints.of(look.fingerprint for look in found))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = TRAINING_PIXELS) -> Self:
        """Strict inverse of `to_bytes`.

        Args:
            data: content of the file.
            name: of the file, for messages.

        Raises:
            IntegrityError: if the bytes are damaged, or as the class raises.
        """
        return cls(unpack_bytes(_NAME, data, (-1, BYTES), name))

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], names: tuple[str, str] = NAMES) -> Self | None:
        """Strict inverse of `files`; ``None`` if the files hold none.

        Args:
            files: files of a model folder; other files are ignored.
            names: of the files with the hashes and with the fingerprints.

        Raises:
            IntegrityError: if a file is damaged, or there are fingerprints without hashes.
        """
        hashes, fingerprints = names
        data, prints = files.get(hashes), files.get(fingerprints)
        if data is None and prints is not None:
            raise IntegrityError(
                f"a model folder with {fingerprints} must hold {hashes} too, but it does not; "
                f"fetch or save the model again."
            )
        if data is None:
            return None
        known = cls.from_bytes(data, hashes)
        if prints is None:
            return known
        return cls(known.prefixes, Fingerprints.from_bytes(prints, fingerprints))

    def files(self, names: tuple[str, str] = NAMES) -> dict[str, bytes]:
        """The files of a model folder that hold it: name → bytes.

        Args:
            names: as in `from_files`.
        """
        found = {names[0]: self.to_bytes()}
        if self.fingerprints is not None:
            found[names[1]] = self.fingerprints.to_bytes()
        return found

    @property
    def without_fingerprint(self) -> int:
        """Number of images without a fingerprint, whose changed copies cannot be found."""
        return max(0, len(self) - len(self.fingerprints or ()))

    def seen(
        self, looks: Mapping[str, Look], *, not_copies: Collection[str] = (),
        progress: bool | None = None,
    ) -> SeenImages:  # fmt: skip
        """Find which images are among these, pixel for pixel or as copies.

        Args:
            looks: image id → what it is recognised by.
            not_copies: ids of images that look like copies but are not; they still count if their
                pixels are the same.
            progress: as in `Fingerprints.similarities`.
        """
        exact = tuple(name for name, look in looks.items() if look.digest in self)
        settled = {*exact, *not_copies}
        others = [name for name in looks if name not in settled]
        prints = self.fingerprints or Fingerprints()
        alike = prints.copies([looks[name].fingerprint for name in others], progress)
        copies = tuple(name for name, found in zip(others, alike, strict=True) if found)
        return SeenImages(exact, copies, tuple(self._notes()))

    def is_within(self, other: "TrainedOn") -> bool:
        """Whether ``other`` has all of these images and a fingerprint of each of its own.

        Whatever `seen` finds among these, it then finds among the other's.
        """
        own, its = ({each._at(n) for n in range(len(each))} for each in (self, other))
        return own <= its and not other.without_fingerprint

    def _notes(self) -> Iterator[str]:
        if missing := self.without_fingerprint:
            yield (
                f"the model has no fingerprints of {missing} of its {len(self)} training images, "
                f"so only exact copies of these can be found"
            )

    def to_bytes(self) -> bytes:
        """Content of ``training_pixels.safetensors``."""
        return pack_bytes(_NAME, np.frombuffer(self.prefixes, np.uint8).reshape(-1, BYTES))

    def __contains__(self, pixel_hash: object) -> bool:
        wanted = _prefix(pixel_hash)
        place = bisect_left(range(len(self)), wanted, key=self._at)
        return place < len(self) and self._at(place) == wanted

    def __len__(self) -> int:
        return len(self.prefixes) // BYTES

    def __or__(self, other: "TrainedOn") -> "TrainedOn":
        if not isinstance(other, TrainedOn):
            return NotImplemented
        both = {each._at(place) for each in (self, other) for place in range(len(each))}
        known = [e.fingerprints for e in (self, other) if e.fingerprints is not None]
        return TrainedOn(b"".join(sorted(both)), reduce(or_, known) if known else None)

    def __repr__(self) -> str:
        return f"TrainedOn({counted(len(self), 'image')})"

    def _at(self, place: int) -> bytes:
        return self.prefixes[place * BYTES : (place + 1) * BYTES]


def _prefix(pixel_hash: object) -> bytes:
    if not isinstance(pixel_hash, str) or not _HASH.fullmatch(pixel_hash):
        raise OptionError(
            f"a pixel hash must be the 64 hexadecimal digits of skinxai.data.pixel_hash(), "
            f"got {pixel_hash!r}."
        )
    return bytes.fromhex(pixel_hash)[:BYTES]
