"""A folder of parts goes with the images it was begun with, wherever their table lies."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from skinxai.errors import PartsError
from skinxai.manifests import collect, predict_manifest

IMAGES = 12


def site(folder: Path, seed: int) -> Path:
    """A table of images that have the same names at each site."""
    folder.mkdir()
    draws = np.random.default_rng(seed)
    for number in range(IMAGES):
        pixels = draws.integers(60, 200, (40, 56, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    table = folder / "lesions.csv"
    table.write_text("image\n" + "".join(f"{number}.png\n" for number in range(IMAGES)))
    return table


def test_another_sites_images_of_the_same_names_are_not_taken_for_answered(small, tmp_path) -> None:
    first, second = site(tmp_path / "first", 1), site(tmp_path / "second", 2)
    assert first.read_bytes() == second.read_bytes()
    predict_manifest(small, first, tmp_path / "out", chunk=5)
    with pytest.raises(PartsError, match="8 of 8 images that were compared differ") as caught:
        predict_manifest(small, second, tmp_path / "out", chunk=5)
    assert str(first) in str(caught.value)
    (tmp_path / "out" / "part-000001.parquet").unlink()  # nor are the runs mixed
    with pytest.raises(PartsError, match="8 of 8"):
        predict_manifest(small, second, tmp_path / "out", chunk=5)


def test_a_table_may_be_moved_with_its_images(small, tmp_path) -> None:
    table = site(tmp_path / "first", 1)
    predict_manifest(small, table, tmp_path / "out", shard=(0, 2), chunk=5)
    shutil.move(table.parent, tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / table.name
    assert predict_manifest(small, moved, tmp_path / "out", chunk=5).skipped == 2


def test_images_that_were_damaged_or_missing_may_come_later(small, tmp_path) -> None:
    table = site(tmp_path / "first", 1)
    good = (table.parent / "0.png").read_bytes()
    (table.parent / "0.png").write_bytes(b"no image")
    (table.parent / "11.png").rename(tmp_path / "11.png")
    assert predict_manifest(small, table, tmp_path / "out", chunk=5).failed == 2
    (table.parent / "0.png").write_bytes(good)
    (tmp_path / "11.png").rename(table.parent / "11.png")
    for number in (0, 2):
        (tmp_path / "out" / f"part-{number:06d}.parquet").unlink()
    report = predict_manifest(small, table, tmp_path / "out", chunk=5)
    assert (report.failed, report.skipped) == (0, 1)
    collect(tmp_path / "out", tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    for number, row in enumerate(rows):
        found = small.predict(table.parent / f"{number}.png")
        assert row["p_red"] == pytest.approx(found.probabilities["red"], abs=1e-6)
