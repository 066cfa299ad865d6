"""Every part gets its share of every class, rare ones included, and keeps groups whole."""

import random
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
from places import ROOT

from skinxai.data import Record, Records, Splits, folds, load_ham10000, split
from skinxai.data.stratifying import group, groups_with
from skinxai.errors import DatasetError
from skinxai.labels import HAM10000_LABELS, LabelSet

HAM10000 = ROOT.parent / "shared/data/ham10000"
FRACTIONS = (0.70, 0.15, 0.15)


def records(*patients: str, labels: str = "") -> Records:
    """One patient for each text, one image for each of its letters, which are the labels."""
    items = [
        Record(f"i{number:04}_{n}", Path("x"), label, "", f"p{number:04}")
        for number, text in enumerate(patients)
        for n, label in enumerate(text)
    ]
    return Records(tuple(items), LabelSet(tuple(labels or sorted(set("".join(patients))))))


def counts(splits: Splits, label: str) -> tuple[int, ...]:
    place = list(splits.train.labels).index(label)
    return tuple(p.class_counts()[place] for p in (splits.train, splits.val, splits.test))


def few_melanomas(seed: int) -> Records:
    """200 patients of sixteen images on average; 12 of them have one melanoma each."""
    draws = random.Random(seed)
    ill = set(draws.sample(range(200), 12))
    sizes = [max(2, int(draws.expovariate(1 / 16))) for _ in range(200)]
    return records(*("m" * (n in ill) + "n" * (size - (n in ill)) for n, size in enumerate(sizes)))


@pytest.mark.parametrize("seed", range(10))
def test_a_rare_class_within_patients_of_many_images_is_in_every_part(seed: int) -> None:
    made = few_melanomas(seed)
    splits = split(made, seed=seed)
    assert counts(splits, "m") == (8, 2, 2) and splits.notes == ()
    total = made.class_counts()[1]
    assert [n / total for n in counts(splits, "n")] == pytest.approx(FRACTIONS, abs=0.01)
    found = [fold.val.class_counts() for fold in folds(made, 5, seed)]
    assert sorted(row[0] for row in found) == [2, 2, 2, 3, 3]
    assert max(row[1] for row in found) - min(row[1] for row in found) < 0.02 * total


@pytest.mark.parametrize(
    ("patients", "label", "right"),
    [
        (["m"] * 3 + ["n"] * 100, "m", {(1, 1, 1)}),  # as many groups as parts
        (["m"] * 4 + ["n"] * 100, "m", {(2, 1, 1)}),
        (["m" * 50] + ["m"] * 10 + ["n"] * 100, "m", {(50, 5, 5)}),  # the large one first
        (["mn" * 5] * 20, "m", {(70, 15, 15)}),  # both classes in every group
        (["mmn", "mnn"] * 30 + ["mb", "nb", "b"], "b", {(1, 1, 1)}),
    ],
)
def test_counts_by_hand(patients: list[str], label: str, right: set[tuple[int, ...]]) -> None:
    assert {counts(split(records(*patients), seed=seed), label) for seed in range(20)} == right


def drawn(seed: int) -> Records:
    """Three to eight patients with one to three of two to five classes each."""
    draws = random.Random(seed)
    labels = "abcde"[: draws.randint(2, 5)]
    patients = [
        "".join(code * draws.choice((1, 1, 2, 5)) for code in draws.sample(labels, size))
        for size in (draws.randint(1, min(3, len(labels))) for _ in range(draws.randint(3, 8)))
    ]
    return records(*patients, labels=labels)


def test_wherever_every_part_can_have_every_class_it_has() -> None:
    """Against all ways to place the groups of small data sets with several classes a group."""
    tried = missed = 0
    for seed in range(300):
        made = drawn(seed)
        sets = [{item.label for item in items} for items in group(made)]
        wanted = [code for code, n in groups_with(group(made), made.labels).items() if n >= 3]
        ways = product(range(3), repeat=len(sets))
        if not wanted or not any(
            all(len({p for p, s in zip(way, sets, strict=True) if c in s}) == 3 for c in wanted)
            for way in ways
        ):
            continue
        tried += 1
        splits = split(made, seed=seed)
        missed += not all(all(counts(splits, code)) for code in wanted)
    assert tried > 250 and missed <= 0.01 * tried, (missed, tried)


