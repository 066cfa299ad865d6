"""`evaluate` judges the part that the data itself, or the command, names as the one to judge on."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import coloured, model_folder, registered
from typer.testing import CliRunner, Result

from skinxai import Classifier
from skinxai.cli import app
from skinxai.cli.options import Part
from skinxai.cli.table_options import judged
from skinxai.data import given_part, load_csv, load_folder, prepare
from skinxai.errors import DatasetError, LeakageError, SkinxaiError

PARTS = {"train": 3, "val": 2, "test": 1}
"""Images of each colour."""


@pytest.fixture(autouse=True)
def known():
    with registered():
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files ``COLOUR-NUMBER.png``."""
    folder = tmp_path_factory.mktemp("of") / "pictures"
    coloured(folder, 6, 0)
    return folder


def part_of(number: int) -> str:
    return [name for name, count in PARTS.items() for _ in range(count)][number]


@pytest.fixture
def folder(pictures: Path, tmp_path: Path) -> Path:
    """Parts above classes."""
    for path in pictures.iterdir():
        code, _, number = path.stem.partition("-")
        place = tmp_path / "data" / part_of(int(number)) / code
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return tmp_path / "data"


def table(pictures: Path, path: Path, column: str, names: dict[str, str] | None = None) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", column])
        for each in sorted(pictures.iterdir()):
            code, _, number = each.stem.partition("-")
            part = part_of(int(number))
            writer.writerow([each.name, code, (names or {}).get(part, part)])
    return path


def evaluate(tmp_path: Path, *words: object) -> Result:
    model = model_folder(tmp_path / "model", load_labels(), seed=1, trained_on=None)
    return CliRunner().invoke(
        app, ["evaluate", *map(str, words), "--model", str(model), "--out", str(tmp_path / "out")]
    )


def load_labels():
    from skinxai.labels import LabelSet

    return LabelSet(("blue", "green", "red"))


def written(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "out" / "evaluation.json").read_text())


NOTE = (
    "note: only the {} part of the data's own split is evaluated, {} of 18 images; choose a part "
    "with --part, or another split with --splits"
)


def test_folders_of_parts_are_judged_by_their_test_part(folder: Path, tmp_path: Path) -> None:
    found = evaluate(tmp_path, folder)
    assert found.exit_code == 0, found.exception
    assert NOTE.format("test", 3) in found.stderr.splitlines()
    assert "private data, test part" in found.stdout and "3 images of 3 lesions" in found.stdout


def test_another_part_is_judged_where_it_is_named(folder: Path, tmp_path: Path) -> None:
    found = evaluate(tmp_path, folder, "--part", "val")
    assert NOTE.format("val", 6) in found.stderr.splitlines()
    assert "private data, val part" in found.stdout and "6 images" in found.stdout


@pytest.mark.parametrize("column", ["part", "split"])
@pytest.mark.parametrize("names", [{}, {"test": "Testing ", "val": "validation"}], ids=str)
def test_a_column_of_a_table_is_a_split(column, names, pictures, tmp_path) -> None:
    path = table(pictures, tmp_path / "t.csv", column, names)
    found = evaluate(tmp_path, path, "--images", pictures)
    assert found.exit_code == 0, found.exception
    assert NOTE.format("test", 3) in found.stderr.splitlines()


def test_a_prepared_folder_keeps_its_parts(folder: Path, tmp_path: Path) -> None:
    prepare(load_folder(folder), tmp_path / "prepared", progress=False)
    found = evaluate(tmp_path, tmp_path / "prepared")
    assert found.exit_code == 0, found.exception
    assert NOTE.format("test", 3) in found.stderr.splitlines()


def test_of_several_columns_part_comes_first(pictures: Path, tmp_path: Path) -> None:
    records = load_csv(table(pictures, tmp_path / "t.csv", "split"), pictures)
    both = [replace(i, attributes={**i.attributes, "part": "test"}) for i in records]
    assert len(given_part(replace(records, items=tuple(both)), "test")) == 18


@pytest.mark.parametrize(
    ("missing", "said"),
    [("test", "train 9, val 6"), ("val", "train 9, test 3")],
)
def test_a_part_without_images_is_refused(missing, said, folder, tmp_path) -> None:
    shutil.rmtree(folder / missing)
    found = evaluate(tmp_path, folder, "--part", missing)
    assert isinstance(found.exception, DatasetError)
    assert str(found.exception) == (
        f"private data must hold images in its {missing} part to be judged on it, but it has "
        f"images in: {said}."
    )
    assert not (tmp_path / "out").exists()


