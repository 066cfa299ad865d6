"""Zips that strangers send: their directory and entries, read in memory and within limits."""

import bz2
import io
import lzma
import struct
import zipfile
import zlib

MAX_ENTRIES = 5000
"""Records in the directory of a zip: folders and hidden files count as well as images."""
_RECORD = b"PK\x01\x02"
_LOCAL = struct.Struct("<4s22xHH")
_LOCKED = 0x1 | 0x40
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, MemoryError,
    ArithmeticError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What zipfile and the decompressors raise of forged bytes."""


class Refusal(Exception):
    """Why a zip, or an entry, is not read: a sentence."""


def is_zip(data: bytes) -> bool:
    """Whether a file begins as zips do."""
    return data[:4] == b"PK\x03\x04"


def directory(data: bytes) -> list[zipfile.ZipInfo]:
    """All entries of a zip, as its directory lists them.

    Their number is bounded before anything is parsed, by the signatures that each needs: a
    directory may say that it is small and be large.

    Raises:
        Refusal: it has too many entries, or is damaged.
    """
    if data.count(_RECORD) > MAX_ENTRIES:
        raise Refusal(f"A zip must have at most {MAX_ENTRIES} entries, but this one has more.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.infolist()
    except _DAMAGE as error:
        raise Refusal("A zip must be whole, but the directory of this one is damaged.") from error


def content(data: bytes, entry: zipfile.ZipInfo) -> bytes:
    """An entry, unpacked: never more than the bytes that its directory promises.

    Args:
        data: the zip.
        entry: of its directory; the promised size must have been checked.

    Raises:
        Refusal: it is locked, damaged, or compressed in another way than stored, deflated, bzip2
            or LZMA.
    """
    if entry.flag_bits & _LOCKED:
        raise Refusal("A zip must have no password.")
    try:
        unpacked = _unpacked(_packed(data, entry), entry)
    except _DAMAGE as error:
        raise Refusal("A zip must be whole: this entry is damaged.") from error
    if len(unpacked) != entry.file_size or zlib.crc32(unpacked) != entry.CRC:
        raise Refusal("A zip must be whole: this entry is not what its directory says.")
    return unpacked


def _packed(data: bytes, entry: zipfile.ZipInfo) -> bytes:
    if entry.header_offset < 0:
        raise ValueError("negative offset")
    signature, name, extra = _LOCAL.unpack_from(data, entry.header_offset)
    if signature != b"PK\x03\x04":
        raise ValueError("no entry there")
    start = entry.header_offset + _LOCAL.size + name + extra
    return data[start : start + entry.compress_size]


def _unpacked(packed: bytes, entry: zipfile.ZipInfo) -> bytes:
    """At most one byte more than was promised, which shows that the promise is wrong."""
    most = entry.file_size + 1
    method = entry.compress_type
    if method == zipfile.ZIP_STORED:
        return packed[:most]
    if method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, most)
    if method == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(packed, most)
    if method == zipfile.ZIP_LZMA:
        return _lzma(packed, most)
    raise Refusal(
        "An entry of a zip must be stored, deflated, or compressed by bzip2 or LZMA; pack it anew."
    )


def _lzma(packed: bytes, most: int) -> bytes:
    size, kind, dictionary = struct.unpack_from("<2xHBI", packed)
    if size != 5 or kind >= 9 * 5 * 5:
        raise ValueError("unknown properties")
    rest, lc = divmod(kind, 9)
    pb, lp = divmod(rest, 5)
    how = {
        "id": lzma.FILTER_LZMA1,
        # No distance reaches further back than the first byte: what a file asks for beyond that
        # would be memory for nothing, up to 4 GiB.
        "dict_size": min(max(dictionary, 4096), max(most, 4096)),
        "lc": lc, "lp": lp, "pb": pb,
    }  # fmt: skip
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[how]).decompress(packed[9:], most)
