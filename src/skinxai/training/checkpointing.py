"""Checkpoints on disk: each is one file with its hash in its name; the newest whole one is used."""

import hashlib
import os
import re
import warnings
from pathlib import Path

from skinxai.disk.regular_files import open_file, read_file
from skinxai.disk.writing import make_folder, write_atomic
from skinxai.errors import (
    CheckpointCorruptError,
    CheckpointWriteError,
    IntegrityError,
    OutputError,
    SkinxaiWarning,
)
from skinxai.model_folders.part_bytes import check_length
from skinxai.model_folders.tensors import Stored, listed_tensors

MOST_BYTES = 64 * 2**30
"""Largest size of a checkpoint, if no other limit is given."""
MAX_HEADER = 2**25
"""Largest size of its header in bytes."""
NETWORK = "network."
"""Prefix of the names of the network's tensors."""
NAME = re.compile(r"(\d{9})-([0-9a-f]{32})\.safetensors")


class CheckpointFolder:
    """The newest ``keep`` checkpoints of one run.

    A checkpoint is one file, written under another name, synced to disk and then renamed, so
    that a kill at any moment leaves the old ones as they were. Its name holds its number and the
    first half of its sha256; there is no second file that could disagree.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep

    def write(self, number: int, data: bytes) -> Path:
        """Write a checkpoint, then remove older ones beyond ``keep``.

        The number grows while the run goes on. Checkpoints with a higher number were damaged and
        skipped; they are removed as well.

        Raises:
            CheckpointWriteError: if the disk is full or cannot be written; older checkpoints stay.
        """
        path = self.folder / f"{number:09d}-{hashlib.sha256(data).hexdigest()[:32]}.safetensors"
        try:
            make_folder(self.folder)
            write_atomic(path, data)
            found = self.paths()
            older = [other for other in found if other.name[:9] < path.name[:9]]
            for other in {*found} - {path, *older[: self._keep - 1]}:
                other.unlink(missing_ok=True)
        except (OutputError, OSError) as error:
            cause = error.__cause__ if isinstance(error, OutputError) else error
            raise CheckpointWriteError(
                f"writing the checkpoint {str(path)!r} of {len(data)} bytes failed: "
                f"{getattr(cause, 'strerror', None) or error}; free space and resume the run from "
                f"the checkpoint before.",
                getattr(cause, "errno", None),
            ) from error
        return path

    def paths(self) -> list[Path]:
        """All checkpoints, newest first."""
        found = [path for path in self.folder.glob("*.safetensors") if NAME.fullmatch(path.name)]
        return sorted(found, key=lambda path: path.name[:9], reverse=True)

    def newest(self, most: int = MOST_BYTES) -> tuple[Path, bytes] | None:
        """The newest checkpoint whose bytes match the hash in its name; ``None`` if there is none.

        A damaged checkpoint is skipped with a warning.

        Raises:
            CheckpointCorruptError: if there are checkpoints, but all are damaged.
        """
        damaged: list[str] = []
        for path in self.paths():
            try:
                data = read_file(path, most)
            except OSError as error:  # not damaged: to pass it over would be to delete it
                raise _unreadable(path, error) from error
            if hashlib.sha256(data).hexdigest()[:32] == path.stem[10:]:
                if damaged:
                    warnings.warn(
                        f"checkpoint {damaged[0]} is damaged and was skipped; the run continues "
                        f"from {path.name}.",
                        SkinxaiWarning,
                        stacklevel=3,
                    )
                return path, data
            damaged.append(path.name)
        if damaged:
            raise self._all_damaged(len(damaged))
        return None

    def network(self) -> dict[str, Stored] | None:
        """The headers of the network's tensors in the newest checkpoint; ``None`` if there is none.

        Raises:
            CheckpointCorruptError: if there are checkpoints, but none with a whole header.
        """
        paths = self.paths()
        for path in paths:
            try:
                with open_file(path, MOST_BYTES) as file:
                    size = os.fstat(file.fileno()).st_size
                    start = file.read(8 + MAX_HEADER)
            except OSError as error:
                raise _unreadable(path, error) from error
            try:
                found = listed_tensors(check_length(start, size, path.name, MAX_HEADER), path.name)
            except IntegrityError:
                continue
            return {n.removeprefix(NETWORK): t for n, t in found.items() if n.startswith(NETWORK)}
        if paths:
            raise self._all_damaged(len(paths))
        return None

    def _all_damaged(self, count: int) -> CheckpointCorruptError:
        return CheckpointCorruptError(
            f"one checkpoint in {str(self.folder)!r} must be whole, but all {count} are damaged; "
            f"start the run again in a new folder."
        )


def _unreadable(path: Path, error: OSError) -> CheckpointCorruptError:
    return CheckpointCorruptError(
        f"checkpoint {str(path)!r} must be readable: {error.strerror}; mend that and resume again."
    )
