"""Zips as strangers forge them, for tests and benchmarks."""

import io
import random
import struct
import zipfile

MAGIC = (b"\xff" * 4, bytes(4), b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02")


def zipped(files: dict[str, bytes], method: int) -> bytearray:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return bytearray(buffer.getvalue())


def changed(data: bytes, rng: random.Random) -> bytes:
    """A copy with up to 16 changes, which still begins as zips do."""
    copy = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(4, len(copy))
        change = rng.randrange(4)
        if change == 0:
            copy[place] ^= 1 << rng.randrange(8)
        elif change == 1:
            copy[place : place + 4] = rng.choice(MAGIC)
        elif change == 2 and len(copy) > 100:
            del copy[place : place + rng.randrange(1, 60)]
        else:
            copy[place:place] = rng.randbytes(rng.randrange(40))
    return b"PK\x03\x04" + copy[4:]


def million(count: int = 1_000_000) -> bytes:
    """A zip of so many empty entries, all of one place."""
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 5, 0) + b"a.png"
    record = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0
    )
    directory = (record + b"a.png") * count
    start, size = len(local), len(directory)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, size, start, 0)
    return local + directory + end64 + locator + end
