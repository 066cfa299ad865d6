"""Columns that give the label away are found by what they say, others are left alone."""

import csv
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from skinxai.data import Record, Records
from skinxai.data.associations import (
    Association,
    Codes,
    _beyond_chance,
    _codes,
    _explained,
    _held,
    telling_columns,
)
from skinxai.labels import HAM10000_LABELS, LabelSet

HAM10000 = ROOT.parent / "shared/data/ham10000"
MALIGNANT = ("mel", "bcc", "akiec")
SHARES = {"nv": 67, "mel": 11, "bkl": 11, "bcc": 5, "akiec": 3, "vasc": 2, "df": 1}

Column = Callable[[str, random.Random], object]


def records(
    column: Column, count: int = 600, seed: int = 0, labels: tuple[str, ...] = tuple(SHARES)
) -> Records:
    """Lesions of one image each, with ``column(label, draws)`` as their one attribute."""
    draws = random.Random(seed)
    items = []
    for n in range(count):
        label = draws.choices(labels, [SHARES[code] for code in labels])[0]
        items.append(
            Record(f"i{n}", Path("x"), label, f"l{n}", None, {"column": str(column(label, draws))})
        )
    return Records(tuple(items), LabelSet(labels))


def measured(made: Records) -> list[Association]:
    found = telling_columns(made)
    assert {way.column for way in found} <= {"column"}
    return found


def malignant(label: str) -> bool:
    return label in MALIGNANT


def mostly(label: str, draws: random.Random) -> str:
    """The hospital of a label, for nine of ten lesions."""
    return label if draws.random() < 0.9 else draws.choice(list(SHARES))


TELLING: dict[str, Column] = {
    "the label in other words": lambda label, _: label.upper() + " (histology)",
    "benign_malignant": lambda label, _: "malignant" if malignant(label) else "benign",
    "target": lambda label, _: int(label == "mel"),
    "iddx_full": lambda label, draws: f"{label}: {draws.choice(('a', 'b', 'c'))}",
    "biopsied": lambda label, draws: malignant(label) or draws.random() < 0.15,
    "dx_type": lambda label, draws: (
        "follow_up" if label == "nv" and draws.random() < 0.7 else "histo"
    ),
    "mel_thick_mm": lambda label, draws: (
        f"{draws.random() * 4:.2f}" if label == "mel" and draws.random() < 0.5 else ""
    ),
    "hospital": mostly,
    "one class from one hospital": lambda label, draws: (
        "B" if label == "mel" or draws.random() < 0.1 else "A"
    ),
    "score of a model": lambda label, draws: draws.gauss(4 * malignant(label), 0.5),
    "age of one class": lambda label, draws: draws.randint(0, 30) + 60 * (label != "nv"),
    "id with the class": lambda label, draws: f"{label}_{draws.randint(0, 99999):05}",
    "free text with the class": lambda label, draws: " ".join(
        [*draws.choices(WORDS, k=4), "suspicious" if malignant(label) else "harmless"]
    ),
}
WORDS = ("itching", "since", "father", "mother", "bleeding", "brown", "black", "summer", "sun")
SILENT: dict[str, Column] = {
    "the same for all": lambda *_: "histo",
    "empty": lambda *_: "",
    "a coin": lambda _, draws: draws.choice("ab"),
    "forty hospitals": lambda _, draws: draws.randint(1, 40),
    "a number": lambda _, draws: f"{draws.random():.3f}",
    "a random id": lambda _, draws: draws.randint(0, 10**9),
    "a text id": lambda _, draws: f"ISIC_{draws.randint(0, 10**7):07}",
    "free text": lambda _, draws: " ".join(draws.choices(WORDS, k=5)),
    "a date": lambda _, draws: f"20{draws.randint(10, 25)}-{draws.randint(1, 12):02}-01",
    "age": lambda label, draws: round(draws.gauss(45 + 15 * (label != "nv"), 15) / 5) * 5,
    "site": lambda label, draws: draws.choice(
        ("face", "face", "back") if label == "akiec" else ("face", "back", "leg")
    ),
    "half known": lambda _, draws: draws.choice(("", "male")),
}


@pytest.mark.parametrize("case", TELLING)
@pytest.mark.parametrize("seed", range(3))
def test_columns_that_give_the_label_away(case: str, seed: int) -> None:
    assert measured(records(TELLING[case], seed=seed))


@pytest.mark.parametrize("case", SILENT)
def test_columns_that_do_not(case: str) -> None:
    for seed in range(5):
        for count in (30, 600):
            assert measured(records(SILENT[case], count, seed)) == [], (count, seed)


def test_the_order_of_rows_is_no_leak() -> None:
    numbers = iter(range(600))
    made = records(lambda *_: next(numbers))
    ordered = sorted(made, key=lambda item: item.label)
    items = tuple(
        Record(i.image_id, i.path, i.label, "", None, {"row": str(n)})
        for n, i in enumerate(ordered)
    )
    assert telling_columns(Records(items, made.labels)) == []