def test_data_that_is_one_part_alone_is_not_taken_for_another(pictures, tmp_path) -> None:
    """A folder of training images is not judged as if it were the test part."""
    path = table(pictures, tmp_path / "t.csv", "part", dict.fromkeys(PARTS, "train"))
    found = evaluate(tmp_path, path, "--images", pictures)
    assert "it has images in: train 18." in str(found.exception)
    only = table(pictures, tmp_path / "u.csv", "part", dict.fromkeys(PARTS, "test"))
    assert evaluate(tmp_path, only, "--images", pictures).exit_code == 0


@pytest.mark.parametrize("column", ["part", "split"])
def test_an_image_in_no_part_is_refused_with_a_remedy_for_the_command(
    column, pictures, tmp_path
) -> None:
    path = table(pictures, tmp_path / "t.csv", column, {"val": "holdout"})
    found = evaluate(tmp_path, path, "--images", pictures)
    assert isinstance(found.exception, DatasetError)
    assert found.exception.on_command_line == (
        "every image of private data must have the attribute 'part' or 'split', one of 'train', "
        "'val', 'test', got 'holdout', 'test', 'train'; correct it, or give --splits."
    )


def test_part_without_any_parts_is_refused(pictures: Path, tmp_path: Path) -> None:
    path = table(pictures, tmp_path / "t.csv", "hospital", dict.fromkeys(PARTS, "north"))
    found = evaluate(tmp_path, path, "--images", pictures, "--part", "test")
    assert found.exit_code == 2
    assert "--part goes with --splits, or with data that comes in parts" in found.stderr
    whole = evaluate(tmp_path, path, "--images", pictures)
    assert whole.exit_code == 0 and "18 images" in whole.stdout and "own split" not in whole.stderr


def test_splits_come_before_the_datas_own(folder: Path, tmp_path: Path) -> None:
    ids = [item.image_id for item in load_folder(folder)]
    rows = [f"{name},{'test' if n % 2 else 'train'}" for n, name in enumerate(ids)]
    splits = tmp_path / "splits.csv"
    splits.write_text("\n".join(["image_id,part", *rows]) + "\n")
    alone = evaluate(tmp_path, folder, "--splits", splits)
    assert alone.exit_code == 2 and "--splits needs --part val or --part test." in alone.stderr
    found = evaluate(tmp_path, folder, "--splits", splits, "--part", "test")
    assert "9 images" in found.stdout and "own split" not in found.stderr
    empty = evaluate(tmp_path, folder, "--splits", splits, "--part", "val")
    assert str(empty.exception) == f"the val part of {str(splits)!r} must hold images, got none."


def test_a_command_with_a_part_of_its_own_takes_it_where_none_is_named(folder, tmp_path) -> None:
    """As `calibrate` and `stress` do, which never take the test part unasked."""
    records = load_folder(folder)
    ids = [item.image_id for item in records]
    splits = tmp_path / "splits.csv"
    rows = [f"{name},{'val' if n < 4 else 'test'}" for n, name in enumerate(ids)]
    splits.write_text("\n".join(["image_id,part", *rows]) + "\n")
    found = judged(records, splits, None, default=Part.val)
    assert [item.image_id for item in found] == ids[:4]
    assert len(judged(records, splits, Part.test, default=Part.val)) == 14
    own = judged(records, None, None, default=Part.val)
    assert own.part == "val" and len(own) == 6
    assert judged(records, None, None).part == "test"


def test_a_copy_in_two_parts_is_refused_or_marked(folder: Path, tmp_path: Path) -> None:
    shutil.copy(next((folder / "train" / "red").iterdir()), folder / "test" / "red" / "again.png")
    assert isinstance(evaluate(tmp_path, folder).exception, LeakageError)
    found = evaluate(tmp_path, folder, "--allow-leakage")
    assert found.exit_code == 0 and written(tmp_path)["leaked"] is True


def test_records_that_are_one_part_already_are_taken_whole(folder: Path) -> None:
    test = given_part(load_folder(folder), "test")
    assert judged(test, None, None) is test
    with pytest.raises(DatasetError, match="in its val part"):
        judged(test, None, Part.val)


def test_python_says_that_several_parts_are_judged(folder: Path, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "model", load_labels(), seed=1, trained_on=None)
    classifier, records = Classifier.from_pretrained(model), load_folder(folder)
    with pytest.warns(UserWarning, match=r"the test part alone with given_part\(records"):
        assert classifier.evaluate(records, resamples=2).images == 18
    assert classifier.evaluate(given_part(records, "test"), resamples=2).images == 3
    with pytest.raises(SkinxaiError):
        given_part(records, "nothing")
