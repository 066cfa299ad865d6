"""`StoredPrints`: the fingerprints of many images, in a temporary file in place of memory."""

import tempfile
from array import array
from collections.abc import Sequence
from threading import Lock
from typing import Any, Self, overload

import numpy as np

from skinxai.data.near_duplicates import Fingerprint
from skinxai.data.textures import THUMB
from skinxai.errors import OutputError


class StoredPrints(Sequence[Fingerprint]):
    """Fingerprints of images in the order in which they were added, a context.

    They lie in a file without a name in the folder for temporary files (`tempfile.gettempdir`). The
    system deletes it when the context or the process ends, also a process that is killed.
    Several threads may read at once.

    Raises:
        OutputError: if no file can be made, written or read there, for example on a full disk.
    """

    def __init__(self) -> None:
        self._digests: list[str] = []
        self._starts, self._counts = array("Q", [0]), array("I")
        self._lock = Lock()
        try:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _refusal(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, print_: Fingerprint) -> None:
        """Add the fingerprint of the next image."""
        data = print_.thumb.tobytes() + print_.points.tobytes() + print_.descriptors.tobytes()
        with self._lock:
            try:
                self._file.seek(self._starts[-1])
                left = memoryview(data)
                while left:
                    left = left[self._file.write(left) :]
            except OSError as error:
                raise _refusal(error) from error
            self._starts.append(self._starts[-1] + len(data))
            self._counts.append(len(print_.points))
            self._digests.append(print_.digest)

    def __len__(self) -> int:
        return len(self._digests)

    @overload
    def __getitem__(self, place: int) -> Fingerprint: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Fingerprint]: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        start, end, count = self._starts[place], self._starts[place + 1], self._counts[place]
        with self._lock:
            try:
                self._file.seek(start)
                data = self._file.read(end - start)
            except OSError as error:
                raise _refusal(error) from error
        points = THUMB * THUMB
        return Fingerprint(
            self._digests[place],
            np.frombuffer(data, np.uint8, points).reshape(THUMB, THUMB),
            np.frombuffer(data, np.float32, 2 * count, points).reshape(-1, 2),
            np.frombuffer(data, np.uint8, 128 * count, points + 8 * count).reshape(-1, 128),
        )


def _refusal(error: OSError) -> OutputError:
    folder = error.filename or tempfile.gettempdir()
    return OutputError(
        f"Keeping the fingerprints of images in the temporary folder {str(folder)!r} failed: "
        f"{error.strerror}; set the environment variable TMPDIR to a folder on a disk with room "
        f"for up to 46 kB for each image."
    )
