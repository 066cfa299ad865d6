"""Forged tables, and prepared folders."""

import hashlib
import json
from pathlib import Path
from random import Random

from forging.binaries import change_file
from forging.signing import write_manifest
from forging.values import changed

from skinxai.model_folders.parts import MANIFEST


def forge_table_bytes(path: Path, draws: Random) -> str:
    lines = path.read_bytes().split(b"\n")
    row = draws.randrange(len(lines))
    cells = lines[row].split(b",")
    cell = draws.randrange(len(cells))
    odd = [
        b"",
        b"\0",
        b"\xff\xfe",
        b'"',
        b'""',
        b"'",
        b"\r",
        b",",
        b"-1",
        b"1e400",
        b"9" * 400,
        b"x" * 2**21,
        b"../x",
        b"/dev/zero",
        b"nan",
        b"[]",
        b"{}",
        b"null",
        b'"[1]"',
        b"\xed\xa0\x80",
        b"=1",
        b"\x1b[2K",
    ]
    how = draws.randrange(7)
    if how == 0:
        del lines[row]
    elif how == 1:
        lines.insert(row, draws.choice(lines))
    elif how == 2:
        del cells[cell]
    elif how == 3:
        cells.insert(cell, draws.choice(odd))
    elif how == 4:
        cells[cell] = draws.choice(odd)
    elif how == 5:
        cells[cell] = cells[cell] + draws.choice(odd)
    else:
        path.write_bytes(
            draws.choice(
                [
                    b"\n".join(lines)[: draws.randrange(1, 99)],
                    b"\n".join(lines).decode("latin-1").encode("utf-16"),
                    b"",
                    b"\n" * 99,
                    b'"' + b"\n".join(lines),
                    b"\0" * 4096,
                    b"," * 99999,
                ]
            )
        )
        return f"{path.name} as a whole"
    if how >= 2:
        lines[row] = b",".join(cells)
    path.write_bytes(b"\n".join(lines))
    return f"{path.name} change {how}"


def forge_prepared(folder: Path, draws: Random) -> tuple[str, bool]:
    how = draws.randrange(3)
    path = folder / MANIFEST
    content = json.loads(path.read_bytes())
    if how == 0:
        content, what = changed(content, draws)
        write_manifest(path, content)
        return f"{MANIFEST} {what}", True
    name = draws.choice(sorted(content["files"]))
    if how == 1:
        name = "records.csv"
        what = forge_table_bytes(folder / name, draws)
    else:
        what = change_file(folder / draws.choice([name, MANIFEST]), draws)
    own = folder / name
    if own.is_file() and not own.is_symlink() and path.is_file():
        size = own.stat().st_size
        data = own.read_bytes() if size < 2**24 else b""
        content["files"][name] = {"bytes": size, "sha256": hashlib.sha256(data).hexdigest()}
        write_manifest(path, content)
    return what, how == 1


def forge_tables(folder: Path, draws: Random) -> tuple[str, bool]:
    path = folder / draws.choice(["t.csv", "splits.csv"])
    if draws.random() < 0.2:
        return change_file(path, draws), True
    return forge_table_bytes(path, draws), True
