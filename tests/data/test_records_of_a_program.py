"""Records that a program makes of what it has at hand: read as meant, or refused."""

from pathlib import Path

import pytest

from skinxai.data import Splits, load_csv, load_folder
from skinxai.data.hashing import check_ids
from skinxai.data.records import Record, Records
from skinxai.errors import DatasetSchemaError, OptionError
from skinxai.manifests.manifest import Manifest

ITEMS = tuple(Record(name, Path(f"{name}.png"), "nv") for name in "abcd")
RECORDS = Records(ITEMS, ["nv", "mel"])


@pytest.mark.parametrize("given", [None, "sex", ["sex"], [("sex", "female")], 3])
def test_attributes_that_are_no_mapping_are_named(given: object) -> None:
    with pytest.raises(OptionError, match=r"attributes of 'a' must be a mapping .* leave"):
        Record("a", Path("a.png"), "nv", attributes=given)  # type: ignore[arg-type]


def test_a_path_may_be_text() -> None:
    assert Record("a", "a.png", "nv") == ITEMS[0]  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="path of 'a' must be the path of an image file, got No"):
        Record("a", None, "nv")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["lesion_id", "patient_id"])
def test_the_number_0_is_no_unknown_id(key: str) -> None:
    with pytest.raises(DatasetSchemaError, match=f"{key} of 'a' must be text, got int"):
        Records((Record("a", Path("a.png"), "nv", **{key: 0}),), ["nv", "mel"])  # type: ignore


@pytest.mark.parametrize("items", [None, [{"image_id": "a"}], [ITEMS[0], "a.png"]])
def test_items_that_are_no_records_are_refused(items) -> None:
    with pytest.raises(OptionError, match="items of Records must be a list of Record, got "):
        Records(items, ["nv", "mel"])


def test_ids_from_a_generator_are_all_taken() -> None:
    assert RECORDS.subset(name for name in "ca").items == (ITEMS[2], ITEMS[0])
    with pytest.raises(OptionError, match="image_ids must be a list of image ids, got 'ab'"):
        RECORDS.subset("ab")
    with pytest.raises(OptionError, match="not_copies must be a list of image ids, got <gen"):
        check_ids((name for name in "ab"), RECORDS)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["validation", "testing", "Train", 0])
def test_a_part_of_another_name_is_refused(part) -> None:
    with pytest.raises(OptionError, match=r"image_ids must name parts of .* got"):
        Splits.of(RECORDS, {"train": ["a"], part: ["b"]})


@pytest.mark.parametrize("given", [None, 5, b"a.csv", RECORDS])
def test_what_is_no_path_is_refused(given) -> None:
    for read in (lambda path: load_csv(path, "."), load_folder, Manifest.open):
        with pytest.raises(OptionError, match=r"must be a path, got .* pass its path"):
            read(given)
