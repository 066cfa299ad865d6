"""Splits, on small tables and on the frozen split of HAM10000."""

import csv
import hashlib
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
from places import ROOT

from skinxai.data import Record, Records, Splits, folds, load_ham10000, split
from skinxai.data.given import has_part_names
from skinxai.errors import DatasetError, DatasetSchemaError, LeakageError
from skinxai.labels import LabelSet

HAM10000 = ROOT.parent / "shared/data/ham10000"
LABELS = LabelSet(("nv", "mel", "bcc"))


def table(lesions: int = 400, seed: int = 0) -> Records:
    """Lesions of one to four images; some patients have two lesions; nevi are the most."""
    draws = random.Random(seed)
    items = []
    for lesion in range(lesions):
        label = draws.choices(LABELS.codes, (70, 20, 10))[0]
        patient = f"p{lesion // 10}" if lesion % 5 == 0 else None
        for image in range(draws.randint(1, 4)):
            name = f"i{lesion}_{image}"
            items.append(Record(name, Path(name), label, f"l{lesion}", patient))
    return Records(tuple(items), LABELS)


def parts(splits: Splits) -> tuple[Records, Records, Records]:
    return splits.train, splits.val, splits.test


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_in_two_parts(seed: int) -> None:
    records = table()
    linked = [("i0_0", "i7_0"), ("i7_0", "i19_0")]
    splits = split(records, seed=seed, linked=linked)
    for key in (lambda r: r.lesion_id, lambda r: r.patient_id or r.lesion_id):
        sets = [{key(item) for item in part} for part in parts(splits)]
        assert not sets[0] & sets[1] and not sets[0] & sets[2] and not sets[1] & sets[2]
    place = {item.image_id: n for n, part in enumerate(parts(splits)) for item in part}
    assert place["i0_0"] == place["i7_0"] == place["i19_0"]
    assert sorted(place) == sorted(item.image_id for item in records)


def test_some_images_of_a_part_are_of_that_part_still() -> None:
    """Else the first hundred test images could calibrate the model that they judge."""
    test = split(table()).test
    few = test.subset([item.image_id for item in test][:5])
    assert (len(few), few.part, few.described) == (5, "test", "private data, test part")
    assert test.subset([], part="").part == "" and test.subset([], part="val").part == "val"


def test_a_test_part_stays_a_test_part(tmp_path: Path) -> None:
    """Split anew it could be learnt, under the name of another part."""
    splits = split(table(1200))
    splits.to_csv(tmp_path / "splits.csv")
    ids = [item.image_id for item in splits.test]
    for anew in (
        lambda: split(splits.test),
        lambda: split(splits.test, by="image", allow_leakage=True),
        lambda: folds(splits.test, 2),
        lambda: Splits.of(splits.test, {"val": ids[:3]}),
    ):
        with pytest.raises(LeakageError, match="the test part of private data must stay a test"):
            anew()
    assert len(Splits.of(splits.test, {"test": ids}).test) == len(ids)
    assert len(split(splits.train).train) > len(ids)


def test_a_number_is_the_name_of_no_part() -> None:
    own = Record("a", Path("a.png"), "x", attributes={"fold": "1", "split": 1})
    assert not has_part_names(Records((own,), LabelSet(("x", "y"))))


def test_every_class_is_split_70_15_15() -> None:
    items = tuple(replace(item, patient_id=None) for item in table(4000))  # one class a group
    records = Records(items, LABELS)
    splits = split(records)
    for k, total in enumerate(records.class_counts()):
        shares = [part.class_counts()[k] / total for part in parts(splits)]
        assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.01)


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    records = table()
    items = list(records)
    random.Random(9).shuffle(items)
    assert split(Records(tuple(items), LABELS), seed=1) == split(records, seed=1)
    assert split(records, seed=1) != split(records, seed=2)


