"""Shards that are damaged, incomplete, forged or of another program's making."""

import errno
import io
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_prepared_manifests import WRONG, sign
from test_preparing import content, left, pictures, records

from skinxai import read_image
from skinxai.configs import canonical_json
from skinxai.data import Records, load_shards, tar_writer, write_shards
from skinxai.disk import tar_members
from skinxai.errors import (
    DatasetError,
    DatasetImageError,
    DatasetLabelError,
    DatasetPathError,
    DatasetSchemaError,
    InputError,
    IntegrityError,
    OptionError,
    OutputError,
)

__all__ = ["pictures", "records"]  # fixtures


@pytest.fixture
def out(records: Records, tmp_path: Path) -> Path:
    write_shards(records, tmp_path / "out", shard_bytes=100_000, progress=False)
    return tmp_path / "out"


def tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def handles() -> int:
    """Files that this process has open; on systems that do not say, 0."""
    own = Path("/proc/self/fd")
    return len(list(own.iterdir())) if own.is_dir() else 0


def refused(folder: Path, kind: type[Exception], *words: str) -> str:
    with pytest.raises(kind) as caught:
        load_shards(folder, progress=False)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text.split(";")[0]
    return text


def test_a_missing_shard(out) -> None:
    tars(out)[1].unlink()
    refused(out, IntegrityError, "1 of", "is missing", "-000001.tar", "copy the whole folder")


def test_a_shard_that_the_index_does_not_list(out) -> None:
    shutil.copy(tars(out)[0], out / "copy.tar")
    refused(out, IntegrityError, "'copy.tar'", "not listed in index.json")


def test_a_torn_shard(out) -> None:
    data = tars(out)[0].read_bytes()
    tars(out)[0].write_bytes(data[: len(data) // 2])
    refused(out, IntegrityError, "must have", "bytes")


def test_one_changed_byte(out) -> None:
    data = bytearray(tars(out)[0].read_bytes())
    data[700] ^= 1
    tars(out)[0].write_bytes(data)
    refused(out, IntegrityError, "sha256", "-000000.tar")
    assert load_shards(out, verify=False, progress=False)  # as it says


def test_a_shard_in_the_place_of_another(out) -> None:
    first, second = tars(out)[:2]
    shutil.copy(second, first)
    refused(out, IntegrityError, first.name)


def test_the_index_of_another_folder(records, out, tmp_path) -> None:
    fewer = replace(records, items=records.items[:6])
    write_shards(fewer, tmp_path / "two", shard_bytes=100_000, progress=False)
    shutil.copy(tmp_path / "two" / "index.json", out)
    refused(out, IntegrityError)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "0" * 64}, {"images": 11}, {"labels": None}, {"shards": {"../x.tar": {}}},
        {"schema_version": 2},
    ],
)  # fmt: skip
def test_a_changed_index(out, change) -> None:
    path = out / "index.json"
    path.write_bytes(canonical_json(json.loads(path.read_bytes()) | change))
    refused(out, IntegrityError, "index.json", "must be whole and match its own digest")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 2}, "version 1, but it is of 'webdataset shards', version 2"),
        ({"schema_version": True}, "version 1, but it is of 'webdataset shards', version True"),
        ({"images": 11}, "images must be the sum of the samples"),
        *WRONG,
        ({"plan": 3}, "plan must be text"),
        ({"shards": {"../x.tar": {"bytes": 1, "samples": 10, "sha256": ""}}}, "must be a tar with"),
        ({"shards": {"x.tar": {"bytes": 1}}}, "must be as skinxai writes it"),
        ({"more": 1}, "its keys must be"),
    ],
)
def test_values_of_a_signed_index(out, change, words) -> None:
    sign(out, change, "index.json")
    refused(out, IntegrityError, "index.json", words)


def test_an_index_that_is_not_as_it_was_written(out) -> None:
    """Its digest holds, but readers of JSON might disagree on what it says."""
    path = out / "index.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=1))
    refused(out, IntegrityError, "index.json", "must be whole and match its own digest")


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"null"])
def test_an_index_that_is_none(out, text) -> None:
    (out / "index.json").write_bytes(text + b' "webdataset shards"')
    refused(out, IntegrityError, "index.json", "must be whole")


