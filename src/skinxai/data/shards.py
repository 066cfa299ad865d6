"""Pixels of many images in a few flat files, mapped into memory instead of read."""

import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skinxai.configs import PreprocessConfig
from skinxai.disk.regular_files import check_file
from skinxai.errors import DatasetError, IntegrityError

MAX_SHARD_BYTES = 2**40
SHARD_BYTES = 1_000_000_000
"""Largest size of a shard in bytes; a larger image gets a shard of its own."""
REMEDY = "delete the folder and prepare the data again"


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"pixels-{number:05d}.bin"


class Place(NamedTuple):
    """Where one image's pixels are, and what they were made from.

    Args:
        shard: number of the shard.
        offset: offset of the first byte.
        height: stored height in pixels.
        width: stored width in pixels.
        pixel_hash: `pixel_hash` of the original, before it was resized.
        file_sha256: sha256 of the original file.
    """

    shard: int
    offset: int
    height: int
    width: int
    pixel_hash: str
    file_sha256: str

    @property
    def nbytes(self) -> int:
        """Bytes of the stored pixels."""
        return self.height * self.width * 3

    def check(self, name: str, shards: Sequence[int], size: Sequence[int] | None) -> None:
        """Refuse, by a `ValueError`, a place outside the shards, or pixels of another size.

        It gets the size of each shard in bytes, and ``[height, width]`` of all images, or ``None``.
        """
        hashes = (self.pixel_hash, self.file_sha256)
        if (
            not 0 <= self.shard < len(shards)
            or min(self.height, self.width) < 1
            or not 0 <= self.offset <= shards[self.shard] - self.nbytes
            or (size is not None and [self.height, self.width] != list(size))
            or not all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes)
        ):
            raise ValueError(f"pixels of {name!r} must lie in their shard, and match their hashes")


@dataclass(frozen=True)
class PreparedPixels:
    """The pixels of a prepared folder. Processes that read it share memory.

    Shards are mapped on first use, and again after pickling; threads may share one object.

    Args:
        folder: the prepared folder.
        digest: digest of its manifest; two folders with the same digest hold the same.
        image_size: ``(height, width)`` that every image was resized to; ``None`` if they were not.
        interpolation: interpolation of the resizing; ``None`` without one.
        places: image id → where its pixels are.
        shard_bytes: size of each shard in bytes.
        fingerprints: image id → `image_fingerprint`, of images of which it is known already; of the
            others it is computed from their pixels each time.
    """

    folder: Path
    digest: str
    image_size: tuple[int, int] | None
    interpolation: str | None
    places: Mapping[str, Place] = field(repr=False, compare=False)
    shard_bytes: tuple[int, ...] = field(repr=False)
    fingerprints: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    _maps: dict[int, npt.NDArray[np.uint8]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # a pickled map would be a copy of the file

    mapped = True
    """Whether `read` takes no memory."""

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return sum(self.shard_bytes)

    def describe(self) -> str:
        """``"prepared"``, with the size if there is one."""
        return "prepared" + (" at {}×{}".format(*self.image_size) if self.image_size else "")

    def read(self, image_id: str) -> npt.NDArray[np.uint8]:
        """Upright RGB uint8 ``(H, W, 3)`` of an image, read-only.

        Raises:
            DatasetError: if there is no such image.
            IntegrityError: if the shard is gone or has another size.
        """
        place = self.place(image_id)
        flat = self._shard(place.shard)[place.offset : place.offset + place.nbytes]
        return flat.reshape(place.height, place.width, 3)

    def hash_of(self, image_id: str) -> str:
        """`pixel_hash` of the original image, before it was resized.

        Raises:
            DatasetError: if there is no such image.
        """
        return self.place(image_id).pixel_hash

    def place(self, image_id: str) -> Place:
        """Where an image is; an unknown id is a `DatasetError`."""
        try:
            return self.places[image_id]
        except KeyError:
            raise DatasetError(
                f"image {image_id!r} must be one of the {len(self.places)} in "
                f"{str(self.folder)!r}; prepare the data that it is in."
            ) from None

    def fits(self, config: PreprocessConfig) -> bool:
        """Whether the evaluation transform of these pixels gives the same bits as of the files."""
        own = (self.image_size, self.interpolation)
        return self.image_size is None or own == (config.image_size, config.interpolation)

    def _shard(self, number: int) -> npt.NDArray[np.uint8]:
        found = self._maps.get(number)
        if found is None:
            path = self.folder / shard_name(number)
            # Reading behind the end of a mapped file is a crash of the process.
            check_file_size(path, self.shard_bytes[number])
            found = self._maps[number] = np.asarray(np.memmap(path, np.uint8, "r"))
        return found


def check_file_size(path: Path, expected: int) -> None:
    """Refuse a file that is gone or has another size, with an `IntegrityError`."""
    try:
        found = check_file(path)
    except OSError as error:
        raise IntegrityError(
            f"{path.name} in {str(path.parent)!r} is in the manifest and must be readable: "
            f"{error.strerror}; {REMEDY}."
        ) from error
    if found != expected:
        raise IntegrityError(
            f"{path.name} in {str(path.parent)!r} must have {expected} bytes, but it has {found}; "
            f"{REMEDY}."
        )


class ShardWriter:
    """Appends images to shards and hashes them on the way; memory holds one image."""

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, dict[str, int | str]] = {}  # name → bytes, sha256; of closed shards
        self._folder = folder
        self._file: io.BufferedWriter | None = None
        self._hash = hashlib.sha256()
        self._offset = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, pixels: npt.NDArray[np.uint8]) -> tuple[int, int]:
        """Append RGB uint8 ``(H, W, 3)``; returns its shard and offset."""
        if self._file is None or self._offset + pixels.nbytes > SHARD_BYTES:
            self.finish()
            self._file = (self._folder / shard_name(len(self.files))).open("wb")
        data = np.ascontiguousarray(pixels).data
        self._file.write(data)
        self._hash.update(data)
        place = len(self.files), self._offset
        self._offset += pixels.nbytes
        return place

    def finish(self) -> None:
        """Write the open shard to the disk."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            name = shard_name(len(self.files))
            self.files[name] = {"bytes": self._offset, "sha256": self._hash.hexdigest()}
            self._file, self._hash, self._offset = None, hashlib.sha256(), 0
