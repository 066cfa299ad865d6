"""Answers to a manifest: those of `predict`, whoever makes them, and refused where they differ."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_runs import INPUT, Small, coloured, model_folder

from skinxai import Classifier, ItemError
from skinxai.errors import DatasetSchemaError, OptionError, OutputError, PartsError, SkinxaiError
from skinxai.manifests import collect, predict_manifest
from skinxai.manifests.manifest import Manifest

ROWS, BAD = 23, {5: "input_not_found", 11: "input_path", 17: "image_unsupported"}


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def merged(folder: Path) -> list[dict]:
    out = folder.with_name(folder.name + ".parquet")
    collect(folder, out)
    return pq.read_table(out).to_pylist()


def refused(kind: type[SkinxaiError], *arguments, **options) -> str:
    with pytest.raises(kind) as caught:
        predict_manifest(*arguments, **options)
    return str(caught.value)


@pytest.fixture
def done(small, table, tmp_path) -> Path:
    predict_manifest(small, table, tmp_path / "done", chunk=4, batch_size=3)
    return tmp_path / "done"


def test_answers_are_those_of_predict_and_no_row_is_left_out(small, table, done) -> None:
    rows = merged(done)
    assert [row["row"] for row in rows] == list(range(ROWS))
    for number, row in enumerate(rows):
        assert row["model"] == small.model and row["id"] == (f"id-{number}" if number else None)
        (found,) = small.predict([table.parent / (row["image"] or "nothing")], on_error="return")
        if number in BAD:
            assert isinstance(found, ItemError) and row["error_code"] == BAD[number]
            assert row["label"] is None and row["error"] and str(table.parent) not in row["error"]
            continue
        assert row["error_code"] is None and row["label"] == found.label
        for code, value in found.probabilities.items():
            assert row[f"p_{code}"] == pytest.approx(value, abs=1e-6)
        assert row["malignant_probability"] == pytest.approx(found.malignant_probability, abs=1e-6)
        assert row["probability"] == max(row[f"p_{code}"] for code in found.labels)
    assert rows[3]["image"] == rows[4]["image"] == "3.png"


def test_three_shards_make_the_parts_of_one(small, table, done, tmp_path) -> None:
    for number in range(3):
        report = predict_manifest(
            small, table, tmp_path / "three", shard=(number, 3), chunk=4, batch_size=3
        )
        assert report.chunks == 2 and not report.skipped
    assert parts(tmp_path / "three") == parts(done)
    assert merged(tmp_path / "three") == merged(done)
    again = predict_manifest(small, table, done, shard=(1, 2), chunk=4, batch_size=3)
    assert (again.chunks, again.skipped, again.failed) == (3, 3, 1)  # row 5


def test_finished_chunks_are_not_answered_again(small, table, done, monkeypatch) -> None:
    (done / "part-000002.parquet").unlink()
    before, asked, predict = parts(done), [], Classifier.predict

    def noted(self, images, **options):
        asked.extend(Path(image).name for image in images)
        return predict(self, images, **options)

    monkeypatch.setattr(Classifier, "predict", noted)
    predict_manifest(small, table, done, chunk=4, batch_size=3)
    assert asked == ["8.png", "9.png", "10.png"]  # row 11 names no image
    assert len(parts(done)) == len(before) + 1


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_torn_part_is_made_again_and_said(small, table, done, damage, capsys) -> None:
    path, before = done / "part-000001.parquet", parts(done)
    data = path.read_bytes()
    middle = data.index(b"id-4")
    path.write_bytes({
        "cut": data[:-9], "empty": b"",
        "flipped": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :],
    }[damage])  # fmt: skip
    with pytest.raises(PartsError, match=r"part-000001\.parquet' cannot be collected: "):
        collect(done, done.with_name("x.csv"))
    report = predict_manifest(small, table, done, chunk=4, batch_size=3)
    assert report.skipped == report.chunks - 1 and parts(done) == before
    assert "part-000001.parquet' is made anew" in capsys.readouterr().err


def test_no_flipped_bit_of_a_part_changes_an_answer(done) -> None:
    from skinxai.manifests.arrow import read_part

    data = (done / "part-000000.parquet").read_bytes()
    labels = ("red", "green", "blue")
    expected, about = read_part(data, labels)
    noticed = 0
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        try:
            table, told = read_part(bytes(changed), labels)
        except PartsError:
            noticed += 1
            continue
        assert told != about or table.equals(expected), place
    assert noticed > 500


def test_another_run_in_the_folder_is_refused(small, table, done, tmp_path) -> None:
    with pytest.raises(PartsError, match="chunks of 4, and this one has 5"):
        predict_manifest(small, table, done, chunk=5, batch_size=3)
    assert "batch_size 3, and" in refused(PartsError, small, table, done, chunk=4)
    other = Classifier.from_pretrained(model_folder(tmp_path / "other", seed=2))
    assert "with the model model@" in refused(PartsError, other, table, done, chunk=4, batch_size=3)
    copy = tmp_path / "copy.csv"
    copy.write_text(table.read_text() + "\n")
    assert "the manifest with the sha256" in refused(
        PartsError, small, copy, done, chunk=4, batch_size=3
    )
    (done / "run.json").unlink()
    assert "has parts without it" in refused(PartsError, small, table, done, chunk=4, batch_size=3)


def test_a_network_of_ones_own_goes_on_only_as_it_was(table, tmp_path) -> None:
    def wrapped(seed: int) -> Classifier:
        torch.manual_seed(seed)
        network = Small(3, 0.0)
        return Classifier.from_module(network, [*"abc"], INPUT, network.features, network.head)

    out, own = tmp_path / "out", wrapped(1)
    predict_manifest(own, table, out, shard=(0, 2), chunk=4)
    assert predict_manifest(wrapped(1), table, out, shard=(0, 2), chunk=4).skipped == 3
    assert own.model == wrapped(2).model
    assert "weights and calibration with" in refused(PartsError, wrapped(2), table, out, chunk=4)
    with torch.no_grad():
        next(own.network.parameters()).mul_(1.01)  # as when it is trained and used in turns
    assert "weights and calibration with" in refused(PartsError, own, table, out, chunk=4)


def test_two_calibrations_of_one_model_do_not_share_a_folder(small, table, tmp_path) -> None:
    records = [
        replace(coloured(tmp_path / str(n), 6, n), labels=small.config.labels) for n in (1, 2)
    ]
    out, (one, two) = tmp_path / "out", (small.calibrate(each) for each in records)
    predict_manifest(one, table, out, shard=(0, 2), chunk=4)
    assert one.model == two.model
    assert "weights and calibration with" in refused(PartsError, two, table, out, chunk=4)
    assert predict_manifest(one, table, out, chunk=4).skipped == 3


def test_a_part_of_another_run_in_the_place_of_one_is_refused(small, table, done, tmp_path) -> None:
    predict_manifest(small, table, tmp_path / "other", chunk=4, batch_size=2)
    name = "part-000003.parquet"
    (done / name).write_bytes((tmp_path / "other" / name).read_bytes())
    assert "it holds another one's" in refused(
        PartsError, small, table, done, chunk=4, batch_size=3
    )
    with pytest.raises(PartsError, match="it is of another run"):
        collect(done, tmp_path / "x.csv")
    (done / name).write_bytes((done / "part-000002.parquet").read_bytes())
    with pytest.raises(PartsError, match="it holds chunk 2, which would be there twice"):
        collect(done, tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_missing_and_strange_parts_are_named(done, tmp_path) -> None:
    (done / "part-000001.parquet").rename(done / "part-000001 (1).parquet")
    with pytest.raises(PartsError, match=r"has 'part-000001 \(1\)\.parquet'; move it away"):
        collect(done, tmp_path / "x.csv")
    (done / "part-000001 (1).parquet").unlink()
    with pytest.raises(PartsError, match="1 of 6 chunks is missing") as caught:
        collect(done, tmp_path / "x.csv")
    assert "begins with row 4" in str(caught.value)
    assert "skinxai predict --manifest " in caught.value.on_command_line
    for out, said in ((done / "x.csv", "outside"), (tmp_path / "x.txt", "end in")):
        with pytest.raises(OptionError, match=said):
            collect(done, out)
    with pytest.raises(PartsError, match="cannot be read"):
        collect(tmp_path / "nowhere", tmp_path / "x.csv")
    (done / "run.json").write_text("{}")
    with pytest.raises(PartsError, match="is damaged"):
        collect(done, tmp_path / "x.csv")


def test_a_csv_of_answers_says_what_the_parquet_says(done, tmp_path) -> None:
    import csv

    found = collect(done, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [row["image"] or "" for row in merged(done)]
    assert [row["error_code"] for row in rows if row["error_code"]] == list(BAD.values())
    assert found.images == ROWS == sum(found.labels.values()) + sum(found.errors.values())
    assert found.errors == dict.fromkeys(BAD.values(), 1)


def test_manifests_that_are_none(small, table, tmp_path) -> None:
    def said(text: str | bytes, **options) -> str:
        path = tmp_path / "m.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        found = refused(DatasetSchemaError, small, path, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
        return found

    assert "must have the column 'image', but it has ['file', 'id']" in said("file,id\n1,2\n")
    assert "must list at least one image, got none" in said("image,id\n\n")
    assert "must have each id once, but 'b' stands in the rows 1 and 3" in said(
        "image,id\n1,a\n2,b\n3,\n4,b\n5,\n"
    )
    assert "line 3 has 1" in said("image,id\n1,2\n3\n")
    assert "must be CSV in UTF-8" in said(b"image,id\n1,\xff\n")
    assert "it is a picture" in said((table.parent / "0.png").read_bytes())
    assert "must be a whole Parquet file" in said(b"PAR1 and no more")
    assert "No such file" in refused(
        DatasetSchemaError, small, tmp_path / "nowhere.csv", tmp_path / "out"
    )
    assert "chunk must be" in refused(OptionError, small, table, tmp_path / "out", chunk=0)
    assert "columns must name" in refused(
        OptionError, small, table, tmp_path / "out", columns={"label": "x"}
    )
    assert "numbered from 0 to 15, got 16/16" in refused(
        OptionError, small, table, tmp_path / "out", shard=(16, 16)
    )


@pytest.mark.parametrize("group", [3, 1000])
def test_a_manifest_in_parquet_gives_the_same_rows(small, table, done, tmp_path, group) -> None:
    import csv

    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in ("id", "image")}
    path = table.with_name(f"lesions-{group}.parquet")
    pq.write_table(pa.table(columns), path, row_group_size=group)
    predict_manifest(small, path, tmp_path / "out", chunk=4, batch_size=3)
    assert merged(tmp_path / "out") == merged(done)
    pq.write_table(pa.table({"image": [1.5]}), path)
    assert "must be text" in refused(DatasetSchemaError, small, path, tmp_path / "new")


def test_views_of_text_and_ids_that_are_all_missing_are_read_from_parquet(tmp_path) -> None:
    path, names = tmp_path / "m.parquet", ["a.png", "b.png", "a.png"]
    columns = {"image": pa.array(names, pa.string_view()), "id": pa.nulls(3)}
    pq.write_table(pa.table(columns), path, row_group_size=2)
    opened = Manifest.open(path, chunk=2, progress=False)
    rows = [row for chunk in opened.chunks for row in opened.read(chunk)]
    assert [row.image for row in rows] == names and not any(row.id for row in rows)


@pytest.mark.parametrize("twice", ["image", "id"])
def test_a_manifest_in_parquet_with_a_column_twice_is_refused(small, tmp_path, twice) -> None:
    names, path = ["image", "id", twice], tmp_path / "m.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a.png"])] * 3, names=names), path)
    said = refused(DatasetSchemaError, small, path, tmp_path / "out")
    assert f"m.parquet must have each column once, but {twice!r} is there twice" in said
    names[2] = "note"  # of columns that are not read, nothing is asked
    pq.write_table(pa.Table.from_arrays([pa.array(["a.png"])] * 4, names=[*names, "note"]), path)
    predict_manifest(small, path, tmp_path / "out")


def test_a_manifest_that_changes_meanwhile_is_refused(small, table, tmp_path) -> None:
    path = table.with_name("changing.csv")
    text = "image\n" + "0.png\n" * 8 + "1.png\n" * 8
    path.write_text(text)

    def change(*_: object) -> None:
        path.write_text(text.replace("1.png", "2.png"))

    assert "its rows 8 to 15 were changed" in refused(
        PartsError, small, path, tmp_path / "out", chunk=8, progress=change
    )
    assert set(parts(tmp_path / "out")) == {"run.json", "part-000000.parquet"}


def test_addresses_are_read_by_fsspec(small, table, tmp_path, monkeypatch) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/lesions/0.png", (table.parent / "0.png").read_bytes())
    path = tmp_path / "m.csv"
    files.pipe("/lesions/2.png", b"no image")
    path.write_text(
        "image\nmemory://lesions/0.png\nmemory://lesions/1.png\nnokind://x\nmemory://lesions/2.png\n"
    )
    predict_manifest(small, path, tmp_path / "out")
    rows = merged(tmp_path / "out")
    found = small.predict(table.parent / "0.png")
    assert rows[0]["label"] == found.label
    assert rows[0]["p_red"] == pytest.approx(found.probabilities["red"], abs=1e-6)
    codes = [None, "input_not_found", "input_path", "image_unsupported"]
    assert [row["error_code"] for row in rows] == codes
    assert "memory://lesions/2.png" in rows[3]["error"]  # and not "bytes (8)"
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    assert "run pip install fsspec" in refused(OptionError, small, path, tmp_path / "new")


def test_without_pyarrow_one_sentence_says_what_to_install(
    small, table, tmp_path, monkeypatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    said = 'answers in Parquet need the package pyarrow: pip install "skinxai[parquet]".'
    assert refused(OptionError, small, table, tmp_path / "out") == said
    with pytest.raises(OptionError, match="pyarrow"):
        collect(tmp_path, tmp_path / "x.csv")


def test_a_full_disk_ends_with_a_sentence_and_leaves_what_is_done(small, table, tmp_path) -> None:
    import signal

    out = tmp_path / "out"
    predict_manifest(small, table, out, shard=(0, 6), chunk=4)
    before, limits = parts(out), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        said = refused(OutputError, small, table, out, chunk=4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "part-000001.parquet" in said and "File too large" in said
    assert parts(out) == before
    assert predict_manifest(small, table, out, chunk=4).skipped == 1


def test_the_note_of_a_run_holds_no_time(done, table) -> None:
    found = json.loads((done / "run.json").read_text())
    assert found["words"] == [str(table)] and "time" not in json.dumps(found)
