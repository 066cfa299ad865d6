"""Checkpoints on disk: each one file whose name carries its hash; the newest whole one counts."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path

from skinxai.errors import CheckpointCorruptError, CheckpointWriteError, OutputError, SkinxaiWarning
from skinxai.reading import read_file
from skinxai.writing import make_folder, write_atomic

MOST_BYTES = 64 * 2**30
"""Of one checkpoint, where nobody knows better."""
NAME = re.compile(r"(\d{9})-([0-9a-f]{32})\.safetensors")


class CheckpointFolder:
    """The checkpoints of one run.

    A checkpoint is one file, written under another name, synced to disk and then renamed, so
    that a kill at any moment leaves the old ones as they were. Its name holds its number and the
    first half of its sha256; there is no second file that could disagree.

    Args:
        folder: created with the first checkpoint.
        keep: newest checkpoints that stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self._keep = keep

    def write(self, number: int, data: bytes) -> Path:
        """Write a checkpoint, then remove those that are too old.

        Args:
            number: grows while the run goes on. What is there under a higher one was damaged and
                passed over, and is removed as well.
            data: the checkpoint.

        Raises:
            CheckpointWriteError: the disk is full or cannot be written; older checkpoints stay.
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
                f"checkpoint {str(path)!r} must be writable with {len(data)} bytes free: "
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
        """The newest checkpoint whose bytes have the hash of its name; ``None`` without any.

        A damaged one is passed over with a warning.

        Args:
            most: bytes that a checkpoint may have.

        Raises:
            CheckpointCorruptError: there are checkpoints, but no whole one.
        """
        damaged: list[str] = []
        for path in self.paths():
            try:
                data = read_file(path, most)
            except OSError as error:  # not damaged: to pass it over would be to delete it
                raise CheckpointCorruptError(
                    f"checkpoint {str(path)!r} must be readable: {error.strerror}; mend that and "
                    f"resume again."
                ) from error
            if hashlib.sha256(data).hexdigest()[:32] == path.stem[10:]:
                if damaged:
                    warnings.warn(
                        f"checkpoint {damaged[0]} is damaged and was passed over; the run goes on "
                        f"from {path.name}.",
                        SkinxaiWarning,
                        stacklevel=3,
                    )
                return path, data
            damaged.append(path.name)
        if damaged:
            raise CheckpointCorruptError(
                f"one checkpoint in {str(self.folder)!r} must be whole, all {len(damaged)} are "
                f"damaged; start the run again in a new folder."
            )
        return None