@pytest.mark.parametrize(
    "header", ["image_id,part,Part", "image_id,part,part ", "image_id,part,part"]
)
def test_a_split_with_a_column_twice_is_refused(header: str, tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(header + "\n" + "".join(f"{item.image_id},train,val\n" for item in table()))
    with pytest.raises(DatasetSchemaError, match=r"splits.csv must have each column once"):
        Splits.from_csv(path, table())


def test_leakage_is_refused_or_marked(tmp_path: Path) -> None:
    records = table()
    with pytest.raises(LeakageError, match="must share no lesion, patient or image") as caught:
        split(records, by="image")
    assert any(text.startswith("lesion 'l") for text in caught.value.problems)
    assert any(text.startswith("patient 'p") for text in caught.value.problems)
    leaky = split(records, by="image", allow_leakage=True)
    assert leaky.leaked and all(part.leaked and "LEAKED" in repr(part) for part in parts(leaky))
    leaky.to_csv(tmp_path / "splits.csv")
    with pytest.raises(LeakageError):
        Splits.from_csv(tmp_path / "splits.csv", records)
    alone = Records(tuple(Record(f"i{n}", Path("x"), LABELS[n % 3]) for n in range(60)), LABELS)
    assert not split(alone, by="image").leaked  # nothing is torn apart


@pytest.mark.parametrize("k", [2, 5])
def test_folds(k: int) -> None:
    items = tuple(replace(item, patient_id=None) for item in table(800))
    records = Records(items, LABELS)
    found = folds(records, k, linked=[("i0_0", "i7_0")])
    assert len(found) == k
    tested = [item.image_id for fold in found for item in fold.val]
    assert sorted(tested) == sorted(item.image_id for item in records)
    for fold in found:
        assert len(fold.train) + len(fold.val) == len(records) and not len(fold.test)
        assert not {r.lesion_id for r in fold.train} & {r.lesion_id for r in fold.val}
    for counts in zip(*(fold.val.class_counts() for fold in found), strict=True):
        assert max(counts) - min(counts) <= 5  # the two largest lesions in one group: 4 + 1


@pytest.mark.parametrize("key", ["lesion", "patient"])
def test_one_overlap_alone_is_a_leak(key: str) -> None:
    items = [Record(f"i{n}", Path("x"), LABELS[n % 3], f"l{n}", f"p{n}") for n in range(9)]
    other = {"lesion_id": "same", "patient_id": None} if key == "lesion" else {"patient_id": "same"}
    items[3:5] = [replace(item, **other) for item in items[3:5]]
    names = [item.image_id for item in items]
    ids = {"train": names[:4], "val": names[4:6], "test": names[6:]}
    records = Records(tuple(items), LABELS)
    with pytest.raises(LeakageError) as caught:
        Splits.of(records, ids)
    assert caught.value.problems == (f"{key} 'same'",)
    assert Splits.of(records, ids, allow_leakage=True).leaked


@pytest.mark.parametrize("k", [1, 0, -2, 2.0, "5", True])
def test_folds_are_at_least_two(k: object) -> None:
    with pytest.raises(DatasetError, match="k must be an integer >= 2, got"):
        folds(table(), k)


def test_too_few_lesions_for_the_folds() -> None:
    items = [Record(f"i{n}", Path("x"), "mel" if n < 3 else "nv") for n in range(30)]
    with pytest.raises(DatasetError, match="at least 5 lesions for 5 folds, but 'mel' has 3"):
        folds(Records(tuple(items), LABELS), 5)
    items[3] = replace(items[3], label="mel")
    with pytest.raises(DatasetError, match="at least 5 lesions for 5 folds, but 'mel' has 4"):
        folds(Records(tuple(items), LABELS), 5)
    items[4] = replace(items[4], label="mel")
    found = folds(Records(tuple(items), LABELS), 5)
    assert [fold.val.class_counts()[1] for fold in found] == [1] * 5


def test_formulas_are_escaped_and_come_back(tmp_path: Path) -> None:
    names = ["=cmd()", "+1", "-1", "@x", "'quoted", 'with "quotes", and commas', "plain"]
    records = Records(tuple(Record(n, Path("x"), "nv") for n in names), LABELS)
    ids = {"train": names[:3], "val": names[3:5], "test": names[5:]}
    splits = Splits.of(records, ids)
    splits.to_csv(tmp_path / "splits.csv")
    text = (tmp_path / "splits.csv").read_text()
    assert not any(line.startswith(tuple("=+-@")) for line in text.splitlines())
    assert Splits.from_csv(tmp_path / "splits.csv", records) == splits


def test_too_few_lesions_for_three_parts() -> None:
    items = [Record(f"i{n}", Path("x"), LABELS[n % 2]) for n in range(4)]
    few = Records(tuple(items), LABELS)
    with pytest.raises(DatasetError, match="it has 4 in all, fewer than 3 of any class"):
        split(few)
    enough = Records((*items, Record("i4", Path("x"), "nv")), LABELS)
    assert [part.class_counts()[0] for part in parts(split(enough))] == [1, 1, 1]
    with pytest.raises(DatasetError, match=r"the (train|val) part of .* would be empty"):
        split(enough, keep_in_test=[item.image_id for item in enough][:4])


def test_images_in_no_part_are_counted(tmp_path: Path) -> None:
    records, path = table(60), tmp_path / "splits.csv"
    split(records).to_csv(path)
    assert Splits.from_csv(path, records).notes == ()
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for n, line in enumerate(lines) if n not in (3, 7, 8)))
    fewer = Splits.from_csv(path, records)
    assert fewer.left_out == 3
    assert fewer.notes == (f"3 of {len(records)} images are in no part of the split",)


def test_forced_images_are_in_the_test_part() -> None:
    forced = ["i3_0", "i100_0"]
    splits = split(table(), keep_in_test=forced)
    assert set(forced) <= {item.image_id for item in splits.test}