def test_what_is_said_of_a_column() -> None:
    two, draws = ("nv", "mel"), random.Random(0)

    def said(column: Column, labels: tuple[str, ...] = tuple(SHARES)) -> str:
        return str(measured(records(column, labels=labels))[0])

    assert said(TELLING["target"], two) == "column (removes 100% of the label's uncertainty)"
    assert said(TELLING["benign_malignant"]) == (
        "column (the label removes 99% of its uncertainty)"
    )
    assert said(TELLING["dx_type"]).endswith("of a class has values that no other class has)")
    assert said(TELLING["biopsied"]).endswith("of a value is in classes that have no other value)")
    assert said(TELLING["score of a model"]).endswith(" on)")
    digits = said(lambda label, _: f"{label[0]}{draws.randint(0, 99999):05}")
    assert digits.endswith(", without digits)")
    text = said(lambda label, _: f"{draws.choice(WORDS)} {draws.random()} is {label == 'mel'}")
    assert text.endswith(("by the word 'true')", "by the word 'false')"))


def test_shares_by_hand() -> None:
    """Half of the nevi have a value of their own; the rest of the column says nothing."""
    rows = [("nv", "follow-up")] * 40 + [("nv", "histo")] * 40 + [("mel", "histo")] * 40
    items = tuple(
        Record(f"i{n}", Path("x"), label, "", None, {"way": value})
        for n, (label, value) in enumerate(rows)
    )
    (found,) = telling_columns(Records(items, LabelSet(("nv", "mel"))))
    assert (found.column, found.strength) == ("way", 0.5)
    assert found.measure == "50% of a class has values that no other class has"


def test_four_lesions_are_enough_where_each_value_has_one_label() -> None:
    items = tuple(
        Record(f"i{n}", Path("x"), label, "", patient, {"target": target, "sex": "male"})
        for n, (label, target, patient) in enumerate(
            [("mel", "1", "a"), ("nv", "0", "a"), ("nv", "0", "b"), ("mel", "1", "b")]
        )
    )
    labels = LabelSet(("nv", "mel"))
    assert [way.column for way in telling_columns(Records(items, labels))] == ["target"]
    assert telling_columns(Records(items[:1], labels)) == []
    assert telling_columns(Records((), labels)) == []


def lesions(rows: list[tuple[str, str]]) -> Records:
    """A lesion of one image for each label and value."""
    items = tuple(
        Record(f"i{n}", Path("x"), label, "", None, {"column": value})
        for n, (label, value) in enumerate(rows)
    )
    return Records(items, LabelSet(("nv", "mel")))


def coded(made: Records) -> tuple[Codes, Codes]:
    return _codes([i.attributes["column"] for i in made]), _codes([i.label for i in made])


@pytest.mark.parametrize(("hospitals", "told"), [(3, False), (4, True)])
def test_what_is_not_unlikely_by_chance_is_no_leak(hospitals: int, told: bool) -> None:
    """Two lesions of one label in each hospital.

    With three hospitals G = 2 (4 ln 3/2 + 2 ln 3) = 7.6 of 2 degrees of freedom, p = 0.022; with
    four G = 2 · 8 ln 2 = 11.1 of 3, p = 0.011.
    """
    made = lesions([(("nv", "mel")[n % 2], f"h{n}") for n in range(hospitals) for _ in range(2)])
    values, labels = coded(made)
    assert _explained(values, labels, np.arange(len(made))) > 0.5
    assert _beyond_chance(values, labels) == told
    assert [way.column for way in telling_columns(made)] == ["column"] * told


@pytest.mark.parametrize("count", [6, 7, 10, 13, 20])
def test_an_id_of_the_same_prefix_explains_nothing(count: int) -> None:
    draws = random.Random(count)
    for _ in range(20):
        marks = ["nv", "mel", *draws.choices(("nv", "mel"), k=count - 2)]
        made = lesions([(label, f"ISIC_{n + 24306:07}") for n, label in enumerate(marks)])
        values, labels = coded(made)
        folds = np.arange(count) % 10
        assert _explained(values, labels, folds) == pytest.approx(0, abs=1e-12)
        assert _explained(labels, values, folds) <= 0
        assert telling_columns(made) == []


def test_frequencies_come_from_other_folds() -> None:
    """The label of each value is the other one in the second fold."""
    values, labels = _codes([0, 0, 1, 1, 0, 0, 1, 1]), _codes([0, 0, 1, 1, 1, 1, 0, 0])
    folds = _codes([0, 0, 0, 0, 1, 1, 1, 1])
    # Of two others of its value none has its label: (0 + 0.5 · 0.5) / (2 + 0.5); without 0.5.
    expected = 1 - math.log(0.1) / math.log(0.5)
    assert _explained(values, labels, folds) == pytest.approx(expected)


