"""An ONNX file without the values of its large constants, which are not read from the disk.

A file may say that it has gigabytes. What it is made of is looked at first: protocol buffers are a
sequence of numbered fields, each with its length, so that constants can be passed over.
"""

import io
import math
from collections.abc import Iterator
from typing import BinaryIO

from skinxai.errors import IntegrityError

GRAPH, INITIALIZER, DIMS, DATA_TYPE, RAW_DATA = 7, 5, 1, 2, 9
"""Fields of a model, of a graph and of a tensor."""
BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""ONNX's numbers of types → bytes of an element."""
WHOLE = (6, 7)
"""Types of whole numbers, which may decide sizes."""
KEPT, KEPT_WHOLE = 2**12, 2**19
"""Bytes of values that are read, and of whole numbers; longer ones are left out."""
MAX_BYTES = 2**26
"""Of all that is not values of constants."""
VARINT, LENGTH = 0, 2
MAX_VARINT = 10
FIXED = {1: 8, 5: 4}
"""Kinds of fields."""


def skeleton(file: BinaryIO, size: int, name: str) -> bytes:
    """The model, where the values of large constants are left out.

    Args:
        file: at its beginning.
        size: of it.
        name: of it, for messages.

    Raises:
        IntegrityError: no protocol buffers, constants of another length than their sizes say, or
            more than `MAX_BYTES` without them.
    """
    try:
        return _Skeleton(file).of_model(size)
    except ValueError as error:
        raise IntegrityError(f"{name} must be a whole ONNX graph: {error}") from error


class _Skeleton:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MAX_BYTES

    def of_model(self, size: int) -> bytes:
        made = io.BytesIO()
        for field, kind, length in self._fields(size):
            own = self._of_graph(length) if (field, kind) == (GRAPH, LENGTH) else self._read(length)
            _write(made, field, kind, own)
        return made.getvalue()

    def _of_graph(self, size: int) -> bytes:
        made = io.BytesIO()
        for field, kind, length in self._fields(size):
            tensor = (field, kind) == (INITIALIZER, LENGTH)
            own = self._of_tensor(length) if tensor else self._read(length)
            _write(made, field, kind, own)
        return made.getvalue()

    def _of_tensor(self, size: int) -> bytes:
        made, sides, dtype, passed = io.BytesIO(), [], 0, None
        for field, kind, length in self._fields(size):
            most = KEPT_WHOLE if dtype in WHOLE else KEPT
            if (field, kind) == (RAW_DATA, LENGTH) and length > most:
                passed = length
                self._file.seek(length, io.SEEK_CUR)
                continue
            own = self._read(length)
            if field == DIMS:
                sides += _varints(own)
            elif field == DATA_TYPE:
                (dtype,) = _varints(own)
            _write(made, field, kind, own)
        if passed is not None and passed != math.prod(sides) * BYTES.get(dtype, 0):
            raise ValueError(f"a constant of the sizes {sides[:8]} has {passed} bytes")
        return made.getvalue()

    def _fields(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Number, kind and length of each field of a message, whose value is read meanwhile."""
        end = self._file.tell() + size
        while (at := self._file.tell()) < end:
            (tag,) = _varints(self._varint())
            field, kind = tag >> 3, tag & 7
            if kind == VARINT:
                start = self._file.tell()
                length = len(self._varint())
                self._file.seek(start)
            elif kind == LENGTH:
                (length,) = _varints(self._varint())
            elif kind in FIXED:
                length = FIXED[kind]
            else:
                raise ValueError(f"byte {at} begins no field")
            if not field or self._file.tell() + length > end:
                raise ValueError(f"byte {at} begins no field")
            yield field, kind, length
        if self._file.tell() != end:
            raise ValueError("a field is longer than its message")

    def _varint(self) -> bytes:
        found = self._file.read(1)
        while found and found[-1] & 128 and len(found) < MAX_VARINT:
            found += self._file.read(1)
        if not found or found[-1] & 128:
            raise ValueError("a number does not end")
        return found

    def _read(self, length: int) -> bytes:
        self._left -= length
        if self._left < 0:
            raise ValueError(f"it has more than {MAX_BYTES} bytes beside its constants")
        return self._file.read(length)


def _varints(data: bytes) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            found.append(value)
            value = shift = 0
    return found


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _write(made: io.BytesIO, field: int, kind: int, own: bytes) -> None:
    made.write(_encoded(field << 3 | kind) + (_encoded(len(own)) if kind == LENGTH else b"") + own)
