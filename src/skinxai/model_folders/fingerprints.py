"""`Fingerprints`: they find copies of training images whose pixels have changed.

The fingerprint of an image has 200 bytes and keeps the relief of its brightness at 20 × 20: how
light and dark alternate, with one contrast everywhere and without shading and colour. Re-encoding,
resizing and changes of brightness leave it almost as it is; `skinxai.model_folders.copies` compares
fingerprints of turned, cropped and slightly rotated images. A model folder keeps those of its
training images as ``training_fingerprints.safetensors``, one uint8 array ``(n, 200)``, sorted.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from skinxai.errors import IntegrityError, OptionError
from skinxai.model_folders.parts import TRAINING_FINGERPRINTS
from skinxai.model_folders.reliefs import ORDERS, SPECTRUM, Reliefs, cosines
from skinxai.model_folders.tensors import pack_bytes, unpack_bytes
from skinxai.plain_text import counted
from skinxai.progress import counter

BYTES = ORDERS * ORDERS // 2
SIDE, BLUR = 48, 13
STEP = 0.335
"""Step of the best uniform quantiser of four bits for values of deviation 1 (Max, 1960)."""
SQUARE = 1.2
"""Ratio of the longer to the shorter side below which a crop may have exchanged both."""
FLAT = 0.1
"""Mean square of the relief, at most 1, below which an image has too little structure."""
SAME_IMAGE = 0.70
"""Two fingerprints of at least this similarity are of one image."""
SHOWN = 10**7
"""Pairs from which on a bar is shown: some seconds of a processor."""
_NAME = "fingerprints"
Floats = npt.NDArray[np.float32]


def image_fingerprint(pixels: npt.NDArray[np.uint8], *, resized: bool = False) -> bytes:
    """Compute the fingerprint of 200 bytes of RGB uint8 ``(H, W, 3)``.

    It is empty for an image without structure. Of one that was ``resized`` the aspect ratio may
    have changed, so that it is unknown which side was the longer one.
    """
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] > grey.shape[1]:
        grey = cv2.rotate(grey, cv2.ROTATE_90_CLOCKWISE)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    detail = small - cv2.blur(small, (BLUR, BLUR))
    relief = detail / np.sqrt(cv2.blur(detail * detail, (BLUR, BLUR)) + 4)
    if float(np.square(relief).mean()) < FLAT:
        return b""
    transform = _transform()
    values = transform @ relief @ transform.T / SPECTRUM  # (20, 20)
    values[0, 0] = 0
    steps = np.floor(values / (values.std() * STEP)).clip(-8, 7).astype(np.int8) + 8
    steps[0, 0] = resized or grey.shape[1] < SQUARE * grey.shape[0]  # the mean says nothing
    pairs = steps.astype(np.uint8).reshape(-1, 2)
    return bytes((pairs[:, 0] * 16 + pairs[:, 1]).tobytes())


@cache
def _transform() -> Floats:
    """Cosine transform of a row, ``(20, 48)``."""
    return np.asarray(cosines((np.arange(SIDE) + 0.5) / SIDE).T / SIDE, np.float32)


@dataclass(frozen=True, repr=False)
class Fingerprints:
    """Fingerprints of images, each once; `similarities` compares others with them.

    Args:
        rows: 200 bytes for each image, in ascending order.

    Raises:
        IntegrityError: if the length is not a multiple of 200, or the order is wrong.
    """

    rows: bytes = field(default=b"")

    def __post_init__(self) -> None:
        if len(self.rows) % BYTES:
            raise IntegrityError(
                f"fingerprints must be a multiple of {BYTES} bytes, got "
                f"{len(self.rows)}; fetch or save the model again."
            )
        each = self._each()
        if any(before >= after for before, after in pairwise(each)):
            raise IntegrityError(
                "fingerprints must be strictly ascending, but they are not; "
                "fetch or save the model again."
            )

    @classmethod
    def of(cls, prints: Iterable[bytes]) -> Self:
        """Make them from the `image_fingerprint` of each image, in any order.

        Empty and repeated ones are left out.

        Raises:
            OptionError: if bytes have another length.
        """
        found = {each for each in prints if each}
        if odd := next((each for each in found if len(each) != BYTES), None):
            raise OptionError(f"a fingerprint must have {BYTES} bytes, got {len(odd)}.")
        return cls(b"".join(sorted(found)))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = TRAINING_FINGERPRINTS) -> Self:
        """Strict inverse of `to_bytes`, with the file's name for messages.

        Raises:
            IntegrityError: if the bytes are damaged, or as the class raises.
        """
        return cls(unpack_bytes(_NAME, data, (-1, BYTES), name))

    def to_bytes(self) -> bytes:
        """Content of ``training_fingerprints.safetensors``."""
        return pack_bytes(_NAME, np.frombuffer(self.rows, np.uint8).reshape(-1, BYTES))

    def similarities(self, asked: Sequence[bytes], progress: bool | None = None) -> Floats:
        """Similarity of each asked image to the most similar of these, −1 to 1, float32 ``(N,)``.

        It is the correlation of the two reliefs where they show the same place, after the best
        turn, flip, crop and small rotation: 0.99 for a re-encoded copy, at least 0.75 for most
        crops to 70 % of the area, −1 for most other images, whose comparison ends early.

        Args:
            asked: fingerprints from `image_fingerprint`.
            progress: whether a bar is shown, from ten million pairs on; ``None`` shows it on a
                terminal.
        """
        from skinxai.model_folders.copies import best_similarities  # it loads OpenCV

        found = np.full(len(asked), -1, np.float32)
        places = [place for place, each in enumerate(asked) if each]
        if places and self.rows:
            sought = _reliefs(b"".join(asked[place] for place in places))
            pairs = len(self) * len(places)
            with counter(pairs, progress if pairs >= SHOWN else False, "comparison") as count:
                alike = best_similarities(_reliefs(self.rows), sought, tell=count)[0]
            found[places] = alike
        return found

    def copies(self, asked: Sequence[bytes], progress: bool | None = None) -> list[bool]:
        """Whether each asked image looks like a copy of one of these; see `similarities`."""
        return [bool(alike >= SAME_IMAGE) for alike in self.similarities(asked, progress)]

    def __len__(self) -> int:
        return len(self.rows) // BYTES

    def __or__(self, other: "Fingerprints") -> "Fingerprints":
        if not isinstance(other, Fingerprints):
            return NotImplemented
        return Fingerprints.of([*self._each(), *other._each()])

    def __repr__(self) -> str:
        return f"Fingerprints({counted(len(self), 'image')})"

    def _each(self) -> list[bytes]:
        return [self.rows[at : at + BYTES] for at in range(0, len(self.rows), BYTES)]


def alike_places(
    prints: Sequence[bytes], owners: Sequence[int],
    tell: Callable[[int], object] = lambda count: None, *, excused: Collection[int] = (),
) -> list[int | None]:  # fmt: skip
    """For each of N images, the place of one of another owner that it looks like a copy of.

    Images of one owner, such as a lesion, are not compared, and nor are those at ``excused`` places
    with each other. ``tell`` is told how many of the N * N pairs have been dealt with, again and
    again; those of images without a fingerprint are not among them, nor are those of two excused
    ones.
    """
    from skinxai.model_folders.copies import best_similarities  # it loads OpenCV

    found: list[int | None] = [None] * len(prints)
    places = [place for place, each in enumerate(prints) if each]
    free = [place for place in places if place not in excused]
    left = [place for place in places if place in excused]
    for asked, known in ((free, places), (left, free)):
        if not asked or not known:
            continue
        every = _reliefs(b"".join(prints[place] for place in known))
        some = every if asked == known else _reliefs(b"".join(prints[place] for place in asked))
        own = [np.array([owners[place] for place in each], np.int32) for each in (known, asked)]
        alike, where = best_similarities(every, some, (own[0], own[1]), tell)
        for place, similarity, other in zip(asked, alike, where, strict=True):
            if similarity >= SAME_IMAGE:
                found[place] = known[other]
    return found


def _reliefs(rows: bytes) -> Reliefs:
    packed = np.frombuffer(rows, np.uint8).reshape(-1, BYTES)
    steps = np.stack([packed >> 4, packed & 15], axis=2).reshape(-1, ORDERS, ORDERS)
    values = steps.astype(np.float32) - 7.5
    values[:, 0, 0] = 0
    return Reliefs(values, steps[:, 0, 0] == 1)
