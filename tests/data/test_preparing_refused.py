"""Preparing is refused, and other folders are left alone; a changed folder is not loaded."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_preparing import content, left, pictures, records

from skinxai.data import Records, load_prepared, prepare, shards, write_shards
from skinxai.errors import DatasetError, DatasetImageError, IntegrityError, OptionError, OutputError
from skinxai.plain_text import quoted

__all__ = ["pictures", "records"]  # fixtures


@pytest.mark.parametrize("name", ["manifest.json", "records.csv", *map(shards.shard_name, (0, 1))])
def test_a_changed_file_is_named(records, tmp_path: Path, monkeypatch, name: str) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 1_500_000)
    prepare(records, tmp_path / "out", progress=False)
    path = tmp_path / "out" / name
    sound = path.read_bytes()
    for place in (0, len(sound) // 2, len(sound) - 1):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        with pytest.raises(IntegrityError, match=f"^{name} in .* prepare the data again"):
            load_prepared(tmp_path / "out")
        with pytest.raises(IntegrityError, match=name):
            prepare(records, tmp_path / "out", progress=False)
    if name in ("manifest.json", "records.csv"):
        with pytest.raises(IntegrityError, match=name):
            load_prepared(tmp_path / "out", verify=False)
    path.write_bytes(sound[:-1])
    with pytest.raises(IntegrityError, match=f"^{name} in "):
        load_prepared(tmp_path / "out", verify=False)
    path.unlink()
    with pytest.raises(DatasetError if name == "manifest.json" else IntegrityError, match=name):
        load_prepared(tmp_path / "out", verify=False)


def test_a_shard_that_shrinks_after_loading_is_an_error_no_crash(records, tmp_path: Path) -> None:
    made = prepare(records, tmp_path / "out", progress=False)
    (tmp_path / "out" / shards.shard_name(0)).write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"pixels-00000\.bin .* it has 0"):
        made.pixels.read(made[0].image_id)


def test_all_unreadable_files_are_listed_and_nothing_is_left(records, tmp_path: Path) -> None:
    bad = {1: b"", 4: b"no image", 7: Path(records[7].path).read_bytes()[:900]}
    for place, damaged in bad.items():
        Path(records[place].path).write_bytes(damaged)
    Path(records[9].path).unlink()
    with pytest.raises(DatasetImageError, match="4 of 10 images cannot be read: '=ö") as caught:
        prepare(records, tmp_path / "out", progress=False)
    names = [repr(records[place].image_id) for place in (1, 4, 7, 9)]
    assert [text.split(":")[0] for text in caught.value.problems] == names
    assert "empty" in caught.value.problems[0] and "found no image file" in caught.value.problems[3]
    assert left(tmp_path) == set()


def test_what_does_not_come_back_is_refused(records: Records, tmp_path: Path) -> None:
    wrong = replace(records[2], attributes={"age": (5,)})
    items = (*records[:2], wrong, *records[3:])
    with pytest.raises(
        DatasetError, match=f"change when they are written and read: '{wrong.image_id}'"
    ):
        prepare(replace(records, items=items), tmp_path / "out", progress=False)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("value", [math.nan, np.int64(5), ("5",), 5, None])
@pytest.mark.parametrize("write", [prepare, write_shards])
def test_attributes_that_do_not_come_back_are_named_first(records, tmp_path, write, value) -> None:
    """Rows of a pandas table have NaN and numbers of NumPy."""
    wrong = replace(records[2], attributes={"sex": "male", "age": value})
    rows, out = replace(records, items=(records[1], wrong)), tmp_path / "out"
    if write is prepare and type(value) in (int, type(None)):  # a table has numbers
        assert write(rows, out, progress=False)[1].attributes["age"] == value
        return
    Path(records[1].path).write_bytes(b"no image")  # which comes second
    with pytest.raises(DatasetError) as caught:
        write(rows, out, progress=False)
    assert f"{quoted(wrong.image_id)}, whose 'age' is {value!r}; give such" in str(caught.value)
    assert left(tmp_path) == set()


@pytest.mark.parametrize("size", [(31, 64), (64,), 31, (64.0, 64), "64x64", (5000, 64)])
def test_wrong_sizes_and_no_records(records: Records, tmp_path: Path, size) -> None:
    with pytest.raises(OptionError, match=r"image_size must be \(height, width\), or one number"):
        prepare(records, tmp_path / "out", image_size=size)
    with pytest.raises(DatasetError, match="at least one image"):
        prepare(replace(records, items=()), tmp_path / "out")
    assert left(tmp_path) == set()


def test_other_folders_are_never_touched(records: Records, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="it holds something else"):
        prepare(records, target, progress=False)
    with pytest.raises(OutputError, match="it holds something else"):
        prepare(records, target / "thesis.txt", progress=False)
    with pytest.raises(OutputError, match=r"^making the folder .* failed: "):
        prepare(records, target / "thesis.txt" / "out", progress=False)
    assert content(target) == {"thesis.txt": b"years of work"} and left(tmp_path) == {"out"}


def test_again_is_the_same_folder_and_nothing_else_is(records: Records, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()  # empty is fine
    made = prepare(records, target, image_size=(64, 64), progress=False)
    before = {path: path.stat().st_mtime_ns for path in target.iterdir()}
    assert prepare(records, target, image_size=(64, 64), progress=False) == made
    assert prepare(made, target, image_size=(64, 64), progress=False) == made
    with pytest.raises(OutputError, match=r"image_size=\(64, 64\), not None"):
        prepare(records, target, progress=False)
    with pytest.raises(OutputError, match="prepared from other records"):
        prepare(records.subset(["=ö1"]), target, image_size=(64, 64), progress=False)
    with pytest.raises(OutputError, match="prepared from other records"):
        prepare(replace(records, licence="MIT"), target, image_size=(64, 64), progress=False)
    with Path(records[4].path).open("ab") as file:
        file.write(b"\0")  # decodes as before: the file decides
    Path(records[6].path).unlink()
    with pytest.raises(OutputError, match=f"2 original files have .*'{records[4].image_id}' first"):
        prepare(records, target, image_size=(64, 64), progress=False)
    assert {path: path.stat().st_mtime_ns for path in target.iterdir()} == before
