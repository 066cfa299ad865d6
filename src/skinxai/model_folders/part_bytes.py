"""The bytes of one file of a model folder, of bounded size, before they are hashed or parsed."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skinxai.configs import MAX_JSON_BYTES, strict_json
from skinxai.disk.regular_files import open_file
from skinxai.disk.staging import at_present
from skinxai.errors import IntegrityError
from skinxai.model_folders.parts import MAX_FILE_BYTES, size_limit

LARGE, HUGE = 2**26, 2**28
"""From this size of a tensors file on, its header is read first and compared with the config."""
MAX_FOLDER_BYTES = MAX_FILE_BYTES


def read_part(
    path: Path, most: int = MAX_FOLDER_BYTES,
    look: Callable[[Mapping[str, Any]], None] | None = None,
) -> bytes:  # fmt: skip
    """Read one file of a model folder without comparing it with the manifest.

    It may have ``most`` bytes, in addition to the limit of its kind. A large file of tensors whose
    header does not account for all of its bytes is refused before these are read; of more than
    `HUGE` bytes ``look`` gets the header, and raises if it is wrong.

    Raises:
        IntegrityError: if it is not a regular file, is too large, cannot be read, or is a link out
            of the folder.
    """
    try:
        return at_present(path, lambda place: _read_own(place, most, look))
    except OSError as error:
        raise IntegrityError(
            f"{str(path)!r} is in the manifest and must be readable: {error.strerror}."
        ) from error


def _read_own(path: Path, most: int, look: Callable[[Mapping[str, Any]], None] | None) -> bytes:
    if path.is_symlink() and not _is_own_link(path):
        raise IntegrityError(
            f"{str(path)!r} must be in its folder, but it is a link to {os.path.realpath(path)!r}."
        )
    with open_file(path, min(most, size_limit(path.name))) as file:
        size = os.fstat(file.fileno()).st_size
        if path.suffix == ".safetensors" and size > LARGE:
            header = check_length(file.read(8 + MAX_JSON_BYTES), size, path.name)
            if look is not None and size > HUGE:
                look(header)
            file.seek(0)
        data = file.read(size + 1)
    if len(data) != size:
        raise OSError(errno.EIO, "it changed while it was read")
    return data


def _is_own_link(path: Path) -> bool:
    """Whether a link stays in its folder, or is one of the Hub's cache to the same cache.

    There a file of ``REPOSITORY/snapshots/COMMIT`` is a link to ``REPOSITORY/blobs``; newer clients
    keep large files once for all repositories, in ``blobs/XX`` beside these.
    """
    # not Path.resolve(), which fails at links that lead to themselves
    target, folder = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent))
    if target.parent == folder:
        return True
    repositories = [each.parent for each in folder.parents if each.name == "snapshots"]
    return any(
        target.parent == own / "blobs" or target.parent.parent == own.parent / "blobs"
        for own in repositories
    )


def check_length(
    start: bytes, size: int, name: str, longest: int = MAX_JSON_BYTES
) -> dict[str, Any]:
    """Read the header of safetensors and check that it accounts for every byte of the file.

    ``start`` are its first bytes, including the whole header; the sizes of the file and, at most,
    of the header are in bytes.

    Raises:
        IntegrityError: if the header is damaged, too long, or of another file.
    """
    most = min(size - 8, longest)
    length = int.from_bytes(start[:8], "little")
    if not 2 <= length <= most:
        raise IntegrityError(
            f"{name} must be whole safetensors: its header must have at most {most} bytes, but its "
            f"length field says {length}."
        )
    try:
        header = strict_json(start[8 : 8 + length], longest)
        entries = [entry for key, entry in header.items() if key != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in entries), default=0)
        if type(end) is not int:
            raise ValueError(f"an offset must be a whole number, got {str(end)[:80]!r}")
        whole = 8 + length + end == size
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        raise IntegrityError(f"{name} must be whole safetensors: {error}.") from error
    if not whole:
        raise IntegrityError(
            f"{name} must be whole safetensors: its header describes {8 + length + end} bytes, but "
            f"the file has {size}."
        )
    return dict(header)