def test_many_images_of_a_patient_are_one_witness() -> None:
    """Each patient has one code and one label: over images the code would fix the label."""
    draws = random.Random(1)
    items = []
    for patient in range(40):
        label, code = draws.choice(("nv", "mel")), draws.randint(1, 12)
        for _ in range(30):
            name = f"i{len(items)}"
            items.append(Record(name, Path("x"), label, "", f"p{patient}", {"code": str(code)}))
    made = Records(tuple(items), LabelSet(("nv", "mel")))
    assert telling_columns(made) == []
    apart = tuple(Record(i.image_id, i.path, i.label, "", None, i.attributes) for i in items)
    assert telling_columns(Records(apart, made.labels)) == []  # 12 codes do not fix 40 labels
    own = tuple(
        Record(i.image_id, i.path, i.label, "", i.patient_id, {"code": str(i.patient_id)})
        for i in items
    )
    assert telling_columns(Records(own, made.labels)) == []  # an id of the patient


def test_chance_in_small_tables_is_rarely_taken_for_a_leak() -> None:
    found = [
        bool(measured(records(SILENT[case], count, seed, ("nv", "mel"))))
        for case in ("a coin", "age", "site", "forty hospitals", "a number")
        for count in (4, 6, 10, 20)
        for seed in range(50)
    ]
    assert sum(found) <= 0.02 * len(found)


@pytest.mark.skipif(not HAM10000.exists(), reason="HAM10000 is not beside the project")
def test_ham10000_leaks_by_dx_type_alone() -> None:
    with (HAM10000 / "HAM10000_metadata.csv").open() as file:
        items = tuple(
            Record(row.pop("image_id"), Path("x"), row.pop("dx"), row.pop("lesion_id"), None, row)
            for row in csv.DictReader(file)
        )
    assert set(items[0].attributes) == {"dx_type", "age", "sex", "localization"}
    found = telling_columns(Records(items, HAM10000_LABELS))
    assert [(way.column, round(way.strength, 2)) for way in found] == [("dx_type", 0.69)]


@pytest.mark.parametrize(
    ("shares", "told"), [((0.912, 0.914), 0), ((0.91, 0.94), 1), ((0.94, 0.91), 0)]
)
def test_of_ways_as_strong_the_first_is_told(shares, told, monkeypatch) -> None:
    """A column is measured as it stands and by where it is empty, to two digits."""
    given = iter(shares)
    monkeypatch.setattr(
        "skinxai.data.associations._ways", lambda *_: iter([(next(given), "{:.3f}")])
    )
    made = records(lambda label, draws: "a" if draws.random() < 0.5 else "", count=20)
    found = telling_columns(made)
    how = ("", ", by where it is empty")[told]
    assert found == [Association("column", shares[told], f"{shares[told]:.3f}{how}")]


def test_columns_are_told_strongest_first(monkeypatch) -> None:
    items = [Record(f"i{n}", Path("x"), "nv", f"l{n}", None, dict.fromkeys("abc", str(n)))
             for n in range(4)]  # fmt: skip
    given = iter([0.504, 0.9, 0.496])
    monkeypatch.setattr("skinxai.data.associations._ways", lambda *_: iter([(next(given), "")]))
    found = telling_columns(Records(tuple(items), LabelSet(("nv", "mel"))))
    assert [way.column for way in found] == ["b", "a", "c"]  # of equals the first in the alphabet


def held_by_hand(given: list[int], wanted: list[int]) -> float:
    """Largest share of a kind of ``wanted`` whose values of ``given`` nearly always have it."""
    shares = []
    for kind in set(wanted):
        inside = 0
        for value in set(given):
            all_of_it = [w for g, w in zip(given, wanted, strict=True) if g == value]
            n, k = len(all_of_it), all_of_it.count(kind)
            p, q = k / n, wanted.count(kind) / len(wanted)
            evidence = k * math.log(p / q) if k else 0.0
            evidence += (n - k) * math.log((1 - p) / (1 - q)) if k < n else 0.0
            if 1 - p <= 0.05 * (1 - q) and evidence >= 14:
                inside += k
        shares.append(inside / wanted.count(kind))
    return max(shares)


def test_what_a_value_holds_of_a_class_by_hand() -> None:
    draws, found = random.Random(3), set()
    for pure in [0, 1, 1, 1, 2, 3] * 12:  # rows of another class under a value that gives it away
        held = draws.randint(5, 70)
        given = [1] * held + [draws.randint(2, 6) for _ in range(180)]
        wanted = [1] * (held - pure) + [0] * pure + [draws.choice([0, 0, 0, 1]) for _ in range(180)]
        expected = held_by_hand(given, wanted)
        assert _held(np.array(given), np.array(wanted)) == pytest.approx(expected)
        found.add((pure, expected > 0))
    assert found >= {(0, True), (0, False), (1, True), (1, False), (3, False)}
