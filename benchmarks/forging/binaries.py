"""Headers of safetensors, seals of graphs, and files of another kind."""

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import Any

from forging.values import changed, dumped

from skinxai.graphs.exported import UNSEALED, seal


def change_tensors(path: Path, draws: Random) -> str:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    how = draws.randrange(9)
    if how == 8:
        header, size = with_huge_tensor(header, len(body), draws)
        path.write_bytes(joined(dumped(header), body))
        os.truncate(path, 8 + len(dumped(header)) + size)  # without a byte on the disk
        return f"{path.name} a huge tensor"
    if how == 0:
        path.write_bytes(
            draws.choice([data[:-1], data + b"\0", data[:7], b"", data[: len(data) // 2]])
        )
        return f"{path.name} length"
    if how == 1:
        length = draws.choice([0, 1, 2**63, len(data), length + 1, length - 1, 2**20])
        path.write_bytes(length.to_bytes(8, "little") + data[8:])
        return f"{path.name} header length"
    if how == 2:
        own = draws.choice([each for each in header if each != "__metadata__"])
        header[own]["dtype"] = draws.choice(
            ["BF16", "F8_E4M3", "F8_E5M2", "F64", "I64", "BOOL", "x", None]
        )
    elif how == 3:
        own = draws.choice([each for each in header if each != "__metadata__"])
        header[own]["shape"] = draws.choice(
            [[], [0], [-1], [2**62, 4], [1] * 64, header[own]["shape"][::-1], [1e3]]
        )
    elif how == 4 and body:
        at = draws.randrange(len(body))
        body = body[:at] + bytes([body[at] ^ 1 << draws.randrange(8)]) + body[at + 1 :]
        if draws.random() < 0.3:
            body = body[: at // 4 * 4] + b"\0\0\xc0\x7f" + body[at // 4 * 4 + 4 :]  # NaN
            body = body[: len(data) - 8 - length]
    else:
        header, where = changed(header, draws)
        path.write_bytes(joined(dumped(header), body))
        return f"{path.name} {where}"
    path.write_bytes(joined(dumped(header), body))
    return f"{path.name} change {how}"


def with_huge_tensor(
    header: dict[str, Any], size: int, draws: Random
) -> tuple[dict[str, Any], int]:
    """A header that accounts for two gigabytes, with a new tensor or an enlarged one."""
    entry = {"dtype": "F32", "shape": [2**29 - 2**24], "data_offsets": [size, size + 2**31 - 2**26]}
    name = "forged"
    if draws.random() < 0.5:  # the last one, so that the others stay where they are
        tensors = {each: own for each, own in header.items() if each != "__metadata__"}
        name = max(tensors, key=lambda each: tensors[each]["data_offsets"][1])
        entry["data_offsets"][0] = start = tensors[name]["data_offsets"][0]
        entry["shape"] = [(entry["data_offsets"][1] - start) // 4]
    return header | {name: entry}, entry["data_offsets"][1]


OUTSIDE = Path(tempfile.mkdtemp(prefix="skinxai-outside-"))
atexit.register(shutil.rmtree, OUTSIDE, ignore_errors=True)
"""Holds the file that forged links lead to; it ends with the process."""


def joined(header: bytes, body: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


def change_file(path: Path, draws: Random) -> str:
    """Another kind of file in a file's place.

    A link leads to a file of this script's own: what is written through it harms nothing.
    """
    kind = draws.choice(
        ["pipe", "device", "loop", "folder", "empty", "sparse", "missing", "link", "huge"]
    )
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "loop", "link"):
        outside = OUTSIDE / "outside"
        outside.write_bytes(b"outside the folder\n")
        path.symlink_to({"device": "/dev/zero", "loop": path.name, "link": outside}[kind])
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind in ("sparse", "huge"):
        with path.open("wb") as file:
            file.truncate(2**31 if kind == "sparse" else 2**40)
    return f"{path.name} becomes {kind}"


def varint(value: int) -> bytes:
    found = []
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def with_seal(path: Path, data: bytes, weights: bytes) -> None:
    path.write_bytes(seal(data, weights) if data.count(UNSEALED) == 1 else data)