def test_every_class_keeps_the_fractions_whatever_they_are() -> None:
    sizes = {"a": 15, "b": 40, "c": 300, "d": 1000}  # lesions; one to four images each
    draws = random.Random(3)
    made = records(*(code * draws.randint(1, 4) for code, n in sizes.items() for _ in range(n)))
    for fractions in ((0.7, 0.15, 0.15), (0.8, 0.1, 0.1), (0.34, 0.33, 0.33)):
        splits = split(made, fractions, seed=1)
        for code, total in zip(made.labels, made.class_counts(), strict=True):
            right = [fraction * total for fraction in fractions]
            assert counts(splits, code) == pytest.approx(right, abs=2)  # half a large lesion


def noted(part: str, code: str) -> str:
    return f"the {part} part has no image of {code}"


@pytest.mark.parametrize(
    ("patients", "notes"),
    [
        (["m"], [(noted("val", "m"), noted("test", "m"))]),
        (["m"] * 2, [(noted("val", "m"),), (noted("test", "m"),)]),
        (["mb"], [(noted("val", "b, m"), noted("test", "b, m"))]),
        (["m"] * 3, [()]),
    ],
)
def test_a_part_without_a_class_is_noted(patients: list[str], notes: list) -> None:
    for seed in range(8):  # nothing is said of x, which has no image at all
        made = records(*patients, *["n"] * 20, labels="bmnx")
        assert split(made, seed=seed).notes in notes


@pytest.mark.parametrize("seed", range(5))
def test_forced_groups_count_first(seed: int) -> None:
    made = records(*["m"] * 20, *["n"] * 200)
    nevi = [item.image_id for item in made if item.label == "n"]
    for forced, right in ((50, (124, 26, 50)), (32, (138, 30, 32)), (20, (140, 30, 30))):
        splits = split(made, seed=seed, keep_in_test=nevi[:forced])
        assert set(nevi[:forced]) <= {item.image_id for item in splits.test}
        assert counts(splits, "m") == (14, 3, 3)
        assert counts(splits, "n") == right  # what exceeds 30 is missed by both in proportion


def test_the_seed_chooses_among_patients_of_one_size() -> None:
    made = records(*["mn"] * 8, *["nnn"] * 40)
    parts = [split(made, seed=seed).test for seed in range(100)]
    test = Counter(patient for part in parts for patient in {item.patient_id for item in part})
    assert len(test) == 48 and max(test.values()) < 35  # of 100; 15 on average


def test_folds_count_the_groups_that_contain_a_class() -> None:
    led = records(*["mnn"] * 5, *["n"] * 20)  # no group has melanomas for the most part
    assert [fold.val.class_counts() for fold in folds(led, 5)] == [[1, 6]] * 5
    with pytest.raises(DatasetError, match=r"at least 6 lesions for 6 folds, but 'm' has 5; use"):
        folds(led, 6)
    shared = records(*["mm"] * 4, *["n"] * 20)
    words = r"'m' has 4 \(its 8 lesions share patients or are linked\); use fewer folds"
    with pytest.raises(DatasetError, match=words):
        folds(shared, 5)


def test_folds_share_what_is_left_over() -> None:
    made = records(*(code for code in "abcdefg" for _ in range(6)))  # one too many of each
    found = folds(made, 5)
    assert sorted(len(fold.val) for fold in found) == [8, 8, 8, 9, 9]
    assert all(fold.notes == () for fold in found)  # their test part is empty on purpose


def test_links_of_unknown_patients_join_groups() -> None:
    items = (
        Record("a", Path("x"), "n", "l1"),
        Record("b", Path("x"), "n", "l1", "p1"),
        Record("c", Path("x"), "n", "l2", "p1"),
        Record("d", Path("x"), "n", "l3"),
    )
    for ordered in (items, items[::-1]):
        found = group(Records(ordered, LabelSet(("n", "m"))))
        assert [[item.image_id for item in one] for one in found] == [["a", "b", "c"], ["d"]]


@pytest.mark.skipif(not HAM10000.exists(), reason="HAM10000 is not beside the project")
def test_ham10000_is_split_within_a_percent() -> None:
    made = load_ham10000(HAM10000)
    splits = split(made, seed=1)
    for code, total in zip(HAM10000_LABELS, made.class_counts(), strict=True):
        assert [n / total for n in counts(splits, code)] == pytest.approx(FRACTIONS, abs=0.01)
