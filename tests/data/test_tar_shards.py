"""Shards hold the records and pixels of the files; WebDataset reads and writes such tars, too."""

import hashlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import TESTS
from test_preparing import content, pictures, records
from typer.testing import CliRunner

from skinxai import read_image
from skinxai.cli import app
from skinxai.configs import PreprocessConfig
from skinxai.data import Records, audit, load_shards, pixel_hash, split, write_shards
from skinxai.data.detecting import open_records
from skinxai.data.splits import PARTS
from skinxai.disk import tar_members
from skinxai.images.transforms import evaluation_transform, resize

__all__ = ["pictures", "records"]  # fixtures


@pytest.fixture
def made(records: Records, tmp_path: Path) -> Records:
    return write_shards(records, tmp_path / "deep" / "out", shard_bytes=100_000, progress=False)


def lost(records: Records) -> Records:
    """The records without their paths, which shards do not keep."""
    return replace(records, items=tuple(replace(item, path=Path()) for item in records))


def test_the_same_records_in_their_order_and_the_same_bytes(records, made, tmp_path) -> None:
    assert lost(made) == lost(records)
    tars = [item.path.parent for item in made]
    assert len(set(tars)) > 2 and tars != sorted(tars)  # shuffled among the shards
    for item, own in zip(made, records, strict=True):
        assert tar_members.read_stored(item.path, 2**20) == own.path.read_bytes()
        np.testing.assert_array_equal(read_image(item.path).pixels, read_image(own.path).pixels)
    assert load_shards(tmp_path / "deep" / "out", progress=False) == made
    assert open_records(tmp_path / "deep" / "out") == made
    assert {p.name for p in (tmp_path / "deep").iterdir()} - {".out.lock"} == {"out"}


def test_the_index_says_what_lies_in_each_shard(records, made, tmp_path) -> None:
    out = tmp_path / "deep" / "out"
    index = json.loads((out / "index.json").read_bytes())
    assert {*index["shards"], "index.json"} == set(content(out))
    for name, listed in index["shards"].items():
        data = (out / name).read_bytes()
        places = tar_members.members(out / name)
        assert listed["bytes"] == len(data)
        assert listed["sha256"] == hashlib.sha256(data).hexdigest()
        assert 2 * listed["samples"] == len(places)
        for key, (offset, size) in places.items():
            if key.endswith(".json"):
                values = json.loads(data[offset : offset + size])
                own = records[values["position"]]
                assert (values["image_id"], values["label"]) == (own.image_id, own.label)
                assert values["lesion_id"] == own.lesion_id
                assert values["pixel_hash"] == pixel_hash(read_image(own.path).pixels)
                assert values["file_sha256"] == hashlib.sha256(own.path.read_bytes()).hexdigest()


def test_written_twice_they_are_the_same_bytes(records, made, tmp_path) -> None:
    write_shards(records, tmp_path / "other", shard_bytes=100_000, progress=False)
    assert content(tmp_path / "other") == content(tmp_path / "deep" / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "other").iterdir()}
    again = write_shards(records, tmp_path / "other", shard_bytes=100_000, progress=False)
    assert lost(again) == lost(made)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "other").iterdir()}


def test_resized_images_are_evaluated_to_the_same_bits(records, tmp_path) -> None:
    config = PreprocessConfig((96, 128))
    small = write_shards(records, tmp_path / "out", image_size=(96, 128), progress=False)
    assert lost(replace(small, pixels=None, notes=small.notes[:-1])) == lost(records)
    assert small.notes[-1].startswith("the shards hold images resized to 96×128")
    assert small.pixels.fits(config) and not small.pixels.fits(PreprocessConfig((128, 96)))
    for item, own in zip(small, records, strict=True):
        pixels = read_image(own.path).pixels
        found = small.pixels.read(item.image_id)
        np.testing.assert_array_equal(found, resize(pixels, config))
        np.testing.assert_array_equal(
            evaluation_transform(found, config), evaluation_transform(pixels, config)
        )
        assert small.pixels.hash_of(item.image_id) == pixel_hash(pixels)


def test_splits_and_audit_are_those_of_the_files(records, tmp_path) -> None:
    items = [
        replace(item, lesion_id=f"L{n // 2}" if n < 4 else "", patient_id=None)
        for n, item in enumerate(records)
    ]
    records = replace(records, items=tuple(items))
    made = write_shards(records, tmp_path / "out", shard_bytes=100_000, progress=False)
    own, theirs = split(records, seed=3), split(made, seed=3)
    for part in PARTS:
        names = [item.image_id for item in getattr(own, part)]
        assert names == [item.image_id for item in getattr(theirs, part)]
    assert audit(theirs).to_dict() == audit(own).to_dict()


def test_other_processes_read_them(made) -> None:
    sums = [int(read_image(item.path).pixels.sum(dtype=np.int64)) for item in made]
    code = (
        "import pickle, sys; from skinxai import read_image; "
        "made = pickle.loads(sys.stdin.buffer.read()); "
        "print([int(read_image(item.path).pixels.sum(dtype='int64')) for item in made])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(made), capture_output=True, check=True
    )
    assert json.loads(found.stdout) == sums


WEBDATASET = """
import hashlib, json, sys
import webdataset
found = {}
for each in webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode("rgb8"):
    picture = next(value for name, value in each.items() if name in ("jpg", "png"))
    found[each["json"]["image_id"]] = each["json"]["label"], picture.tolist()
print(json.dumps(found))
"""


