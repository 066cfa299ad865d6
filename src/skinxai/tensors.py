"""Safetensors bytes: the header of a weights file, and files of one array. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from skinxai.configs import MAX_JSON_BYTES, strict_json
from skinxai.errors import IntegrityError
from skinxai.folders import WEIGHTS

BINDING = "skinxai.binding"
"""Key of the hash that binds weights, and graphs, to a config."""


def weights_metadata(weights: bytes) -> dict[str, str]:
    """The ``__metadata__`` of safetensors bytes: 8 bytes of length, then a JSON header.

    The header is looked at here before the library reads it, which takes one that names a tensor
    twice.

    Raises:
        IntegrityError: no such header.
    """
    length = int.from_bytes(weights[:8], "little")
    if not 2 <= length <= min(len(weights) - 8, MAX_JSON_BYTES):
        raise IntegrityError(
            f"{WEIGHTS} must be whole safetensors: its header must have at most "
            f"{min(len(weights) - 8, MAX_JSON_BYTES)} bytes, it tells of {length}."
        )
    try:
        header = strict_json(weights[8 : 8 + length])
    except ValueError as error:
        raise IntegrityError(f"{WEIGHTS} must be whole safetensors: {error}.") from error
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return metadata if isinstance(metadata, dict) else {}


def pack_bytes(name: str, rows: npt.NDArray[np.uint8]) -> bytes:
    """Safetensors of one uint8 array.

    Args:
        name: of the array.
        rows: any shape.
    """
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(rows)})


def unpack_bytes(name: str, data: bytes, shape: tuple[int, ...], file: str) -> bytes:
    """Strict inverse of `pack_bytes`: the array's bytes.

    Args:
        name: of the array.
        data: safetensors.
        shape: that it must have; −1 for any size.
        file: for the message.

    Raises:
        IntegrityError: damaged bytes, or other arrays.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found: dict[str, Any] = load(data)
    except SafetensorError as error:
        raise IntegrityError(f"{file} must be whole safetensors: {error}") from error
    array = found.get(name)
    fits = (
        array is not None
        and array.dtype == np.uint8
        and array.ndim == len(shape)
        and all(want in (-1, size) for want, size in zip(shape, array.shape, strict=True))
    )
    if len(found) != 1 or array is None or not fits:
        raise IntegrityError(
            f"{file} must hold the uint8 array {name!r} alone; fetch or save the model again."
        )
    return bytes(array.tobytes())
