"""Prepared folders: the same pixels and records as the files, whole or not there at all."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from skinxai import data, read_image
from skinxai.cli import app
from skinxai.configs import PreprocessConfig
from skinxai.data import (
    Record,
    Records,
    Splits,
    claims,
    load_csv,
    load_folder,
    load_prepared,
    pixel_hash,
    prepare,
    shards,
)
from skinxai.data.detecting import open_records
from skinxai.errors import DatasetError, DatasetImageError, IntegrityError, OptionError, OutputError
from skinxai.images.transforms import evaluation_transform, resize
from skinxai.labels import LabelSet

LABELS = LabelSet(("nv", "mel"), {"mel": "melanoma"}, frozenset({"mel"}))
ODD = {"note": '=cmd("x")', "ort": "Rücken, «links»\nunten\r", "'": "'-1", "height": "7", "": ""}
SIZES = [(320, 240), (360, 270), (400, 240), (240, 320), (64, 48)]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten photographs in two class folders, of several sizes and formats, two of them turned."""
    draws = np.random.default_rng(0)
    for number in range(10):
        coarse = draws.integers(60, 230, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(SIZES[number % 5], Image.Resampling.BICUBIC)
        folder = tmp_path / "pictures" / LABELS[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x0112] = 6 if number in (3, 8) else 1
        suffix = "png" if number % 3 else "jpg"
        picture.save(folder / f"{number}.{suffix}", exif=exif, compress_level=1)
    return tmp_path / "pictures"


@pytest.fixture
def records(pictures: Path) -> Records:
    paths = sorted(pictures.rglob("*.*"), key=lambda path: path.stem, reverse=True)
    items = [
        Record(f"=ö{path.stem}", path, path.parent.name, f"+l{n // 2}", ("P", None)[n % 2],
               ODD if n % 2 else {})
        for n, path in enumerate(paths)
    ]  # fmt: skip
    return Records(tuple(items), LABELS, "Klinik Ä", "CC0-1.0", "us", ("a note",), "val", True)


def same_pixels(prepared: Records, config: PreprocessConfig | None = None) -> None:
    for item in prepared:
        pixels = read_image(item.path).pixels
        assert prepared.pixels.hash_of(item.image_id) == pixel_hash(pixels)
        expected = pixels if config is None else resize(pixels, config)
        found = prepared.pixels.read(item.image_id)
        assert found.dtype == np.uint8 and not found.flags.writeable
        np.testing.assert_array_equal(found, expected)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def left(folder: Path) -> set[str]:
    """What lies beside the pictures, but for the empty lock."""
    return {p.name for p in folder.iterdir()} - {"pictures", ".out.lock"}


def test_the_same_records_and_the_same_pixels(records: Records, tmp_path: Path) -> None:
    made = prepare(records, tmp_path / "deep" / "out", progress=False)
    found = load_prepared(tmp_path / "deep" / "out")
    assert found == made and made.pixels == found.pixels
    assert replace(made, pixels=None) == records and made != records
    assert dict(made[1].attributes) == ODD | {"ort": r"Rücken, «links»\nunten"}
    assert list(made[1].attributes) == list(ODD)
    same_pixels(made)
    assert made.pixels.image_size is None and made.pixels.read("=ö3").shape == (240, 320, 3)
    assert made.pixels.nbytes == sum(read_image(item.path).pixels.nbytes for item in records)
    assert ", LEAKED, prepared)" in repr(made) and "prepared" not in repr(records)
    with pytest.raises(ValueError, match="read-only"):
        made.pixels.read("=ö3")[0] = 0


def test_resized_once_is_evaluated_to_the_same_bits(records: Records, tmp_path: Path) -> None:
    made = prepare(records, tmp_path / "out", image_size=(96, 128), progress=False)
    config = PreprocessConfig((96, 128))
    same_pixels(made, config)
    for item in records:
        np.testing.assert_array_equal(
            evaluation_transform(made.pixels.read(item.image_id), config),
            evaluation_transform(read_image(item.path).pixels, config),
        )
    assert "prepared at 96×128" in repr(made) and made.pixels.interpolation == "bicubic"
    assert made.pixels.fits(config)
    assert not made.pixels.fits(PreprocessConfig((128, 96)))
    assert not made.pixels.fits(PreprocessConfig((96, 128), interpolation="bilinear"))
    whole = prepare(records, tmp_path / "whole", progress=False)
    assert whole.pixels.fits(PreprocessConfig((128, 96), interpolation="bilinear"))


def test_parts_keep_their_pixels(records: Records, tmp_path: Path) -> None:
    made = prepare(records, tmp_path / "out", progress=False)
    names = [item.image_id for item in made]
    parts = {"train": names[:6], "test": names[6:]}
    splits = Splits.of(made, parts, allow_leakage=True)
    same_pixels(splits.test)
    assert "test part" in repr(splits.test) and "prepared" in repr(splits.test)
    with pytest.raises(DatasetError, match="'other' must be one of the 10 in"):
        made.pixels.read("other")
    with pytest.raises(DatasetError, match="'other' must be one of"):
        made.pixels.hash_of("other")


def test_several_shards_and_large_images(records: Records, tmp_path: Path, monkeypatch) -> None:
    one = prepare(records, tmp_path / "one", progress=False)
    monkeypatch.setattr(shards, "SHARD_BYTES", 250_000)  # some images are larger
    many = prepare(records, tmp_path / "many", progress=False)
    same_pixels(many)
    sizes = [p.stat().st_size for p in sorted((tmp_path / "many").glob("*.bin"))]
    assert len(sizes) > 3 and sum(sizes) == one.pixels.nbytes == many.pixels.nbytes
    assert max(sizes) == max(p.nbytes for p in one.pixels.places.values()) > 250_000
    assert all(a + b > 250_000 for a, b in pairwise(sizes))


def test_the_order_of_a_tables_rows_does_not_matter(pictures: Path, tmp_path: Path) -> None:
    rows = [f"{path.name},{path.parent.name}" for path in sorted(pictures.rglob("*.*"))]
    for name, order in (("a", rows), ("b", rows[::-1])):
        table = tmp_path / f"{name}.csv"
        table.write_text("\n".join(["image,label", *order]))
        prepare(load_csv(table, pictures), tmp_path / name, progress=False)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_the_table_is_safe_to_open_in_a_spreadsheet(records: Records, tmp_path: Path) -> None:
    prepare(records, tmp_path / "out", progress=False)
    with (tmp_path / "out" / "records.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["image_id"] for row in rows] == [f"'{item.image_id}" for item in records]
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@")]
    path = Path(records[0].path)
    assert rows[0]["file_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert manifest["labels"]["malignant"] == ["mel"] and manifest["images"] == 10


def test_an_empty_folder_is_filled(records: Records, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "out").mkdir()
    same_pixels(prepare(records, tmp_path / "out", progress=False))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    same_pixels(prepare(records, ".", progress=False))
    assert (tmp_path / "here" / "records.csv").exists()


def test_relative_paths_become_absolute(pictures: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = prepare(load_folder("pictures"), "out", progress=False)
    again = load_prepared("out")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for records in (made, again):
        assert all(item.path.is_absolute() and item.path.exists() for item in records)
        same_pixels(records)


def test_few_images_are_read_ahead() -> None:
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    stream = claims.ordered(lambda number: number * 2, numbers(), workers=3)
    for expected in range(0, 100, 2):
        assert next(stream) == expected
        assert len(taken) <= expected // 2 + 6
    assert list(stream) == list(range(100, 2000, 2))


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command(pictures: Path, tmp_path: Path) -> None:
    rows = [f"{p.name};{'M' if p.parent.name == 'mel' else 'N'}" for p in pictures.rglob("*.*")]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file;finding", *rows]))
    result = run(
        "prepare", table, tmp_path / "out", "--images", pictures, "--column", "image=file",
        "--column", "label=finding", "--label", "M=mel", "--label", "N=nv", "--delimiter", ";",
        "--size", "48x64",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "private data: 10 images of 10 lesions at 48×64 pixels", "  mel       5", "  nv        5",
        f"{10 * 48 * 64 * 3 / 1e6:.2f} MB of pixels in {tmp_path / 'out'}",
        f"next: skinxai train --data {tmp_path / 'out'} --out RUN",
    ]  # fmt: skip
    assert "10 rows without a lesion id" in result.stderr
    found = open_records(tmp_path / "out")
    assert found == load_prepared(tmp_path / "out")
    same_pixels(found, PreprocessConfig((48, 64)))


def test_the_command_for_wrong_use(pictures: Path, tmp_path: Path) -> None:
    for size in ("48x48x48", "48x", "x64", "a x b"):
        wrong = run("prepare", pictures, tmp_path / "out", "--size", size)
        assert isinstance(wrong.exception, OptionError)
        assert "must look like HEIGHTxWIDTH" in str(wrong.exception)
    assert isinstance(run("prepare", pictures, pictures).exception, OutputError)
    (pictures / "nv" / "bad.png").write_bytes(b"")
    assert isinstance(run("prepare", pictures, tmp_path / "out").exception, DatasetImageError)
    assert left(tmp_path) == set()


def test_a_prepared_folder_can_be_audited(pictures: Path, tmp_path: Path) -> None:
    prepare(load_folder(pictures), tmp_path / "out", progress=False)
    plain, prepared = (run("audit", path, "--json") for path in (pictures, tmp_path / "out"))
    assert json.loads(prepared.stdout) == json.loads(plain.stdout)
    with pytest.raises(OptionError, match="labels must be left out"):
        open_records(tmp_path / "out", labels=("mel", "nv"))
    with pytest.raises(OptionError, match="go with a table"):
        open_records(tmp_path / "out", columns={"image": "x"})
    shutil.rmtree(pictures)
    with pytest.raises(IntegrityError, match=r"records\.csv"):
        (tmp_path / "out" / "records.csv").unlink()
        open_records(tmp_path / "out")


def test_an_empty_patient_is_no_patient() -> None:
    """Else all images without one would be one patient's."""
    assert Record("a", Path("a"), "nv", patient_id="").patient_id is None


def test_public_names() -> None:
    assert {"prepare", "load_prepared"} <= set(data.__all__)