def test_webdataset_reads_them(made, tmp_path) -> None:
    """In a process of its own, because it leaves files to be closed by the garbage collector."""
    pytest.importorskip("webdataset")
    tars = sorted(map(str, (tmp_path / "deep" / "out").glob("*.tar")))
    done = subprocess.run([sys.executable, "-c", WEBDATASET, *tars], capture_output=True)
    found = json.loads(done.stdout)
    assert set(found) == {item.image_id for item in made}
    for item in made:
        label, pixels = found[item.image_id]
        own = Image.open(io.BytesIO(tar_members.read_stored(item.path, 2**20))).convert("RGB")
        assert label == item.label
        np.testing.assert_array_equal(np.array(pixels, np.uint8), np.asarray(own))


@pytest.mark.parametrize("named", ["json", "cls"])
def test_what_webdataset_wrote_is_read(records, tmp_path, named) -> None:
    webdataset = pytest.importorskip("webdataset")
    folder = tmp_path / "theirs"
    folder.mkdir()
    with webdataset.ShardWriter(f"{folder.as_posix()}/some-%03d.tar", maxcount=4, verbose=0) as out:
        for number, item in enumerate(records):
            more = {"label": item.label, "lesion_id": f"L{number // 2}", "age": 61}
            about = {"json": more} if named == "json" else {"cls": item.label}
            image = item.path.suffix.removeprefix(".")
            out.write({"__key__": f"case{number:03d}", image: item.path.read_bytes()} | about)
    found = load_shards(folder, labels=records.labels, progress=False)
    assert [item.image_id for item in found] == [f"case{n:03d}" for n in range(10)]
    assert [item.label for item in found] == [item.label for item in records]
    if named == "json":
        assert [item.lesion_id for item in found] == [f"L{n // 2}" for n in range(10)]
        assert dict(found[0].attributes) == {"age": "61"}
    for item, own in zip(found, records, strict=True):
        np.testing.assert_array_equal(read_image(item.path).pixels, read_image(own.path).pixels)
    assert open_records(folder, labels=tuple(records.labels)).class_counts() == found.class_counts()
    assert "whether one is missing or changed is not known" in found.notes[-1]


def test_what_others_call_an_unknown_lesion_is_none(records, tmp_path) -> None:
    """Else all images without a lesion would be one, which no split and no interval parts."""
    words = ("nan", "NA", "unknown", "None", "", "L 1 ")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, word in enumerate(words):
            item = records[number]
            about = {"label": item.label, "lesion_id": word, "patient_id": word}
            about |= {"lesion_id": float("nan")} if not number else {}  # as pandas writes it
            for suffix, data in ((item.path.suffix, item.path.read_bytes()),
                                 (".json", json.dumps(about).encode())):  # fmt: skip
                member = tarfile.TarInfo(f"{number}{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    found = load_shards(tmp_path, labels=records.labels, progress=False)
    assert [item.lesion_id for item in found] == ["0", "1", "2", "3", "4", "L 1"]
    assert [item.patient_id for item in found] == [None] * 5 + ["L 1"]


def test_the_command_writes_them_and_others_take_them(pictures, tmp_path) -> None:
    out, run = str(tmp_path / "out"), CliRunner()
    done = run.invoke(app, ["prepare", str(pictures), out, "--shards", "--labels", "nv,mel"])
    assert done.exit_code == 0, done.output
    assert "in 1 shard in" in done.output
    assert list(load_shards(out, progress=False).labels) == ["nv", "mel"]
    flat = str(tmp_path / "flat")
    run.invoke(app, ["prepare", str(pictures), flat, "--labels", "nv,mel"])
    judged = [run.invoke(app, ["audit", each, "--json"]).stdout for each in (flat, out)]
    first, second = map(json.loads, judged)
    assert first["findings"] == second["findings"]


PROGRAM = """
import os, signal, sys
from test_preparing import *
from skinxai.data import load_folder, write_shards
from skinxai.data.tar_writer import TarWriter
add, left = TarWriter.add, [int(sys.argv[3])]
def deadly(*arguments):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(*arguments)
TarWriter.add = deadly
found = load_folder(sys.argv[1], labels=LABELS)
write_shards(found, sys.argv[2], shard_bytes=100_000, progress=False)
"""


def write(pictures: Path, out: Path, adds: int) -> int:
    """Write shards in a process that is killed at the sample after so many; its exit code."""
    paths = [str(TESTS), str(TESTS / "data"), *sys.path]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(pictures), str(out), str(adds)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
    ).returncode


def test_finished_shards_of_files_that_have_changed_are_written_again(pictures, tmp_path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert write(pictures, out, 7) == -signal.SIGKILL
    assert list((tmp_path / ".out.shards.part").glob("*.tar"))
    for number, path in enumerate(sorted(pictures.rglob("*.*"))):
        Image.new("RGB", (50, 40), (20 * number, 90, 90)).save(path)
    assert write(pictures, out, 10) == write(pictures, whole, 10) == 0
    assert content(out) == content(whole)


def test_a_killed_writer_goes_on_behind_its_finished_shards(pictures, tmp_path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert write(pictures, out, 7) == -signal.SIGKILL
    assert not out.exists()
    finished = {p: p.stat().st_ino for p in (tmp_path / ".out.shards.part").glob("*.tar")}
    assert finished
    assert write(pictures, out, 7) == 0  # only seven samples are added: the others are there
    assert write(pictures, whole, 10) == 0
    assert content(out) == content(whole)
    assert {p.stat().st_ino for p in out.glob("*.tar")} >= set(finished.values())
