"""Features on disk: small safetensors files, each with its own hash in its name.

A file is written whole or not at all, so a kill leaves those that are there as they are, and the
next call computes the rest. It holds the hash of what computed its rows (weights, preprocessing,
views), and of each row the hash of the pixels; nothing else is ever taken from it.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinxai.disk.regular_files import read_file
from skinxai.disk.writing import make_folder, write_atomic
from skinxai.errors import IntegrityError, OutputError
from skinxai.model_folders.tensors import load_arrays, save_arrays
from skinxai.progress import say

ROWS = 256
"""Images in a file: what a kill loses at most."""
MAX_BYTES = 2**30
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{32})\.safetensors")
_REMEDY = "its images are computed again"
Rows = npt.NDArray[np.float32]


class FeatureCache:
    """The files of one network's features.

    Args:
        folder: of all networks' files; made with the first one.
        key: sha256 of everything that the features depend on besides the pixels, hexadecimal.
        shape: ``(V, D)``: views of an image, and features of a view.
        answer: features of the drawn picture by the network as it is now, float32 ``(D,)``. Files
            with another answer, such as of another version of timm, are not used.
    """

    def __init__(self, folder: Path, key: str, shape: tuple[int, int], answer: Rows) -> None:
        self._folder, self._key, self._shape, self._answer = folder, key, shape, answer
        self._places: dict[str, tuple[Path, int]] = {}
        self._waiting: dict[str, Rows] = {}
        for path in sorted(folder.glob(f"{key[:16]}-*.safetensors")):
            arrays = self._read(path)
            if arrays is not None:
                for row, digest in enumerate(arrays["pixels"]):
                    self._places[digest.tobytes().hex()] = path, row

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def add(self, digest: str, rows: Rows) -> None:
        """Keep the features ``(V, D)`` of the pixels with this sha256; some wait for `flush`."""
        self._waiting[digest] = rows
        if len(self._waiting) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        digests = [np.frombuffer(bytes.fromhex(each), np.uint8) for each in self._waiting]
        data = save_arrays(
            {
                "answer": self._answer,
                "features": np.stack(list(self._waiting.values())),
                "key": np.frombuffer(bytes.fromhex(self._key), np.uint8),
                "pixels": np.stack(digests),
            }
        )
        make_folder(self._folder)
        name = f"{self._key[:16]}-{hashlib.sha256(data).hexdigest()[:32]}.safetensors"
        write_atomic(self._folder / name, data)
        self._waiting = {}

    def read(self, wanted: Mapping[str, list[int]], rows: Rows) -> list[int]:
        """Fill in the features of images that have some here.

        Args:
            wanted: sha256 of the pixels -> positions in ``rows``.
            rows: ``(N, V, D)``, filled in place.

        Returns:
            Positions that could not be filled, because a file went or changed in the meantime.
        """
        lost: list[int] = []
        files: dict[Path, dict[str, list[int]]] = {}
        for digest, positions in wanted.items():
            files.setdefault(self._places[digest][0], {})[digest] = positions
        for path, places in files.items():
            arrays = self._read(path)
            for digest, positions in places.items():
                row = self._places[digest][1]
                if arrays is None:
                    lost += positions
                else:
                    rows[positions] = arrays["features"][row]
        return lost

    def _read(self, path: Path) -> dict[str, npt.NDArray[np.generic]] | None:
        """The arrays of a file that is whole and of this network; a damaged one is deleted."""
        try:
            name, data = _NAME.fullmatch(path.name), read_file(path, MAX_BYTES)
            if name is None or hashlib.sha256(data).hexdigest()[:32] != name[2]:
                raise IntegrityError("its bytes are not those that its name stands for")
            arrays = load_arrays(data, path.name)
            self._check(arrays)
        except FileNotFoundError:  # another process found it damaged
            return None
        except (OSError, IntegrityError) as error:
            reason = getattr(error, "strerror", None) or str(error).rstrip(".")
            say(f"features in {str(path)!r} are not used: {reason}; {_REMEDY}", error=True)
            if isinstance(error, IntegrityError):
                self._delete(path)
            return None
        if arrays["key"].tobytes().hex() != self._key:
            return None
        kept, now = arrays["answer"], self._answer
        if not np.allclose(kept, now, rtol=1e-3, atol=1e-3 * float(np.abs(now).max())):
            say(
                f"features in {str(path)!r} are not used: the network now gives others for the "
                f"same picture, as after an update; {_REMEDY}", error=True,
            )  # fmt: skip
            return None
        return arrays

    def _check(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> None:
        count = len(arrays.get("pixels", ()))
        expected = {
            "answer": ("float32", self._shape[1:]),
            "features": ("float32", (count, *self._shape)),
            "key": ("uint8", (32,)),
            "pixels": ("uint8", (count, 32)),
        }
        found = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
        if found != expected or not np.isfinite(arrays["features"]).all():
            raise IntegrityError("it holds other arrays than features")

    def _delete(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{str(path)!r} is damaged and cannot be deleted: {error.strerror}; delete it."
            ) from error