def test_without_its_index(out) -> None:
    (out / "index.json").unlink()
    refused(out, IntegrityError, "must have their index.json")


def test_a_shard_that_changes_after_it_was_opened(out) -> None:
    found = load_shards(out, progress=False)
    path = found[0].path.parent
    data = path.read_bytes()
    path.write_bytes(bytes(512) + data)
    with pytest.raises(InputError, match="has changed since it was opened"):
        read_image(found[0].path)


def test_a_shard_that_is_replaced_by_another_one(out) -> None:
    """The one that was opened is read, or an error is raised: never what lies there now."""
    found = load_shards(out, progress=False)
    expected = read_image(found[0].path).pixels.tolist()
    tar = found[0].path.parent
    other = next(path for path in tars(out) if path != tar)
    shutil.copy(other, out / "copy")
    (out / "copy").replace(tar)
    assert read_image(found[0].path).pixels.tolist() == expected
    tar_members._opened.cache_clear()
    with pytest.raises(InputError, match="has changed since it was opened"):
        read_image(found[0].path)
    refused(out, IntegrityError, tar.name)


@pytest.mark.parametrize("pread", [True, False])
def test_threads_read_from_more_tars_than_stay_open(records, tmp_path, monkeypatch, pread) -> None:
    monkeypatch.setattr(tar_members, "_PREAD", pread)
    monkeypatch.setattr(tar_members, "_opened", lru_cache(2)(tar_members._Handle))
    made = write_shards(records, tmp_path / "out", shard_bytes=1, progress=False)
    assert len(tars(tmp_path / "out")) == len(records)
    before = handles()
    expected = [item.path.read_bytes() for item in records]
    order = [n for k in range(1, 8) for n in np.random.default_rng(k).permutation(10).tolist()]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: tar_members.read_stored(made[n].path, 2**20), order))
    assert found == [expected[n] for n in order]
    assert handles() <= before + 2  # nothing else is left open


PICTURE = io.BytesIO()
Image.new("RGB", (40, 40), (200, 90, 90)).save(PICTURE, "PNG")
PNG = PICTURE.getvalue()
NV, MEL = b'{"label": "nv"}', b'{"label": "mel"}'
GOOD = {"a.png": PNG, "a.json": NV, "b.png": PNG, "b.json": MEL}


