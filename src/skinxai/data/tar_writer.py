"""`TarWriter`: one tar of samples, hashed while it is written."""

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from skinxai.data.tar_index import Listed
from skinxai.disk.staging import sync_folder


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Upright RGB uint8 ``(H, W, 3)`` as PNG."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", compress_level=1)
    return out.getvalue()


class TarWriter:
    """One tar while it is written; it gets its name when it is whole and on the disk."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.size, self._samples = name, 0, 0
        self._path = folder / name
        self._part = folder / f".{name}.part"
        self._hash = hashlib.sha256()
        self._file = self._part.open("wb")
        self._tar = tarfile.TarFile(fileobj=self, mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[arg-type]

    def write(self, data: bytes) -> int:
        """Write and hash what the tar is made of."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Bytes that were written."""
        return self.size

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Add a sample: suffix → content of its files."""
        for suffix, data in files.items():
            member = tarfile.TarInfo(f"{key}.{suffix}")
            member.size = len(data)
            self._tar.addfile(member, io.BytesIO(data))
        self._tar.members = []  # type: ignore[attr-defined]  # or it keeps all headers
        self._samples += 1

    def finish(self) -> Listed:
        """Give the tar its name, and say what the index lists of it."""
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        sync_folder(self._path.parent)
        return Listed(self.size, self._samples, self._hash.hexdigest())

    def discard(self) -> None:
        """Delete what was written."""
        self._file.close()
        self._part.unlink(missing_ok=True)
