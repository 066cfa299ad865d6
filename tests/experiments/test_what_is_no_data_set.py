"""A folder's name, a list of records and the like are refused wherever labelled images belong."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import BASE, LABELS

from skinxai import Trainer
from skinxai.data import (
    Record,
    Records,
    audit,
    folds,
    given_part,
    given_split,
    prepare,
    split,
    write_shards,
)
from skinxai.errors import DatasetLabelError, OptionError
from skinxai.experiments import cross_validate, tune
from skinxai.probing import probe

ITEMS = tuple(Record(f"{n}.png", Path(f"{n}.png"), LABELS[n % 3]) for n in range(12))
RECORDS = Records(ITEMS, LABELS)
NONE_OF_RECORDS = (list(RECORDS), "clinic", Path("clinic"), (RECORDS, RECORDS), None)
TAKE_RECORDS = {
    "split()": split,
    "folds()": folds,
    "given_split()": given_split,
    "given_part()": lambda given: given_part(given, "train"),
    "prepare()": lambda given: prepare(given, "out"),
    "write_shards()": lambda given: write_shards(given, "out"),
    "fit()": lambda given: Trainer(**BASE).fit(given, RECORDS),
    "probe()": lambda given: probe(given, "small"),
    "cross_validate()": lambda given: cross_validate(given, **BASE),
}

pytestmark = pytest.mark.usefixtures("small_networks")


@pytest.mark.parametrize("name", TAKE_RECORDS)
@pytest.mark.parametrize("given", NONE_OF_RECORDS, ids=lambda given: type(given).__name__)
def test_what_is_no_records_is_refused(name: str, given: Any, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError) as raised:
        TAKE_RECORDS[name](given)
    said = f"{name} needs Records, which skinxai.data.load_folder(folder) and load_csv(csv, images)"
    assert str(raised.value).startswith(said)
    assert f"got {type(given).__name__}" in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [list(RECORDS), "clinic", None, {"a": 1}])
def test_validation_images_that_are_no_records_are_refused(given: Any) -> None:
    said = "val must be passed" if given is None else r"fit\(\) needs Records"
    with pytest.raises(OptionError, match=said):
        Trainer(**BASE).fit(RECORDS, given)


@pytest.mark.parametrize("given", [RECORDS, list(RECORDS), "clinic", None])
def test_what_is_not_split_is_refused(given: Any, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, call in (("audit", audit), ("tune", lambda each: tune(each, **BASE))):
        with pytest.raises(OptionError, match=rf"{name}\(\) needs Splits, which .*split\(rec"):
            call(given)
    assert not list(tmp_path.iterdir())


def test_labels_of_records_may_be_codes_in_an_order() -> None:
    found = Records(ITEMS, list(LABELS))  # type: ignore[arg-type]
    assert found.labels == LABELS and found.targets() == RECORDS.targets()
    with pytest.raises(OptionError, match="in the order of the logits"):
        Records(ITEMS, set(LABELS))  # type: ignore[arg-type]
    with pytest.raises(DatasetLabelError, match=r"labels must be one of \['red', 'green'\]"):
        Records(ITEMS, ["red", "green"])  # type: ignore[arg-type]