def packed(folder: Path, files: Mapping[str, bytes], *more: tarfile.TarInfo) -> Path:
    """A tar of somebody else."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(tars(folder)):03d}.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in more:
            tar.addfile(member)
    return path


def test_sound_ones_of_others(tmp_path) -> None:
    packed(tmp_path / "x", {f"./deep/{name}": data for name, data in GOOD.items()})
    found = load_shards(tmp_path / "x", progress=False)
    assert [item.image_id for item in found] == ["deep/a", "deep/b"]
    assert [read_image(item.path).pixels[0, 0].tolist() for item in found] == [[200, 90, 90]] * 2
    assert "labels are sorted" in " ".join(found.notes)


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "C:x.png", "..\\x.png"])
def test_paths_that_lead_out(tmp_path, name) -> None:
    packed(tmp_path / "x", GOOD | {name: PNG})
    refused(tmp_path / "x", DatasetPathError, "000.tar", "a path that leads out of it")


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"), (tarfile.FIFOTYPE, "a pipe"),
    ],
)  # fmt: skip
def test_members_that_are_no_files(tmp_path, kind, word) -> None:
    member = tarfile.TarInfo("c.png")
    member.type, member.linkname = kind, "/etc/passwd"
    packed(tmp_path / "x", GOOD, member)
    refused(tmp_path / "x", DatasetPathError, f"'c.png', which is {word}, not a file")


def test_a_key_twice_in_one_shard_and_in_two(tmp_path) -> None:
    path = packed(tmp_path / "x", GOOD)
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    refused(tmp_path / "x", DatasetPathError, "holds 'a.png' twice")
    packed(tmp_path / "y", GOOD)
    packed(tmp_path / "y", GOOD)
    text = refused(tmp_path / "y", DatasetSchemaError, "image 'a' is twice", "image 'b' is twice")
    assert "'000.tar/a.png' and '001.tar/a.png'" in text


def test_every_sample_at_fault_is_named(tmp_path) -> None:
    packed(
        tmp_path / "x",
        GOOD | {"c.png": PNG, "d.png": PNG, "d.json": b'{"label": ""}', "e.json": NV,
                "f.png": PNG, "f.jpg": PNG, "f.json": NV, "g.png": PNG, "g.json": b"[1",
                "h.png": PNG, "h.json": b'{"label": "nv", "label": "mel"}',
                "i.png": PNG, "i.json": b'{"label": "nv", "Label ": "mel"}'},
    )  # fmt: skip
    text = refused(tmp_path / "x", DatasetLabelError)
    for key in "cd":
        assert f"'{key}' must have a label" in text
    for key in "ef":
        assert f"'{key}' must have one image" in text
    assert "'g.json' must be JSON" in text and "it has a key twice: 'label'" in text
    assert "'i.json' must have each name once, but 'Label ' is there twice, once as 'label'" in text


def test_a_member_that_is_no_image(tmp_path) -> None:
    packed(tmp_path / "x", GOOD | {"b.png": b"no image"})
    found = load_shards(tmp_path / "x", progress=False)
    with pytest.raises(InputError, match=r"b\.png"):
        read_image(found[1].path)
    with pytest.raises(DatasetImageError, match="1 of 2 images cannot be read"):
        write_shards(found, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists() and not (tmp_path / ".out.shards.part").exists()


@pytest.mark.parametrize("cut", [512, 1024, 5000, 10_240])
def test_torn_tars_of_others(tmp_path, cut) -> None:
    path = packed(tmp_path / "x", GOOD)
    data = path.read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512  # where the last file ends
    path.write_bytes(data[: max(end + 512 - cut, 0)])
    refused(tmp_path / "x", DatasetPathError, "must be a whole tar of images")


def test_what_is_no_plain_tar(tmp_path) -> None:
    path = packed(tmp_path / "x", GOOD)
    whole = path.read_bytes()
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    refused(tmp_path / "x", DatasetPathError, "no plain tar")
    path.write_bytes(whole + whole)  # the second one's files would be missed
    refused(tmp_path / "x", DatasetPathError, "something behind its end")
    path.unlink()
    refused(tmp_path / "x", DatasetError, "must hold shards (.tar), found none")
    refused(tmp_path / "nowhere", DatasetError, "must be a folder of shards")


def test_a_full_disk(records, tmp_path, monkeypatch) -> None:
    """The finished shards stay in the hidden folder, and the same call goes on with them."""

    def full(descriptor: int) -> None:
        if len(list((tmp_path / ".out.shards.part").glob("*.tar"))):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(tar_writer.os, "fsync", full)
        with pytest.raises(OutputError, match="No space left on device; the same call goes on"):
            write_shards(records, tmp_path / "out", shard_bytes=100_000, progress=False)
    assert not (tmp_path / "out").exists()
    write_shards(records, tmp_path / "out", shard_bytes=100_000, progress=False)
    write_shards(records, tmp_path / "whole", shard_bytes=100_000, progress=False)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert left(tmp_path) == {"out", "whole", ".whole.lock"}


def test_a_folder_that_holds_something_else_or_other_shards(records, out, tmp_path) -> None:
    with pytest.raises(OutputError, match="it was written from other records"):
        write_shards(replace(records, name="others"), out, shard_bytes=100_000, progress=False)
    with pytest.raises(OutputError, match="not \\(96, 128\\)"):
        write_shards(records, out, image_size=(96, 128), shard_bytes=100_000, progress=False)
    with pytest.raises(OutputError, match="it holds something else"):
        write_shards(records, tmp_path / "pictures", progress=False)
    records[3].path.write_bytes(PNG)
    with pytest.raises(OutputError, match="original files have changed or are gone"):
        write_shards(records, out, shard_bytes=100_000, progress=False)


def test_arguments_out_of_range(records, out, tmp_path) -> None:
    for value in (0, 1.5, True):
        with pytest.raises(OptionError, match="shard_bytes must be an integer >= 1"):
            write_shards(records, tmp_path / "z", shard_bytes=value, progress=False)
    with pytest.raises(OptionError, match="labels must be left out"):
        load_shards(out, labels=["nv", "mel"], progress=False)
    with pytest.raises(DatasetError, match="at least one image"):
        write_shards(replace(records, items=()), tmp_path / "z", progress=False)