def test_csv_and_its_hash(tmp_path: Path) -> None:
    records, path = table(), tmp_path / "splits.csv"
    splits = split(records)
    digest = splits.to_csv(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert Splits.from_csv(path, records, sha256=digest) == splits
    path.write_text(path.read_text().replace("test", "train"))
    with pytest.raises(DatasetError, match=r"sha256 of .* must be"):
        Splits.from_csv(path, records, sha256=digest)


@pytest.mark.parametrize("place", [0, 31, 63])
def test_every_digit_of_the_hash_is_compared(place: int, tmp_path: Path) -> None:
    records, path = table(), tmp_path / "splits.csv"
    digest = split(records).to_csv(path)
    other = "0" if digest[place] != "0" else "1"
    with pytest.raises(DatasetError, match=r"sha256 of .* must be"):
        Splits.from_csv(path, records, sha256=digest[:place] + other + digest[place + 1 :])


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"fractions": (0.7, 0.3)}, "three numbers > 0 with sum 1"),
        ({"fractions": (0.7, 0.2, 0.2)}, "three numbers > 0 with sum 1"),
        ({"fractions": (1.0, 0.0, 0.0)}, "three numbers > 0 with sum 1"),
        ({"fractions": (math.nan, 0.5, 0.5)}, "three numbers > 0 with sum 1"),
        ({"fractions": (0.5, math.nan, 0.5)}, "three numbers > 0 with sum 1"),
        ({"fractions": (0.5, 0.5, math.nan)}, "three numbers > 0 with sum 1"),
        ({"fractions": (math.inf, 0.5, 0.5)}, "three numbers > 0 with sum 1"),
        ({"fractions": ("0.7", "0.15", "0.15")}, "three numbers > 0 with sum 1"),
        ({"fractions": 0.7}, "three numbers > 0 with sum 1"),
        ({"fractions": {0.5, 0.3, 0.2}}, "three numbers > 0 with sum 1"),
        ({"linked": [("i0_0", "nothing")]}, "linked must name images"),
        ({"linked": [("i0_0", "i7_0", "i19_0")]}, "linked must hold pairs of image ids, got "),
        ({"linked": [("i0_0",)]}, "linked must hold pairs of image ids, got "),
        ({"linked": ("i0_0", "i7_0")}, "linked must hold pairs of image ids, got 'i0_0'"),
        ({"linked": [{"i0_0", "i7_0"}]}, "linked must hold pairs of image ids, got "),
        ({"keep_in_test": ["nothing"]}, "keep_in_test must name images"),
    ],
)
def test_wrong_use_of_split(keywords: dict, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        split(table(), **keywords)


def test_the_frozen_split() -> None:
    path = ROOT / "training/splits.csv"
    digest = (ROOT / "training/splits.sha256").read_text().split()[0]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    rows = list(csv.DictReader(path.read_text().splitlines()))
    counts = {part: sum(row["part"] == part for row in rows) for part in ("train", "val", "test")}
    assert counts == {"train": 7015, "val": 1498, "test": 1502}
    place = {row["image_id"]: row["part"] for row in rows}
    assert len(place) == 10015
    with (ROOT / "training/near_duplicates.csv").open() as file:
        for first, second, *_ in list(csv.reader(file))[1:]:
            assert place[first] == place[second]
    from skinxai import samples

    assert {place[path.stem] for path in samples.paths()} == {"test"}


def test_no_pair_of_the_same_skin_is_in_two_parts_of_the_frozen_split() -> None:
    with (ROOT / "training/splits.csv").open() as file:
        place = {row["image_id"]: row["part"] for row in csv.DictReader(file)}
    with (ROOT / "benchmarks/results/audit_pairs.csv").open() as file:
        same = [row for row in csv.DictReader(file) if row["verdict"] == "same"]
    assert len(same) == 21
    assert all(place[row["image_id"]] == place[row["other_id"]] for row in same)


@pytest.mark.skipif(not HAM10000.exists(), reason="HAM10000 is not beside the project")
def test_the_frozen_split_has_no_lesion_twice() -> None:
    records = load_ham10000(HAM10000)
    splits = Splits.from_csv(ROOT / "training/splits.csv", records)
    lesions = [{item.lesion_id for item in part} for part in parts(splits)]
    assert not lesions[0] & lesions[1] and not lesions[0] & lesions[2]
    assert not lesions[1] & lesions[2]
    samples = {path.stem for path in (HAM10000 / "samples_600x450").glob("*.jpg")}
    assert len(samples) == 70 and samples <= {item.image_id for item in splits.test}
    for k, total in enumerate(records.class_counts()):
        assert splits.test.class_counts()[k] / total == pytest.approx(0.15, abs=0.02)
