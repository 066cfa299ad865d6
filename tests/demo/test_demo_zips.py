"""Forged zips: each entry, or the zip, becomes a sentence, and the rest of the batch goes on."""

import lzma
import random
import struct
import zipfile
from collections.abc import Callable

import pytest
from demo_zips import changed, million, zipped

from skinxai.demo import archives, uploads
from skinxai.demo.uploads import Images, Refused, Upload

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
LAST = Upload("last.png", b"the next of the batch")


def found(data: bytes) -> list[Upload | Refused]:
    *of_zip, last = Images([Upload("z.zip", bytes(data)), LAST])
    assert last == LAST
    return of_zip


def reason(data: bytes) -> str:
    (refused,) = found(data)
    assert isinstance(refused, Refused)
    return refused.reason


@pytest.mark.parametrize("method", METHODS)
def test_changed_zips_give_their_images_or_sentences(method: int) -> None:
    rng = random.Random(method)
    files = {f"{k}.png": rng.randbytes(300) + bytes(2000) for k in range(3)}
    whole = zipped(files, method)
    assert [each.data for each in found(whole)] == list(files.values())
    kinds = set()
    for _ in range(750):
        for each in found(changed(whole, rng)):
            kinds.add(type(each))
            if isinstance(each, Upload):
                assert each.data in files.values()
    assert kinds == {Upload, Refused}


@pytest.mark.parametrize("method", METHODS)
def test_an_entry_of_damaged_bytes_leaves_the_others(method: int) -> None:
    first, second = (random.Random(seed).randbytes(500) for seed in (0, 1))
    data = zipped({"bad.png": first, "good.png": second}, method)
    place = data.find(b"bad.png") + len("bad.png") + 9
    data[place : place + 5] = b"\xff" * 5
    bad, good = found(data)
    assert isinstance(bad, Refused) and bad.reason.startswith("A zip must be whole: this entry is")
    assert bad.name == "z.zip/bad.png" and good.data == second


def lie(data: bytearray, size: int) -> bytearray:
    for place in (data.find(b"PK\x03\x04") + 22, data.find(b"PK\x01\x02") + 24):
        struct.pack_into("<I", data, place, size)
    return data


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize("size", [0, 10, 10**6 - 1, 10**6 + 1])
def test_no_more_is_unpacked_than_an_entry_says(
    method: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = []
    own: Callable[..., bytes] = archives._unpacked

    def counted(*args: object) -> bytes:
        unpacked.append(own(*args))
        return unpacked[-1]

    monkeypatch.setattr(archives, "_unpacked", counted)
    data = lie(zipped({"a.png": bytes(10**6)}, method), size)
    assert reason(data) == "A zip must be whole: this entry is not what its directory says."
    assert [len(each) for each in unpacked] == [min(size + 1, 10**6)]


def test_lzma_that_asks_for_four_gigabytes_gets_what_its_entry_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    own = lzma.LZMADecompressor

    def decompressor(format: int, filters: list[dict[str, int]]) -> lzma.LZMADecompressor:
        asked.extend(each["dict_size"] for each in filters)
        return own(format, filters=filters)

    monkeypatch.setattr(archives.lzma, "LZMADecompressor", decompressor)
    image = random.Random(0).randbytes(1000) * 3
    data = zipped({"a.png": image}, zipfile.ZIP_LZMA)
    place = data.find(b"a.png") + len("a.png") + 5
    data[place : place + 4] = b"\xff" * 4  # the size of its dictionary
    assert [each.data for each in found(data)] == [image] and asked == [4096]


@pytest.mark.parametrize("properties", [225, 255, 40])
def test_lzma_with_properties_that_there_are_not_is_refused(properties: int) -> None:
    data = zipped({"a.png": bytes(1000)}, zipfile.ZIP_LZMA)
    data[data.find(b"a.png") + len("a.png") + 4] = properties
    assert reason(data).startswith("A zip must be whole: this entry is")


def test_zip64_records_that_lead_nowhere_are_refused() -> None:
    data = zipped({"a.png": b"x"}, zipfile.ZIP_STORED)
    end = data.rfind(b"PK\x05\x06")
    for offset in (0, 2**31, 2**63 - 1, 2**64 - 1):
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 2**40, offset)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, offset, 1)
        assert "must be whole" in reason(data[:end] + record + locator + data[end:])


def test_too_many_entries_are_refused_before_they_are_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 20)
    many = zipped({f"{k}.png": b"" for k in range(21)}, zipfile.ZIP_STORED)
    few = zipped({f"{k}.png": b"" for k in range(20)}, zipfile.ZIP_STORED)
    assert len(found(few)) == 20
    monkeypatch.setattr(zipfile, "ZipFile", None)  # would raise
    assert reason(many) == "A zip must have at most 20 entries, but this one has more."
    struct.pack_into("<HH", many, many.rfind(b"PK\x05\x06") + 8, 1, 1)  # says that it has one
    assert reason(many) == "A zip must have at most 20 entries, but this one has more."


def test_a_million_empty_entries_are_refused() -> None:
    few = million(3)
    assert [each.data for each in found(few)] == [b""] * 3  # it is a zip
    assert reason(million()).startswith("A zip must have at most 5000 entries")


def test_the_directory_of_a_zip_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    own = archives.directory
    monkeypatch.setattr(uploads, "directory", lambda data: asked.append(1) or own(data))
    images = Images([Upload("z.zip", bytes(zipped({"a.png": b"x", "b.png": b"y"}, 0)))])
    assert images.count == 2 and len(list(images)) == 2 and asked == [1]


def test_damaged_entries_count_against_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_UNPACKED", 1000)
    data = zipped({f"{k}.png": bytes(400) for k in range(4)}, zipfile.ZIP_DEFLATED)
    place = -1
    while (place := data.find(b"PK\x01\x02", place + 1)) >= 0:
        data[place + 16] ^= 1  # of its checksum
    said = [each.reason.partition(":")[0] for each in found(data)]
    assert (
        said
        == ["A zip must be whole"] * 2
        + ["The images of a batch must have at most 0 MiB together."] * 2
    )


def test_another_compression_and_an_entry_without_a_name_are_refused() -> None:
    data = zipped({"a.png": b"x"}, zipfile.ZIP_STORED)
    data[data.find(b"PK\x01\x02") + 10] = 99
    assert "stored, deflated, or compressed by bzip2 or LZMA" in reason(data)
    data = zipped({"/": b"x"}, zipfile.ZIP_STORED)
    data[data.find(b"PK\x01\x02") + 46] = 0  # names end at a NUL
    assert "leads out" in reason(data)
