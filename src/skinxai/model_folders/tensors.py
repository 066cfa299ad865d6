"""Safetensors bytes: the header of a weights file, and files of one array. Needs no torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from skinxai.configs import MAX_JSON_BYTES
from skinxai.errors import IntegrityError
from skinxai.model_folders.part_bytes import check_length
from skinxai.model_folders.parts import WEIGHTS

KINDS = (
    "F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL",
)  # fmt: skip
"""Types of tensors that are read."""
TORCH_NAMES = {
    "torch.int64": "I64", "torch.int32": "I32", "torch.int16": "I16", "torch.int8": "I8",
    "torch.uint8": "U8", "torch.bool": "BOOL",
}  # fmt: skip
"""torch's integer types → their names in safetensors."""
BINDING = "skinxai.binding"
"""Key of the hash that binds weights, and graphs, to a config."""


def weights_metadata(weights: bytes) -> dict[str, str]:
    """The ``__metadata__`` of safetensors bytes: 8 bytes of length, then a JSON header.

    The header is checked here first, because the library accepts one that names a tensor twice.
    """
    metadata = check_length(weights[: 8 + MAX_JSON_BYTES], len(weights), WEIGHTS).get(
        "__metadata__"
    )
    return metadata if isinstance(metadata, dict) else {}


class Stored(NamedTuple):
    """The entry of a tensor in a header.

    Args:
        dtype: one of `KINDS`.
        shape: shape of the tensor.
    """

    dtype: str
    shape: tuple[int, ...]


def stored_tensors(data: bytes, name: str) -> dict[str, Stored]:
    """The tensors that the header of the safetensors bytes of a named file lists.

    Raises:
        IntegrityError: if the header is damaged, or has a type that skinxai does not read.
    """
    return listed_tensors(check_length(data[: 8 + MAX_JSON_BYTES], len(data), name), name)


def listed_tensors(header: Mapping[str, Any], name: str) -> dict[str, Stored]:
    """`stored_tensors` of a header from `skinxai.model_folders.part_bytes.check_length`."""
    found = {}
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        try:
            found[key] = Stored(entry["dtype"], tuple(entry["shape"]))
            sound = all(type(side) is int and side >= 0 for side in found[key].shape)
        except (KeyError, TypeError) as error:
            raise IntegrityError(f"{name} must be whole safetensors: {error!r}.") from error
        if not sound or found[key].dtype not in KINDS:
            raise IntegrityError(
                f"{name} must hold tensors of the types {', '.join(KINDS)}, but {key[:80]!r} is of "
                f"{found[key].dtype!r:.80} {entry['shape']!r:.80}."
            )
    return found


def load_arrays(data: bytes, name: str) -> dict[str, Any]:
    """Load all arrays of the safetensors bytes of a named file.

    Raises:
        IntegrityError: if bytes are damaged, or NumPy lacks a type.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    for key, stored in stored_tensors(data, name).items():
        if stored.dtype == "BF16":
            raise IntegrityError(
                f"{name} must hold types that NumPy has, but {key[:80]!r} is of {stored.dtype!r}."
            )
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise IntegrityError(f"{name} must be whole safetensors: {error}") from error


def save_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Safetensors bytes of arrays, for `load_arrays`."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


def pack_bytes(name: str, rows: npt.NDArray[np.uint8]) -> bytes:
    """Pack one uint8 array as safetensors."""
    return save_arrays({name: rows})


def unpack_bytes(name: str, data: bytes, shape: tuple[int, ...], file: str) -> bytes:
    """Strict inverse of `pack_bytes`; returns the bytes of the named array of a named file.

    Its shape has −1 where it may have any size.

    Raises:
        IntegrityError: if bytes are damaged, or the arrays are others.
    """
    found = load_arrays(data, file)
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
